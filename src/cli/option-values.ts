/** How the value of an option is read from its text. Every reader throws a {@link BadValue} that says what is allowed. */
import { posix } from 'node:path';
import {
  familyOf,
  parseIpAddress,
  parseSubnet,
  type Family,
  type IpAddress,
  type Subnet,
} from '../model/address';
import { ConfigError } from '../model/errors';
import { parseNetworkConfig, printFirstConfig } from '../model/network-config-codec';

/** A sentence that goes on from the option's name: `must be true or false`. */
export class BadValue extends Error {}

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

export function readWord<const Word extends string>(...words: Word[]): ReadValue<Word> {
  return (text) => {
    const word = words.find((each) => each === text);
    if (word === undefined) throw new BadValue(`must be ${words.join(' or ')}`);
    return word;
  };
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

/** `http://10.0.0.1:2379,https://[fd00::1]:2379`; blanks around the commas do not count. */
export function readEndpoints(text: string): readonly string[] {
  const urls = text
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '');
  if (urls.length === 0) throw new BadValue('must name at least one URL like http://10.0.0.1:2379');
  return urls.map(readEndpoint);
}

function readEndpoint(url: string): string {
  // The value is not repeated: it may hold a password.
  if (url.includes('@'))
    throw new SecretBadValue(
      'must not hold a user or password; that is what --etcd-username and --etcd-password are for',
    );
  const match = /^https?:\/\/(?:\[[\da-f:.]+\]|[^/:?#[\]\s]+):(\d{1,5})\/*$/i.exec(url);
  if (match && +match[1]! >= 1 && +match[1]! <= 65_535) return url.replace(/\/+$/, '');
  // As flannel's etcd client takes it; whether TLS is used then follows from the other options.
  if (/^(?:\[[\da-f:.]+\]|[^/:?#[\]\s]+):\d{1,5}$/i.test(url))
    return readEndpoint(`http://${url}`).slice('http:'.length);
  throw new BadValue(
    'must be a list of URLs like http://10.0.0.1:2379 or https://[fd00::1]:2379, port included',
  );
}

/** Gives each endpoint without a scheme one: with files for TLS it is https. */
export function withSchemes(urls: readonly string[], usesTls: boolean): readonly string[] {
  return urls.map((url) => (url.startsWith('//') ? `${usesTls ? 'https' : 'http'}:${url}` : url));
}

/** A {@link BadValue} whose text must not be shown. */
export class SecretBadValue extends BadValue {}

/** A key prefix, joined as a path as flannel does: double and trailing slashes collapse. */
export function readPrefix(text: string): string {
  if (text === '') throw new BadValue('must be a key like /coreos.com/network');
  const path = posix.normalize(text);
  return path === '/' ? path : path.replace(/\/$/, '');
}

/** An IPv4 network that has room for hosts' subnets, as the network configuration wants it. */
export function readNetwork(text: string): Subnet {
  const network = parseSubnet(text);
  if (network === undefined || familyOf(network.address) !== 'ipv4')
    throw new BadValue('must be an IPv4 network like 10.5.0.0/16');
  try {
    parseNetworkConfig(printFirstConfig(network));
    return network;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new BadValue(`must be an IPv4 network like 10.5.0.0/16; ${error.message}`);
  }
}

/** An interface's name or address. */
export function readInterface(text: string): string {
  if (text === '' || /[\s/]/.test(text)) {
    const hint = parseSubnet(text) ? ', without a prefix length' : '';
    throw new BadValue(`must be the name or the address of an interface${hint}`);
  }
  // Written as the kernel's addresses are, so that they compare.
  return parseIpAddress(text) ?? text;
}

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
