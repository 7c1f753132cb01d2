/** Text for a person at a terminal: headings, tables, quoted output. */

const isColorful = process.stdout.isTTY && !process.env['NO_COLOR'];

export function bold(text: string): string {
  return isColorful ? `\x1b[1m${text}\x1b[22m` : text;
}

export function faint(text: string): string {
  return isColorful ? `\x1b[2m${text}\x1b[22m` : text;
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** An empty line and a heading. */
export function heading(text: string): void {
  print();
  print(bold(text));
}

/** Rows under their column titles; columns as wide as their widest cell. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, n) => cell.padEnd(widths[n]!)).join('  ')}`.trimEnd();
  print(faint(line(titles)));
  for (const row of rows) print(line(row));
}

/** A command and what it printed, indented; says so when that is nothing, and shortens what is long. */
export function quote(command: string, output: string, lines = 12): void {
  print(`  ${faint('$')} ${command}`);
  const text = output.trimEnd();
  const all = text === '' ? ['(nothing)'] : text.split('\n');
  for (const line of all.slice(0, lines)) print(`    ${line.trimEnd()}`);
  if (all.length > lines) print(faint(`    … and ${all.length - lines} more`));
}

/** `0.42 ms`, `12 ms` */
export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(2) : Math.round(value)} ms`;
}
