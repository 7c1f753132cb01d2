import { escapeAllButLines, escapeControls } from '../../src/model/printable';

test.each([
  ['escapes of a terminal', 'a\u001b[2Jb', 'a\\u001b[2Jb'],
  ['the C1 ones, too', 'a\u009b2Jb', 'a\\u009b2Jb'],
  ['a NUL', 'a\0b', 'a\\u0000b'],
  ['ends of lines', 'a\nb\rc\u2028d\u2029e\u0085f', 'a\\nb\\u000dc\\u2028d\\u2029e\\u0085f'],
  ['what turns the direction of writing', '\u202ea\u2066b\u061cc', '\\u202ea\\u2066b\\u061cc'],
  ['what takes no room', 'a\u200bb\u2060c\ufeffd\u00ade', 'a\\u200bb\\u2060c\\ufeffd\\u00ade'],
  ['tags, which are beyond 16 bits', 'a\u{e0041}b', 'a\\udb40\\udc41b'],
  ['a filler', 'a\u3164b', 'a\\u3164b'],
  ['half a character', 'a\ud800b', 'a\\ud800b'],
])('%s are shown by their numbers', (_, text, shown) => {
  expect(escapeControls(text)).toBe(shown);
});

test('what can be seen stays as it is, in any script', () => {
  const text = 'Zürich 東京 ש \u{1f600} "quoted" \\ %s';
  expect(escapeControls(text)).toBe(text);
});

test('of several lines each stays one', () => {
  expect(escapeAllButLines('a\u001b\nb\r\n')).toBe('a\\u001b\nb\\u000d\n');
});
