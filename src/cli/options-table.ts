/** The README's table of options. */
import { GROUPS, OPTIONS, OPTION_KEYS, dashed, type OptionKey, type OptionSpec } from './options';

const BEGIN = '<!-- options -->';
const END = '<!-- /options -->';

/** All options as a Markdown table: name, default, the first flannel that has it, meaning. */
export function renderOptionsTable(): string {
  const rows = Object.entries(GROUPS).flatMap(([group, title]) => [
    `| **${title}** | | | |`,
    ...OPTION_KEYS.filter((key) => OPTIONS[key].group === group).map(row),
  ]);
  return ['| option | default | in flannel since | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function row(key: OptionKey): string {
  const { name, placeholder, fallback, since, help } = OPTIONS[key] as OptionSpec<unknown>;
  const value = placeholder === undefined ? '' : name.length === 1 ? ` ${placeholder}` : `=${placeholder}`;
  const cells = [
    `\`${dashed(name)}${value}\``,
    fallback === undefined ? '' : `\`${fallback.replaceAll(',', ', ')}\``,
    since ?? 'vtepd only',
    help,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The page with the table between its markers; throws a RangeError when it has none. */
export function withOptionsTable(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new RangeError(`the page has no ${BEGIN} … ${END}`);
  return `${page.slice(0, begin + BEGIN.length)}\n${renderOptionsTable()}${page.slice(end)}`;
}
