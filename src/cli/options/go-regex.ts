/** Regular expressions as flannel's users write them, which are Go's. */
import { BadValue } from './values';

/** What Go's regular expressions have and JavaScript's read as something else. */
const GO_ONLY: readonly (readonly [RegExp, string])[] = [
  [/\(\?[imsU]+\)/, 'flags like (?i) are not known; write [eE]th, or anchors instead'],
  [/\[\^?\[:\^?\w+:\]/, 'of classes like [[:digit:]], only a few are known; use \\d, \\w, [a-z]'],
  [/\\[QECpP]/, '\\Q, \\E, \\C and \\p are not known; escape characters singly, and use [a-z]'],
];

/** What means the same in another spelling. An escaped backslash goes first, so that what follows it is no escape. */
const GO_SPELLINGS: Readonly<Record<string, string>> = {
  '\\\\': '\\\\',
  '\\A': '^',
  '\\z': '$',
  '(?P<': '(?<',
  '[:alpha:]': 'A-Za-z',
  '[:digit:]': '0-9',
  '[:alnum:]': '0-9A-Za-z',
  '[:lower:]': 'a-z',
  '[:upper:]': 'A-Z',
  '[:xdigit:]': '0-9A-Fa-f',
};
/** A class of characters is one only within brackets: [[:alpha:]_]. */
const GO_SPELLING = /\\[\\Az]|\(\?P<|(?<=\[(?:[^\]]|:\])*)\[:(?:alpha|digit|alnum|lower|upper|xdigit):\]/g;

/** The source of a JavaScript regular expression. Almost all that flannel (Go, RE2) takes means the same. */
export function readRegex(text: string): string {
  if (text === '') throw new BadValue('must be a regular expression, not nothing');
  const source = text.replace(GO_SPELLING, (spelling) => GO_SPELLINGS[spelling]!);
  // What is escaped (\\Q is a backslash and a Q) is no syntax.
  const syntax = source.replace(/\\\\/g, '');
  const hint = GO_ONLY.find(([pattern]) => pattern.test(syntax))?.[1];
  if (hint) throw new BadValue(`must be a regular expression as JavaScript has them: ${hint}`);
  try {
    new RegExp(source);
    return source;
  } catch (error) {
    const why = (error as Error).message.replace(/^Invalid regular expression: \/.*\/\w*: /s, '');
    throw new BadValue(`must be a regular expression as JavaScript has them: ${why}`);
  }
}
