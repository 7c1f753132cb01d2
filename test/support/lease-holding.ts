/** Hosts that get and keep a lease, on a fake clock. */
import { LeaseHolder, type LeaseHolderOptions } from '../../src/engine/lease-holder';
import { ipAddress, subnet } from '../../src/model/address';
import type { Lease, LeaseAttributes } from '../../src/model/lease';
import { vxlanData } from '../../src/model/lease-codec';
import { macAddress } from '../../src/model/mac';
import { examplePeer } from './examples';
import { FakeClock, settle } from './fake-clock';
import { FakeLog } from './fake-log';
import { FakeStore } from './fake-registry';

export const NEW_MAC = macAddress('02:00:00:00:00:77');

/** What host n says of itself. */
export function attributesOf(n: number): LeaseAttributes {
  const { publicIp, vtepMac } = examplePeer(n);
  return {
    publicIp,
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: vxlanData(1, vtepMac),
    backendV6Data: undefined,
  };
}

/** Host 7 at a store. */
export function host(store: FakeStore, changes: Partial<LeaseHolderOptions> = {}, seed = 1, name = 'host') {
  const clock = store.clock as FakeClock;
  const random = new FakeClock(seed);
  let fixed: number | undefined;
  const log = new FakeLog();
  const registry = store.client(name);
  const holder = new LeaseHolder(
    registry,
    {
      now: () => clock.now(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      random: () => fixed ?? random.random(),
      wallTime: () => clock.wallTime(),
    },
    log,
    {
      range: {
        network: subnet('10.5.0.0/16'),
        subnetLength: 24,
        subnetMin: ipAddress('10.5.1.0'),
        subnetMax: ipAddress('10.5.255.0'),
      },
      publicIp: () => examplePeer(7).publicIp,
      previous: undefined,
      renewMarginSeconds: 3600,
      mayRenumber: true,
      attributesFor: (held) => ({
        ...attributesOf(7),
        backendData: (held && held.attributes.backendData) ?? vxlanData(1, NEW_MAC),
      }),
      isProven: () => false,
      ...changes,
    },
  );
  const stop = new AbortController();
  const replaced: Lease[] = [];
  return {
    holder,
    registry,
    log,
    clock,
    replaced,
    /** From now on chance is this. */
    fixRandom: (value: number) => (fixed = value),
    acquire: async () => {
      const acquired = holder.acquire((await registry.list(stop.signal)).leases, stop.signal);
      for (let turn = 0; turn < 200; turn++) {
        if (await Promise.race([acquired.then(() => true), settle().then(() => false)])) break;
        await clock.advance(100);
      }
      return acquired;
    },
    /** Keeps the lease, told of every change of its key as the peer watcher would. */
    run: () => {
      const name = holder.lease!.name;
      const end = holder.run((lease) => replaced.push(lease), stop.signal);
      const tell = async () => {
        const { leases, malformed } = await registry.list(stop.signal);
        holder.noticeStored([...leases, ...malformed].find((stored) => stored.name === name));
        await clock.advance(1_000);
      };
      return { tell, stop: () => (stop.abort(), end) };
    },
  };
}

export const newStore = () => new FakeStore(new FakeClock());

/** Lets time pass; each host hears of what happens to the key, unless it knows it, before anything else happens 50 ms later. */
export async function passBetween(
  store: FakeStore,
  name: string,
  milliseconds: number,
  hosts: readonly { readonly holder: LeaseHolder }[],
  known = '',
) {
  const clock = store.clock as FakeClock;
  const reader = store.client();
  const end = clock.now() + milliseconds;
  for (let told = known; clock.now() < end;) {
    const { leases } = await reader.list(new AbortController().signal);
    const stored = leases.find((lease) => lease.name === name);
    const isNews = stored?.modRevision !== told;
    if (isNews) for (const { holder } of hosts) holder.noticeStored(stored);
    told = stored?.modRevision ?? '';
    // Without news nothing happens before the next one wakes.
    const quiet = isNews ? 50 : Math.max(1, (clock.nextWake ?? end) - clock.now());
    await clock.advance(Math.min(quiet, end - clock.now()));
  }
}
