import { parseDotenv } from '../../src/model/dotenv';

/** The values of a text in which all lines can be read. */
function valuesOf(text: string): Record<string, string> {
  const { values, unreadable } = parseDotenv(text);
  expect(unreadable).toEqual([]);
  return Object.fromEntries(values);
}

describe('a file of KEY=value lines', () => {
  test.each([
    ['A=1\nB=2', { A: '1', B: '2' }],
    ['A=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['A=1\nA=2', { A: '2' }],
    ['\ufeffA=1', { A: '1' }],
    ['  A \t=\t 1  ', { A: '1' }],
    ['export A=1', { A: '1' }],
    ['  export \t A=1', { A: '1' }],
    ['_a.b9=1', { '_a.b9': '1' }],
    ['# A=1\n\n   \n  # B=2', {}],
    ['A=', { A: '' }],
    ['A=b=c', { A: 'b=c' }],
    ['A=1 2', { A: '1 2' }],
  ])('%j is read line by line', (text, values) => {
    expect(valuesOf(text)).toEqual(values);
  });

  test.each([
    ['1 # a comment', '1'],
    ['1 \t # a comment # more', '1'],
    ['#all of it', ''],
    ['1#2', '1#2'],
    ['1\ufeff2', '1\ufeff2'],
    ['"1 # 2"', '1 # 2'],
    ['"1"   # a comment', '1'],
    ['"1"#comment', '1'],
    ['""', ''],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['"a\\nb"', 'a\\nb'],
    ['"it\'s"', "it's"],
    ["'1 # 2'", '1 # 2'],
    ["'1'  # a comment", '1'],
    ["'1'# a comment", '1'],
    ["''", ''],
    [`'a\\"b'`, 'a\\"b'],
    ["'a\\b'", 'a\\b'],
    ['a"b"', 'a"b"'],
    ["it's", "it's"],
  ])('has a value %s that means %s', (text, value) => {
    expect(valuesOf(`A=${text}`)).toEqual({ A: value });
  });

  test.each([
    ['of blanks', `a${' '.repeat(1_000_000)}b`],
    ['in quotes', `"${'\\\\'.repeat(300_000)}"`],
    ['of opening quotes', `${'"'.repeat(1_000_000)} x`],
  ])('may have a line of a megabyte (%s), which takes no longer than another', (_, value) => {
    const { values, unreadable } = parseDotenv(`A=${value}\nB=1`);
    expect(values.get('B')).toBe('1');
    expect(unreadable.length + values.size).toBe(2);
  });

  test.each([
    'A',
    '=1',
    '9A=1',
    'A B=1',
    'exportA B=1',
    'A="1',
    'A="1" 2',
    'A="1"2"',
    'A="1\\"',
    "A='1",
    "A='1' 2",
    "A='1'2'",
    '<A=1>',
    'x\ufeffA=1',
  ])('has a line %j that says nothing, and is named', (line) => {
    const { values, unreadable } = parseDotenv(`A=first\n  ${line} \nZ=last`);
    expect(Object.fromEntries(values)).toEqual({ A: 'first', Z: 'last' });
    expect(unreadable).toEqual([line]);
  });
});
