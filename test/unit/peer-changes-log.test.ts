import { PeerChangesLog } from '../../src/engine/peer-changes-log';
import type { PeerChange } from '../../src/model/peer';
import { examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const joined = (n: number): PeerChange => ({ before: undefined, after: examplePeer(n) });
const left = (n: number): PeerChange => ({ before: examplePeer(n), after: undefined });
const changed = (n: number): PeerChange => ({ before: examplePeer(n), after: examplePeer(n + 100) });

test('of what comes within a second each kind is summed up, and the last number of peers counts', async () => {
  const clock = new FakeClock();
  const log = new FakeLog();
  const changes = new PeerChangesLog(clock, log);
  const stop = new AbortController();
  const end = changes.run(stop.signal);
  changes.add([joined(2)], 1);
  expect(log.messages('info')).toEqual(['peer joined']);
  changes.add([joined(3), joined(4), left(2), changed(3)], 2);
  changes.add([joined(5), left(3), left(4), changed(5), changed(5)], 1);
  await clock.advance(1_000);
  expect(log.lines.slice(1)).toEqual([
    { level: 'info', message: 'peers changed', fields: { joined: 3, left: 3, changed: 3, peers: 1 } },
  ]);
  expect(changes.count).toBe(10);
  stop.abort();
  await end;
});

test('no change is none: it neither counts, nor makes the next one wait', () => {
  const log = new FakeLog();
  const changes = new PeerChangesLog(new FakeClock(), log);
  changes.add([], 7);
  changes.add([left(2)], 6);
  expect(log.messages('info')).toEqual(['peer left']);
  expect(changes.count).toBe(1);
});
