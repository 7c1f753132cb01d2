/** How the value of an option is read from its text. Every reader throws a {@link BadValue} that says what is allowed. */
import { familyOf, parseIpAddress, parseSubnet, type Family, type IpAddress } from '../../model/address';

/** A sentence that goes on from the option's name: `must be true or false`. */
export class BadValue extends Error {}

/** A {@link BadValue} whose text must not be shown. */
export class SecretBadValue extends BadValue {}

export type ReadValue<T> = (text: string) => T;

/** As Go's strconv.ParseBool. */
export function readBoolean(text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (isFalse(text)) return false;
  throw new BadValue('must be true or false');
}

/** True if the text is a false of {@link readBoolean}. */
export function isFalse(text: string): boolean {
  return /^(0|f|F|FALSE|false|False)$/.test(text);
}

/** A whole number within the bounds, both included; decimal, or hexadecimal as in Go. */
export function readInteger(min: number, max: number, unit = ''): ReadValue<number> {
  return (text) => {
    const value = /^\+?(?:0|[1-9]\d*|0[xX][\da-fA-F]+)$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    const bounds = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`;
    throw new BadValue(`must be a whole number${unit && ` of ${unit}`}, ${bounds}`);
  };
}

/** The text itself; undefined when it is empty, which is how a unit file's unset variable arrives. */
export function readText(text: string): string | undefined {
  return text === '' ? undefined : text;
}

export function readPath(text: string): string {
  if (text === '' || text.endsWith('/')) throw new BadValue('must be the path of a file');
  return text;
}

/** As {@link readPath}; empty: no file. */
export function readOptionalPath(text: string): string | undefined {
  return text === '' ? undefined : readPath(text);
}

/** One of these words, and no other. */
export function oneOf<const Word extends string>(
  ...words: Word[]
): { readonly words: readonly Word[]; readonly read: ReadValue<Word> } {
  const read = (text: string) => {
    const word = words.find((each) => each === text);
    if (word === undefined) throw new BadValue(`must be ${words.join(' or ')}`);
    return word;
  };
  return { words, read };
}

/** One address of this family, or none. `what` it is for decides which addresses can never work. */
export function readAddress(
  family: Family | 'any',
  what: 'listen' | 'destination' | 'advertise',
): ReadValue<IpAddress | undefined> {
  const name = { ipv4: 'an IPv4 address', ipv6: 'an IPv6 address', any: 'an IP address' }[family];
  return (text) => {
    if (text === '') return undefined;
    const address = parseIpAddress(text);
    if (address === undefined || (family !== 'any' && familyOf(address) !== family)) {
      const hint = parseSubnet(text) ? ', without a prefix length' : '';
      throw new BadValue(`must be ${name}${hint}`);
    }
    const unfit = what === 'advertise' && whyUnreachable(address);
    if (unfit) throw new BadValue(`must be an address that other hosts can reach; ${unfit}`);
    return address;
  };
}

/** Why no other host can send to this address. */
function whyUnreachable(address: IpAddress): string | undefined {
  if (/^(0\.|::$)/.test(address)) return 'this one stands for "any"';
  if (/^(127\.|::1$)/.test(address)) return 'this one is the loopback';
  if (/^(22[4-9]|23\d)\.|^ff/.test(address)) return 'this one is multicast';
  if (/^2(4\d|5[0-5])\./.test(address)) return 'this one is reserved';
  return undefined;
}
