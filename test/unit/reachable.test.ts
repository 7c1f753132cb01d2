/** What the bundle keeps of netlink's codecs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import type { StreamData } from 'netlink/dist/structs';
import { reachable } from '../../scripts/reachable.cjs';
import { streamToBytes } from '../../src/kernel/wire';

const FILE = join(__dirname, '../../node_modules/netlink/dist/rt/ifla.js');
const SOURCE = readFileSync(FILE, 'utf8');

type Codec = Readonly<Record<string, unknown>>;

function load(source: string): Codec {
  const exports = {};
  const run = compileFunction(source, ['exports', 'require']) as (
    exports: object,
    require: (path: string) => unknown,
  ) => void;
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- as the module itself does
  run(exports, (path) => require(join(FILE, '..', path)) as unknown);
  return exports;
}

test('a wanted function and those it calls are there, and work as before', () => {
  const part = load(reachable(SOURCE, ['formatInfo', 'parseInfo', 'formatVxlan', 'parseVxlan']));
  const call = (codec: Codec, name: string, ...words: unknown[]) =>
    (codec[name] as (...words: unknown[]) => unknown)(...words);
  const whole = load(SOURCE);
  const vxlan = { id: 5, ttl: 3 };
  const bytes = (codec: Codec) => Buffer.from(streamToBytes(call(codec, 'formatVxlan', vxlan) as StreamData));
  expect(bytes(part)).toEqual(bytes(whole));
  expect(call(part, 'parseVxlan', bytes(whole))).toEqual(call(whole, 'parseVxlan', bytes(whole)));
});

test('functions that nobody wants are gone; enums and what else is no function stay', () => {
  const part = load(reachable(SOURCE, ['parseVxlan']));
  const whole = load(SOURCE);
  const functionsOf = (codec: Codec) =>
    Object.keys(codec).filter((name) => typeof codec[name] === 'function');
  expect(functionsOf(part)).toEqual(['parseVxlan']);
  expect(functionsOf(whole).length).toBeGreaterThan(150);
  const others = (codec: Codec) =>
    Object.entries(codec).filter(([, value]) => typeof value !== 'function' && value !== undefined);
  expect(others(part)).toEqual(others(whole));
});

test('what the module does not export is refused by name', () => {
  expect(() => reachable(SOURCE, ['parseVxlann'])).toThrow('netlink exports no parseVxlann');
});
