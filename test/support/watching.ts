/** A peer watcher at a store, and what it tells. */
import { PeerWatcher } from '../../src/engine/peer-watcher';
import { printSubnet } from '../../src/model/address';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import type { PeerChange } from '../../src/model/peer';
import { exampleLease, exampleRange, exampleSelf } from './examples';
import { FakeClock } from './fake-clock';
import { FakeLog } from './fake-log';
import { FakeStore } from './fake-registry';

export const GRACE_MILLISECONDS = 3_600_000;

/** What host n says of itself. */
export const valueOf = (n: number) => printLeaseAttributes(exampleLease(n).attributes);

/** Host n leases 10.5.n.0/24; `value`: what it says of itself. */
export const putLease = (store: FakeStore, n: number, value = valueOf(n)) =>
  store.put(`subnets/10.5.${n}.0-24`, value);

/** Host 1's watcher, which has not begun to look, at a store with the leases of these hosts. */
export function newWatcher(graceMilliseconds = GRACE_MILLISECONDS, ...peers: number[]) {
  const clock = new FakeClock();
  const store = new FakeStore(clock);
  for (const n of peers) putLease(store, n);
  const registry = store.client();
  const log = new FakeLog();
  const changes: PeerChange[] = [];
  const tableChanges: PeerChange[] = [];
  const each: PeerChange[] = [];
  /** What became of our own key: its value, why it cannot be read, or 'gone'. */
  const own: string[] = [];
  const claims: string[] = [];
  /** How many changes came with each call, and when the watcher was in sync. */
  const calls: string[] = [];
  const watcher = new PeerWatcher(
    registry,
    clock,
    log,
    {
      inSync: () => calls.push('in sync'),
      tableChanged: (some) => {
        calls.push(`table ${some.length}`);
        tableChanges.push(...some);
      },
      peersChanged: (some, all) => {
        calls.push(`peers ${some.length}`);
        changes.push(...some);
        each.push(...all);
      },
      ownLeaseChanged: (stored) => {
        if (!stored) own.push('gone');
        else own.push('reason' in stored ? stored.reason : printLeaseAttributes(stored.attributes));
      },
      ownMacClaimed: (lease) => claims.push(lease.name),
    },
    graceMilliseconds,
  );
  return {
    clock,
    store,
    registry,
    log,
    watcher,
    changes,
    tableChanges,
    each,
    own,
    claims,
    calls,
    subnets: () => [...watcher.peers].map((peer) => printSubnet(peer.subnet)).sort(),
  };
}

/** Host 1 watching a store. */
export const watching = (...peers: number[]) => watchingWith(GRACE_MILLISECONDS, ...peers);

export async function watchingWith(graceMilliseconds: number, ...peers: number[]) {
  const host = newWatcher(graceMilliseconds, ...peers);
  const stop = new AbortController();
  await host.watcher.sync(stop.signal);
  await host.watcher.identify(exampleSelf(), exampleRange());
  const end = host.watcher.run(stop.signal);
  await host.clock.advance(0);
  return { ...host, stop: () => (stop.abort(), end) };
}
