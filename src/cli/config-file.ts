/** vtepd.conf: the options in a file, one `name=value` a line. */
import { UsageError } from '../model/errors';
import { shorten } from '../model/json-fields';
import { nearest } from './nearest';
import { isFalse } from './option-values';
import { OPTIONS, OPTION_KEYS, isBoolean, keyOfOption, variableOf, type OptionKey } from './options';
import { REFUSED } from './refused-options';

/** One occurrence of an option. */
export interface ConfigLine {
  /** For complaints about the value: `/etc/vtepd/vtepd.conf, line 3: iface`. */
  readonly name: string;
  readonly text: string;
  /** By a former name of the option. */
  readonly isRenamed: boolean;
}

export type ConfigLines = ReadonlyMap<OptionKey, readonly ConfigLine[]>;

/** What may be read as vtepd.conf; undefined when there is no such file. Throws a {@link UsageError} when it cannot be read. */
export type ReadConfigFile = (path: string) => ConfigFileText | undefined;

export interface ConfigFileText {
  readonly text: string;
  /** Every user of this host can read it. */
  readonly isPublic: boolean;
}

/**
 * The lines of the file's text, by option. Empty lines and lines that begin with `#` say nothing; blanks around name and value
 * do not count; quotes around a value are taken off. Throws a {@link UsageError} that names file and line, what is wrong with it
 * and what is allowed. Values are not looked at.
 */
export function parseConfigFile(text: string, path: string): ConfigLines {
  const found = new Map<OptionKey, ConfigLine[]>();
  const lineNumbers = new Map<OptionKey, number>();
  for (const [index, line] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const place = `${path}, line ${index + 1}`;
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const equals = content.indexOf('=');
    const name = (equals < 0 ? content : content.slice(0, equals)).trim();
    const value = equals < 0 ? undefined : content.slice(equals + 1).trim();
    const key = keyOf(name, value, place);
    if (key === undefined) continue;
    if (value === undefined) throw new UsageError(`${place}: ${name} has no value; ${example(key)}`);
    const before = lineNumbers.get(key);
    if (before !== undefined && !OPTIONS[key].repeatable)
      throw new UsageError(`${place}: ${name} was set in line ${before} already; ${whatRepeats()}`);
    lineNumbers.set(key, index + 1);
    const lines = found.get(key) ?? [];
    const isRenamed = name !== OPTIONS[key].name;
    lines.push({ name: `${place}: ${name}`, text: unquote(value, place), isRenamed });
    found.set(key, lines);
  }
  return found;
}

/** Undefined: the line asks for nothing. */
function keyOf(name: string, value: string | undefined, place: string): OptionKey | undefined {
  const key = keyOfOption(name);
  if (key === 'configFile') throw new UsageError(`${place}: ${name} cannot stand in the file itself`);
  if (key !== undefined) return key;
  const refused = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  if (refused?.boolean && value !== undefined && isFalse(value)) return undefined;
  if (refused) throw new UsageError(`${place}: ${name} ${refused.advice}`);
  const [first] = name.split(/[\s:]/, 1) as [string];
  const named = keyOfOption(first);
  // What follows may be a password.
  if (named !== undefined && OPTIONS[named].secret)
    throw new UsageError(`${place}: ${first} has no '=' before its value; ${example(named)}`);
  throw new UsageError(`${place}: there is no option '${shorten(name)}'; ${hintFor(name)}`);
}

function hintFor(name: string): string {
  const names = OPTION_KEYS.filter((key) => key !== 'configFile').map((key) => OPTIONS[key].name);
  const bare = name.replace(/^-+/, '');
  if (bare !== name && names.includes(bare)) return `names have no dashes here: ${bare}`;
  const ofVariable = names.find((each) => variableOf(each) === name);
  if (ofVariable !== undefined) return `that variable is ${ofVariable} here`;
  const [first, ...rest] = bare.split(/\s+/);
  if (rest.length > 0 && names.includes(first!)) return `write ${first}=${rest.join(' ')}`;
  const meant = nearest(bare, names);
  return meant
    ? `did you mean ${meant}?`
    : "a line is name=value, or a comment that begins with #; 'vtepd --help' lists the names";
}

function example(key: OptionKey): string {
  const { name, placeholder, fallback } = OPTIONS[key];
  return `write ${name}=${isBoolean(key) ? 'true or ' + name + '=false' : (fallback ?? placeholder)}`;
}

function whatRepeats(): string {
  const names = OPTION_KEYS.filter((key) => OPTIONS[key].repeatable).map((key) => OPTIONS[key].name);
  return `only ${names.join(' and ')} may be repeated`;
}

function unquote(value: string, place: string): string {
  const quote = /^["']/.exec(value)?.[0];
  if (quote === undefined) return value;
  // The value is not repeated: it may be a password.
  if (value.length < 2 || !value.endsWith(quote))
    throw new UsageError(`${place}: the value begins with ${quote} and does not end with it`);
  return value.slice(1, -1);
}
