/** Text that others wrote, as a part of a line for people. */

/** Control characters, separators of lines, halves of characters, and what is not seen: it turns the direction of writing, or takes no room. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}]/gu;

/** Shows each character by its number that would end the line, move the cursor of who reads it, or hide from him. */
export function escapeControls(text: string): string {
  return text.replace(UNSEEN, (character) => (character === '\n' ? '\\n' : numbersOf(character)));
}

/** As {@link escapeControls}, for a text of several lines. */
export function escapeAllButLines(text: string): string {
  return text.replace(UNSEEN, (character) => (character === '\n' ? character : numbersOf(character)));
}

/** As JSON and JavaScript write it: a character beyond 16 bits has two. */
function numbersOf(character: string): string {
  return Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
}
