/** A host that comes back with another PublicIP, or with one that another host had. */
import type { RememberedLease } from '../../src/core/acquisition';
import { LeaseHolder, type LeaseHolderOptions } from '../../src/engine/lease-holder';
import { ipAddress, subnet } from '../../src/model/address';
import type { Lease, LeaseAttributes } from '../../src/model/lease';
import { printLeaseAttributes, vtepMacOf, vxlanData } from '../../src/model/lease-codec';
import { exampleLease, examplePeer, exampleRange } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const KEY = 'subnets/10.5.7.0-24';
const HAD: RememberedLease = { ...examplePeer(7), isThisHosts: true };

function attributesAt(n: number, held: Lease | undefined): LeaseAttributes {
  const vtepMac = (held && vtepMacOf(held)) ?? examplePeer(n).vtepMac;
  return {
    publicIp: examplePeer(n).publicIp,
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: vxlanData(1, vtepMac),
    backendV6Data: undefined,
  };
}

/** A host at the address of peer n. */
function host(store: FakeStore, n: number, name: string, changes: Partial<LeaseHolderOptions> = {}) {
  const clock = store.clock as FakeClock;
  const log = new FakeLog();
  const registry = store.client(name);
  const holder = new LeaseHolder(registry, clock, log, {
    range: exampleRange(),
    publicIp: () => examplePeer(n).publicIp,
    previous: undefined,
    renewMarginSeconds: 3600,
    mayRenumber: true,
    attributesFor: (held) => attributesAt(n, held),
    isProven: () => false,
    ...changes,
  });
  const stop = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  return {
    holder,
    log,
    acquire: async (milliseconds = 5_000): Promise<Lease | undefined> => {
      let lease: Lease | undefined;
      const acquired = holder.acquire(undefined, stop.signal).then((got) => (lease = got));
      acquired.catch(() => undefined);
      await clock.advance(milliseconds);
      return lease;
    },
    /** Keeps its lease, and hears of what happens to the key. */
    live: () => {
      let seen = store.entries.get(KEY)?.modRevision;
      const hear = async () => {
        while (!stop.signal.aborted) {
          await clock.sleep(50, stop.signal).catch(() => undefined);
          const now = store.entries.get(KEY)?.modRevision;
          if (now === seen) continue;
          seen = now;
          const { leases } = await registry.list(new AbortController().signal);
          holder.noticeStored(leases.find((lease) => lease.name === '10.5.7.0-24'));
        }
      };
      running = Promise.all([holder.run(() => undefined, stop.signal), hear()]);
    },
    end: async () => {
      stop.abort();
      await clock.advance(100);
      await running;
    },
  };
}

/** A store with the lease that host 7 left. */
function storeWithLease() {
  const store = new FakeStore(new FakeClock());
  store.put(KEY, printLeaseAttributes(exampleLease(7).attributes), store.grant(86_400, 'host 7, boot 1'));
  return store;
}

describe('a host that was booted, and has another PublicIP', () => {
  it('keeps the lease it had: claims it, waits whether anybody objects, and writes its PublicIP', async () => {
    const store = storeWithLease();
    const { acquire, log, end } = host(store, 9, 'host 7, boot 2', { remembered: () => HAD });
    const value = store.valueOf(KEY);
    expect(await acquire(500)).toBeUndefined();
    // Other hosts see no change before it is known whose it is.
    expect(store.valueOf(KEY)).toBe(value);
    await end();
    const again = host(store, 9, 'host 7, boot 3', { remembered: () => HAD });
    expect(await again.acquire()).toMatchObject({
      name: '10.5.7.0-24',
      attributes: { publicIp: '192.168.0.9', backendData: { VtepMAC: HAD.vtepMac } },
    });
    expect(log.messages('warn')).toEqual([]);
    expect([...store.entries.keys()]).toEqual([KEY]);
    await again.end();
  });

  it('claims it though it hangs on an etcd lease of this very boot: a copy of the running machine may hold it', async () => {
    const store = storeWithLease();
    const before = store.entries.get(KEY)!.etcdLeaseId;
    const { acquire, end } = host(store, 9, 'host 7, boot 1', { remembered: () => HAD });
    expect(await acquire()).toMatchObject({ name: '10.5.7.0-24' });
    expect(store.entries.get(KEY)!.etcdLeaseId).not.toBe(before);
    await end();
  });

  it('does not claim it where the state file is that of another host', async () => {
    const store = storeWithLease();
    const remembered = () => ({ ...HAD, isThisHosts: false });
    const { acquire, end } = host(store, 9, 'a clone', { remembered });
    expect((await acquire())!.name).not.toBe('10.5.7.0-24');
    await end();
  });
});

describe('a copy of a host that lives, alike in all but its PublicIP', () => {
  it('hears the objection, takes another subnet and says so, and the holder keeps its lease', async () => {
    const store = new FakeStore(new FakeClock());
    const original = host(store, 7, 'the original', { previous: subnet('10.5.7.0/24') });
    await original.acquire();
    original.live();
    const value = store.valueOf(KEY);
    const copy = host(store, 9, 'the copy', { remembered: () => HAD });
    const lease = await copy.acquire(30_000);
    expect(lease).toMatchObject({ attributes: { publicIp: '192.168.0.9' } });
    expect(lease!.name).not.toBe('10.5.7.0-24');
    expect(copy.log.messages('warn')).toEqual([
      'the lease that this host remembers is held by another host, which lives; taking another',
    ]);
    expect(store.valueOf(KEY)).toBe(value);
    expect(original.holder.lease).toMatchObject({ name: '10.5.7.0-24' });
    expect(original.holder.hasGivenWay).toBe(false);
    expect(copy.holder.hasGivenWay).toBe(false);
    await Promise.all([original.end(), copy.end()]);
  });
});

describe('a host whose PublicIP another host had', () => {
  const OTHER = 'subnets/10.5.9.0-24';

  it('leaves the lease of that host as it is, says so once, and has its own subnet', async () => {
    const store = new FakeStore(new FakeClock());
    store.put(OTHER, printLeaseAttributes(exampleLease(9).attributes), store.grant(86_400, 'host 9'));
    const value = store.valueOf(OTHER);
    const options = { previous: subnet('10.5.7.0/24'), ownMacs: () => [examplePeer(7).vtepMac] };
    const { acquire, log, end } = host(store, 9, 'host 7', options);
    expect(await acquire()).toMatchObject({ name: '10.5.7.0-24', attributes: { publicIp: '192.168.0.9' } });
    expect(store.valueOf(OTHER)).toBe(value);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'a lease with our PublicIP is not ours to use',
        fields: {
          lease: '10.5.9.0-24',
          reason:
            "it is another host's, which had our PublicIP: our subnet is 10.5.7.0/24, and its VTEP MAC is not ours",
        },
      },
    ]);
    await end();
  });

  it('takes it where it has nothing else to go by, as flannel does', async () => {
    const store = new FakeStore(new FakeClock());
    store.put(OTHER, printLeaseAttributes(exampleLease(9).attributes), store.grant(86_400, 'host 9'));
    const { acquire, end } = host(store, 9, 'host 7');
    expect(await acquire()).toMatchObject({ name: '10.5.9.0-24' });
    await end();
  });
});

describe('a host that reaches something else in the network', () => {
  const range = exampleRange({ subnetMin: ipAddress('10.5.1.0'), subnetMax: ipAddress('10.5.2.0') });
  const gateway = { subnet: subnet('10.5.1.254/32'), what: '10.5.1.254, a default gateway' };

  it('says what keeps it from the subnets that are free, and takes one as soon as it can', async () => {
    const store = new FakeStore(new FakeClock());
    const value = printLeaseAttributes(exampleLease(2).attributes);
    store.put('subnets/10.5.2.0-24', value, store.grant(86_400, 'host 2'));
    const { acquire, holder, log, end } = host(store, 9, 'host 9', { range, reserved: () => [gateway] });
    const acquired = acquire(60_000);
    await (store.clock as FakeClock).advance(1_000);
    expect(holder.trouble?.complaint).toBe(
      'no free subnet left: every subnet of 10.5.0.0/16 that is not leased holds what this host reaches otherwise ' +
        '(10.5.1.254, a default gateway); free another, or choose a network apart from those of the hosts',
    );
    store.delete('subnets/10.5.2.0-24');
    expect(await acquired).toMatchObject({ name: '10.5.2.0-24' });
    expect(log.messages('info')).toContain('subnet lease acquired after all');
    await end();
  });

  it('says that all are leased, where all are', async () => {
    const store = new FakeStore(new FakeClock());
    for (const n of [1, 2])
      store.put(
        `subnets/10.5.${n}.0-24`,
        printLeaseAttributes(exampleLease(n).attributes),
        store.grant(86_400, 'x'),
      );
    const { acquire, holder, end } = host(store, 9, 'host 9', { range, reserved: () => [gateway] });
    await acquire(1_000);
    expect(holder.trouble?.complaint).toBe(
      'no free subnet left: every subnet of 10.5.0.0/16 is leased; free one, or enlarge the network',
    );
    await end();
  });
});
