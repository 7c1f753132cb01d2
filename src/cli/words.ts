/** The words of a command line in Go's spelling, respelled so that commander reads them. */
import { UsageError } from '../model/errors';
import { nearest } from './nearest';
import { isFalse } from './option-values';
import { dashed, isBoolean, keyOfOption, OPTION_KEYS, OPTIONS } from './options';
import { IGNORED, REFUSED } from './refused-options';
import { renamedNotice } from './renamed-options';

export interface Words {
  /** Every option as `--name=value`, or `--name` for a flag of a command; everything else as it was. */
  readonly words: readonly string[];
  /** `--help` or `--version` stands somewhere among the options: it goes before everything that is wrong. */
  readonly asksFor: 'help' | 'version' | undefined;
  /** A sentence for each option that was written by a former name. */
  readonly notices: readonly string[];
}

/** Options that are not of the table because only one command has them. */
const COMMAND_FLAGS = ['dry-run', 'raw', 'json', 'peers', 'for-flannel'];

/**
 * Long options begin with one dash or two; a value follows behind `=` or as the next word, whatever that looks like; a
 * boolean takes a value only behind `=`. Throws a {@link UsageError} for an option that does not exist.
 */
export function respell(words: readonly string[]): Words {
  const respelled: string[] = [];
  const notices: string[] = [];
  let asksFor: Words['asksFor'];
  let wrong: UsageError | undefined;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      respelled.push(word, ...rest);
      break;
    }
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word);
    if (!match) {
      respelled.push(word);
      continue;
    }
    const name = match[1] === 'h' ? 'help' : match[1]!;
    const value = match[2];
    if (name === 'help' || name === 'version') {
      if (!isFalse(value ?? '')) asksFor ??= name;
      continue;
    }
    try {
      respelled.push(...respellOption(name, value, rest, notices));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      wrong ??= error;
    }
  }
  if (wrong && !asksFor) throw wrong;
  return { words: respelled, asksFor, notices };
}

/** Takes the value from `rest` if it is there. */
function respellOption(name: string, value: string | undefined, rest: string[], notices: string[]): string[] {
  const key = keyOfOption(name);
  if (key !== undefined) {
    const given = value ?? (isBoolean(key) ? 'true' : rest.shift());
    if (given === undefined)
      throw new UsageError(`${dashed(name)} needs a value: ${dashed(name)} ${OPTIONS[key].placeholder}`);
    const present = OPTIONS[key].name;
    if (name !== present) notices.push(renamedNotice(dashed(name), dashed(present)));
    return [`--${present}=${given}`];
  }
  if (COMMAND_FLAGS.includes(name) && value === undefined) return [`--${name}`];
  if (Object.hasOwn(IGNORED, name)) {
    if (!IGNORED[name] && value === undefined) rest.shift();
    return [];
  }
  const refused = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  if (!refused) throw new UsageError(unknown(name));
  if (refused.boolean && value !== undefined && isFalse(value)) return [];
  throw new UsageError(`${dashed(name)} ${refused.advice}`);
}

function unknown(name: string): string {
  const meant = nearest(name, [...OPTION_KEYS.map((key) => OPTIONS[key].name), 'help', 'version']);
  const hint = meant ? `did you mean ${dashed(meant)}?` : "'vtepd --help' lists those there are";
  return `there is no option ${dashed(name)}; ${hint}`;
}
