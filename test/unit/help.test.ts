import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCommandLine } from '../../src/cli/command-line';
import { COMMAND_NAMES, wrap } from '../../src/cli/help';
import { OPTION_KEYS, OPTIONS } from '../../src/cli/options';
import { renderOptionsTable, withOptionsTable } from '../../src/cli/options-table';

function printed(...argv: string[]): string {
  const command = parseCommandLine(argv, {});
  return command.kind === 'print' ? command.text : '';
}

describe('the help', () => {
  const page = printed('--help');

  test('is asked for in many ways', () => {
    for (const argv of [['-h'], ['-help'], ['help'], ['--iface=eth0', '--help'], ['help', 'help']])
      expect(printed(...argv)).toBe(page);
  });

  test('goes before everything that is wrong', () => {
    expect(printed('--no-such-option', '--help')).toBe(page);
    expect(printed('--healthz-port=x', '-h')).toBe(page);
  });

  test('names every option, every command, examples, exit codes and signals', () => {
    for (const key of OPTION_KEYS) expect(page).toMatch(new RegExp(`^ {2}--?${OPTIONS[key].name}\\b`, 'm'));
    for (const name of COMMAND_NAMES.filter((each) => each !== 'run'))
      expect(page).toMatch(new RegExp(`^ {2}vtepd ${name}\\b`, 'm'));
    for (const heading of ['Usage:', 'First steps:', 'Exit codes:', 'Signals:'])
      expect(page).toContain(heading);
  });

  test('fits a terminal of 80 columns', () => {
    expect(page.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });

  test.each(COMMAND_NAMES.filter((name) => name !== 'help'))('has a page about %s', (name) => {
    const about = printed('help', name);
    expect(about).toMatch(/^Usage:\n {2}vtepd/);
    expect(printed(name, '--help')).toBe(about);
    expect(about.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });
});

test('the version is that of the package', () => {
  const text = readFileSync(join(__dirname, '../../package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  expect(printed('--version')).toBe(`vtepd ${version}\nNode ${process.version}\n`);
  expect(printed('-version')).toBe(printed('--version'));
});

describe('the table of options in README.md', () => {
  test('is up to date; if not: npx tsx scripts/readme-options.ts', () => {
    const readme = readFileSync(join(__dirname, '../../README.md'), 'utf8');
    expect(readme).toBe(withOptionsTable(readme));
  });

  test('has a row for every option', () => {
    const table = renderOptionsTable();
    for (const key of OPTION_KEYS)
      expect(table).toMatch(new RegExp(`^\\| \`--?${OPTIONS[key].name}\\b`, 'm'));
  });

  test('is put between its markers, and only there', () => {
    const page = 'before\n<!-- options -->\nold\n<!-- /options -->\nafter';
    expect(withOptionsTable(page)).toBe(
      `before\n<!-- options -->\n${renderOptionsTable()}<!-- /options -->\nafter`,
    );
    expect(() => withOptionsTable('no markers')).toThrow(RangeError);
  });
});

test('lines are broken between words, and a long word stays whole', () => {
  expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
  expect(wrap('a verylongword b', 5)).toEqual(['a', 'verylongword', 'b']);
});
