import fc from 'fast-check';
import { ConfigError } from '../../src/model/errors';
import { parseJson, whatIsWrong } from '../../src/model/json-syntax';

describe('what is wrong with', () => {
  test.each([
    ['', 'line 1, column 1: expected a value, found the end'],
    ['{', 'line 1, column 2: expected a key in double quotes, found the end'],
    ['{"a": 1', "line 1, column 8: expected ',' or '}', found the end"],
    ['{"a": 1 "b": 2}', "line 1, column 9: expected ',' or '}', found '\"'"],
    [
      '{"a": 1,\n "b": 2,\n}',
      "line 3, column 1: expected a key in double quotes, found '}' (JSON allows no comma before it)",
    ],
    ['[1, 2,]', "line 1, column 7: expected a value, found ']' (JSON allows no comma before it)"],
    ['{a: 1}', "line 1, column 2: expected a key in double quotes, found 'a'"],
    [
      "{'a': 1}",
      "line 1, column 2: expected a key in double quotes, found ''' (JSON knows only double quotes)",
    ],
    ['{"a" 1}', "line 1, column 6: expected ':', found '1'"],
    ['{"a": 10.5.0.0/16}', "line 1, column 7: expected a value, found '1'"],
    ['{"a": 024}', "line 1, column 7: expected a value, found '0'"],
    ['{"a": True}', "line 1, column 7: expected a value, found 'T'"],
    ['{"a": 1} // ten', "line 1, column 10: expected nothing more, found '/' (JSON allows no comments)"],
    ['{"a": "x\n}', 'line 1, column 7: the text that begins here has no closing double quote'],
    ['{"a": "x\\q"}', "line 1, column 9: expected an escape like \\n or \\u0020, found '\\'"],
    ['{"a": "x\ty"}', 'line 1, column 9: expected no control character, found U+0009'],
    ['\ufeff{}', 'line 1, column 1: expected a value, found U+FEFF (a byte order mark)'],
    ['[1 }', "line 1, column 4: expected ',' or ']', found '}'"],
    ['[1,\n ]', "line 2, column 2: expected a value, found ']' (JSON allows no comma before it)"],
    ['{"a,": ]', "line 1, column 8: expected a value, found ']'"],
    ['{"a": 1} # ten', "line 1, column 10: expected nothing more, found '#' (JSON allows no comments)"],
    ['["abc', 'line 1, column 2: the text that begins here has no closing double quote'],
    ['["abc\r\n"]', 'line 1, column 2: the text that begins here has no closing double quote'],
    ['["\\u00g0"]', "line 1, column 3: expected an escape like \\n or \\u0020, found '\\'"],
    ['["\\u012"]', "line 1, column 3: expected an escape like \\n or \\u0020, found '\\'"],
    ['\u007f', 'line 1, column 1: expected a value, found U+007F'],
    ['\u00a0', "line 1, column 1: expected a value, found '\u00a0'"],
    ['[1] [2]', "line 1, column 5: expected nothing more, found '['"],
    ['{"a": 1}\u0000', 'line 1, column 9: expected nothing more, found U+0000'],
    ['['.repeat(300), 'line 1, column 202: nested too deeply'],
  ])('%j', (text, message) => {
    expect(whatIsWrong(text)).toBe(message);
    expect(() => parseJson(text)).toThrow(new ConfigError(`not valid JSON: ${message}`));
  });

  test('any text is found exactly when Node finds it wrong too', () => {
    const damaged = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '"', '}', '1', '\\', '\n', '-'))
      .map(
        ([text, at, patch]) =>
          text.slice(0, at % (text.length + 1)) + patch + text.slice((at % (text.length + 1)) + 1),
      );
    fc.assert(
      fc.property(fc.oneof(fc.json(), damaged, fc.string()), (text) => {
        let isJson = true;
        try {
          JSON.parse(text);
        } catch {
          isJson = false;
        }
        expect(whatIsWrong(text) === undefined).toBe(isJson);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    [
      'longer than 65536 characters',
      `"${'x'.repeat(70_000)}"`,
      'it has 70002 characters, and a configuration at most 65536',
    ],
    ['nested more than 200 deep', '['.repeat(30_000) + ']'.repeat(30_000), 'it is nested more than 200 deep'],
  ])('JSON %s is refused', (_, text, message) => {
    expect(() => parseJson(text)).toThrow(new ConfigError(message));
  });

  test('no JSON at all, whatever escapes and signs it has', () => {
    for (const text of [
      '"\\u00e4\\uABCD\\n\\/"',
      '[-0, 0.5, 1E+9, 1e-9, 10]',
      ' \t\r\n[ ] ',
      '{"a" : { } , "b" :null}',
    ])
      expect(whatIsWrong(text)).toBeUndefined();
  });

  test('JSON is read', () => {
    expect(parseJson(' {"a": [1, -2.5e3, "x\\u0041", null, true]}\n')).toEqual({
      a: [1, -2500, 'xA', null, true],
    });
  });
});
