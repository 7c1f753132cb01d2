import { openAnswerer } from '../../native';
import { thrownBy } from './support/thrown-by';

/** 10.5.2.0/24, by 02:00:00:00:00:02, at 192.168.0.2. */
const RECORD = [10, 5, 2, 0, 24, 0, 2, 0, 0, 0, 0, 2, 192, 168, 0, 2];
const record = (changes: Record<number, number> = {}) =>
  Uint8Array.from(RECORD, (byte, at) => changes[at] ?? byte);

test('It has a port of its own', () => {
  const [one, other] = [openAnswerer('flannel.1'), openAnswerer('flannel.1')];
  expect(one.portId).toBeGreaterThan(0);
  expect(other.portId).not.toBe(one.portId);
  for (const answerer of [one, other]) answerer.close();
});

test('A subnet may be put twice and removed twice, and any number of them at a time', () => {
  const answerer = openAnswerer('flannel.1');
  const many = new Uint8Array(16 * 65_536);
  for (let n = 0; n < 65_536; n++) many.set(record({ 1: n >> 8, 2: n & 255 }), n * 16);
  // A view into a larger buffer, at an odd place.
  const shifted = new Uint8Array(17);
  shifted.set(record(), 1);
  for (const records of [record(), record(), shifted.subarray(1), many, new Uint8Array(0)])
    answerer.put(records);
  for (const records of [many, record(), new Uint8Array(0)]) answerer.remove(records);
  answerer.close();
});

test('It may be paused and resumed at any time, also when it was closed', () => {
  const answerer = openAnswerer('flannel.1');
  for (const step of ['pause', 'pause', 'resume', 'resume', 'pause'] as const) answerer[step]();
  answerer.put(record());
  answerer.close();
  answerer.resume();
});

test('After it was closed, closing does nothing and the rest fails as on a closed descriptor', () => {
  const answerer = openAnswerer('flannel.1');
  answerer.close();
  answerer.close();
  for (const call of [() => answerer.put(record()), () => answerer.remove(record())])
    expect(thrownBy(call)).toMatchObject({ code: 'EBADF' });
});

test.each([
  ['no name', [], 'ERR_INVALID_ARG_TYPE'],
  ['an empty name', [''], 'ERR_OUT_OF_RANGE'],
  ['a name with a NUL', ['flannel\0.1'], 'ERR_OUT_OF_RANGE'],
  ['a name that no interface can have', ['flannel.12345678'], 'ERR_OUT_OF_RANGE'],
])('openAnswerer refuses %s', (_what, words, code) => {
  expect(thrownBy(() => (openAnswerer as (...all: unknown[]) => void)(...words))).toMatchObject({ code });
});

test.each([
  ['nothing', undefined, 'ERR_INVALID_ARG_TYPE'],
  ['an array of numbers', RECORD, 'ERR_INVALID_ARG_TYPE'],
  ['an array of another type', new Uint16Array(8), 'ERR_INVALID_ARG_TYPE'],
  ['a record that is not whole', record().subarray(1), 'ERR_OUT_OF_RANGE'],
  ['a prefix that is too long', record({ 4: 33 }), 'ERR_OUT_OF_RANGE'],
  ['a subnet with host bits', record({ 3: 1 }), 'ERR_OUT_OF_RANGE'],
  ['all addresses, with host bits', record({ 4: 0 }), 'ERR_OUT_OF_RANGE'],
])('put and remove refuse %s', (_what, records, code) => {
  const answerer = openAnswerer('flannel.1');
  expect(thrownBy(() => answerer.put(records as Uint8Array))).toMatchObject({ code });
  expect(thrownBy(() => answerer.remove(records as Uint8Array))).toMatchObject({ code });
  answerer.close();
});
