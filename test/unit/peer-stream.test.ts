/** Who hears of a change of the peer table, and in which order. */
import { AT_ONCE, PeerStream, WHEN_JUDGED, type PeerSubscribers } from '../../src/engine/peer-stream';
import type { PeerChange } from '../../src/model/peer';
import { examplePeer } from '../support/examples';

const joins = (n: number): PeerChange => ({ before: undefined, after: examplePeer(n) });
const leaves = (n: number): PeerChange => ({ before: examplePeer(n), after: undefined });
const print = ({ before, after }: PeerChange) =>
  `${before ? '-' : ''}${after ? '+' : ''}${(after ?? before)!.subnet.address}`;

/** A stream with every subscriber, named in the opposite of the order in which they are told. */
function streaming() {
  const told: string[] = [];
  const heard: Record<string, { changes: string[]; each: string[] }> = {};
  const atOnce = Object.fromEntries(
    [...AT_ONCE].reverse().map((name) => [name, () => void told.push(`${name} at once`)]),
  ) as PeerSubscribers['atOnce'];
  const whenJudged = Object.fromEntries(
    [...WHEN_JUDGED].reverse().map((name) => [
      name,
      (changes: readonly PeerChange[], each: readonly PeerChange[]) => {
        told.push(name);
        heard[name] = { changes: changes.map(print), each: each.map(print) };
      },
    ]),
  ) as PeerSubscribers['whenJudged'];
  return { stream: new PeerStream({ atOnce, whenJudged }), told, heard };
}

it('while leases are being judged the admission hears of a change, then the fast path, and no other', () => {
  const { stream, told } = streaming();
  stream.changed([joins(2)]);
  expect(told).toEqual(['admission at once', 'fast path at once']);
});

it('once they are judged the admission hears before the responder, and that before the reconciler', () => {
  const { stream, told } = streaming();
  stream.changed([joins(2)]);
  told.length = 0;
  stream.judged();
  expect(told).toEqual([
    'change log',
    'known addresses',
    'admission',
    'responder',
    'reconciler',
    'state file',
  ]);
});

it('once they are judged it tells one change for each subnet, and each as it came', () => {
  const { stream, heard } = streaming();
  stream.changed([joins(2), joins(3)]);
  stream.changed([leaves(3), joins(4)]);
  stream.judged();
  expect(heard['reconciler']).toEqual({
    changes: ['+10.5.2.0', '+10.5.4.0'],
    each: ['+10.5.2.0', '+10.5.3.0', '-10.5.3.0', '+10.5.4.0'],
  });
});

it('tells nothing where nothing changed, and nothing twice', () => {
  const { stream, told } = streaming();
  stream.changed([]);
  stream.judged();
  expect(told).toEqual([]);
  stream.changed([joins(2)]);
  stream.judged();
  told.length = 0;
  stream.judged();
  expect(told).toEqual([]);
});

it('tells subscribers that are there, where others are not', () => {
  const told: string[] = [];
  const stream = new PeerStream({
    atOnce: {},
    whenJudged: { reconciler: (changes) => told.push(...changes.map(print)) },
  });
  stream.changed([joins(2)]);
  stream.judged();
  expect(told).toEqual(['+10.5.2.0']);
});
