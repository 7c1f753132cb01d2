/** Files of `KEY=value` lines, as shells, systemd and flannel's godotenv read them alike. */

export interface Dotenv {
  /** The last value of each key. */
  readonly values: ReadonlyMap<string, string>;
  /** The lines that are none of: empty, a comment, `KEY=value`, `export KEY=value`. */
  readonly unreadable: readonly string[];
}

/**
 * Quotes around a value are removed, ` #` begins a comment behind a value without them, white space around keys and values does not
 * count. Nothing is expanded: no variables, and of the escapes in double quotes only those of the quote and the backslash.
 */
export function parseDotenv(text: string): Dotenv {
  const values = new Map<string, string>();
  const unreadable: string[] = [];
  for (const line of text.replace(/^\ufeff/, '').split(/\r?\n/)) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(?:export\s+)?([A-Za-z_][\w.]*)\s*=(.*)$/.exec(line);
    const value = match && parseValue(match[2]!.trim());
    if (typeof value === 'string') values.set(match![1]!, value);
    else unreadable.push(line.trim());
  }
  return { values, unreadable };
}

function parseValue(text: string): string | undefined {
  const quote = text[0];
  if (quote !== '"' && quote !== "'") return text.replace(/(?:^|\s)#.*$/, '').trimEnd();
  const match =
    quote === '"' ? /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(text) : /^'([^']*)'\s*(?:#.*)?$/.exec(text);
  return quote === '"' ? match?.[1]!.replace(/\\(["\\])/g, '$1') : match?.[1];
}
