/** Text that others wrote, as a part of a line for people. */

/** Control characters, separators of lines, and what turns the direction of writing. */
const UNSEEN = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Shows each character by its number that would end the line, or move the cursor of who reads it. */
export function escapeControls(text: string): string {
  return text.replace(UNSEEN, (character) =>
    character === '\n' ? '\\n' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
