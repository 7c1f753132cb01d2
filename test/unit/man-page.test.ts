import { COMMANDS, COMMAND_NAMES } from '../../src/cli/help';
import { manPage } from '../../src/cli/man-page';
import { dashed, OPTION_KEYS, OPTIONS, variableOf } from '../../src/cli/options';

const page = manPage('1.2.3');

/** As a reader sees it, but for the layout. */
const text = page
  .replace(/\\f[BIR]/g, '')
  .replaceAll('\\-', '-')
  .replaceAll('\\(aq', "'");

test('the man page has the version in its heading', () => {
  expect(page.split('\n')[0]).toBe('.TH VTEPD 8 "" "vtepd 1.2.3" "System Administration"');
});

test('the man page describes every option, its variable and its default', () => {
  for (const key of OPTION_KEYS) {
    const { name, fallback } = OPTIONS[key];
    expect(text).toMatch(new RegExp(`^\\.TP\\n${dashed(name)}(?:[= ].*)?\\n.{10,}`, 'm'));
    expect(text).toContain(`\n${variableOf(name)}\n`);
    if (fallback !== undefined) expect(text).toContain(`Default: ${fallback}.`);
  }
});

test('the man page describes every command', () => {
  for (const name of COMMAND_NAMES) for (const line of COMMANDS[name].usage) expect(text).toContain(line);
});

test('no line of text is a request by mistake, and no hyphen a dash', () => {
  const requests = /^\.(TH|SH|SS|TP|TQ|PP|br|nf|fi|RS|RE)\b/;
  for (const line of page.split('\n').slice(1)) {
    if (line.startsWith('.')) expect(line).toMatch(requests);
    else expect(line).not.toMatch(/^'|(?<!\\)-/);
  }
});
