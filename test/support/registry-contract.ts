/** What every LeaseRegistry promises: run on the fake and on a real etcd. */
import { ipAddress, subnet } from '../../src/model/address';
import { RegistryError } from '../../src/model/errors';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../src/model/lease';
import { printLeaseAttributes, vxlanData } from '../../src/model/lease-codec';
import { macAddress, type MacAddress } from '../../src/model/mac';
import type { LeaseBatch, LeaseChange, LeaseLife, LeaseRegistry, WriteResult } from '../../src/ports';
import { PATIENCE_MILLISECONDS } from './lab/until';

/** An empty store for one test. Keys are those below the prefix: `config`, `subnets/10.5.1.0-24`. */
export interface RegistryEnvironment {
  /** One more client of the same store; closed with the environment. */
  client(): LeaseRegistry;
  put(key: string, value: string | Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  valueOf(key: string): Promise<string | undefined>;
  /** Makes the store forget its history. */
  compact(): Promise<void>;
  /** Lets so much of the store's time pass that this etcd lease ends, granted for so long and not kept alive. */
  outlive(etcdLeaseId: string, ttlSeconds: number): Promise<void>;
  close(): Promise<void>;
}

/** The shortest time to live that a real etcd grants with its usual settings. */
const SHORT_TTL_SECONDS = 2;

export function leaseSubnets(text: string, ipv6?: string): LeaseSubnets {
  return { subnet: subnet(text), ipv6Subnet: ipv6 === undefined ? undefined : subnet(ipv6) };
}

/** The attributes of vxlan host number n: 192.168.0.n with the VTEP MAC 02:00:00:00:00:n. */
export function vxlanAttributes(n: number): LeaseAttributes {
  return {
    publicIp: ipAddress(`192.168.${n >> 8}.${n & 255}`),
    publicIpv6: undefined,
    backendType: 'vxlan',
    backendData: vxlanData(1, vtepMac(n)),
    backendV6Data: undefined,
  };
}

export function vtepMac(n: number): MacAddress {
  return macAddress(
    `02:00:00:00:${[n >> 8, n & 255].map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`,
  );
}

/** The lease that was written; fails the test if there was a conflict. */
export function written(result: WriteResult): Lease {
  if (result.kind !== 'written')
    throw new Error('expected the lease to be written, but there was a conflict');
  return result.lease;
}

/** Collects batches from a watch, to be waited for. Ends with the signal. */
export class WatchProbe {
  readonly batches: LeaseBatch[] = [];
  readonly #abort = new AbortController();
  #error: unknown;
  #ended = false;
  #wake: () => void = () => undefined;
  readonly done: Promise<void>;

  constructor(registry: LeaseRegistry, afterRevision: string) {
    this.done = this.#run(registry, afterRevision);
  }

  get changes(): LeaseChange[] {
    return this.batches.flatMap((batch) => batch.changes);
  }

  /** `put 10.5.1.0-24`, `removed 10.5.1.0-24`, `malformed hello` */
  get summary(): string[] {
    return this.changes.map((change) => {
      if (change.kind === 'put') return `put ${change.lease.name}`;
      return change.kind === 'removed' ? `removed ${change.name}` : `malformed ${change.malformed.name}`;
    });
  }

  /** Resolves once the condition holds; rejects with what the watch threw, or after the bound. */
  async until(
    condition: (probe: WatchProbe) => boolean,
    milliseconds = PATIENCE_MILLISECONDS,
  ): Promise<void> {
    const deadline = performance.now() + milliseconds;
    while (!condition(this)) {
      if (this.#ended) throw this.#error;
      const rest = deadline - performance.now();
      if (rest <= 0) throw new Error(`the watch brought only: ${this.summary.join(', ')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(rest, 100));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Resolves once the watch is established. */
  ready(): Promise<void> {
    return this.until(({ batches }) => batches.length > 0);
  }

  /** What the watch threw; waits for it. */
  async failure(milliseconds = PATIENCE_MILLISECONDS): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('the watch did not fail')), milliseconds);
    });
    await Promise.race([this.done, late]);
    clearTimeout(timer);
    return this.#error;
  }

  stop(): Promise<void> {
    this.#abort.abort();
    return this.done;
  }

  async #run(registry: LeaseRegistry, afterRevision: string): Promise<void> {
    try {
      for await (const batch of registry.watch(afterRevision, this.#abort.signal)) {
        this.batches.push(batch);
        this.#wake();
      }
      this.#error = new Error('the watch ended by itself');
    } catch (error) {
      this.#error = error;
    }
    this.#ended = true;
    this.#wake();
  }
}

export function describeRegistryContract(name: string, open: () => Promise<RegistryEnvironment>): void {
  describe(`${name} keeps the promises of a lease registry:`, () => {
    let environment: RegistryEnvironment;
    let registry: LeaseRegistry;
    let other: LeaseRegistry;
    const probes: WatchProbe[] = [];
    const signal = new AbortController().signal;

    beforeEach(async () => {
      environment = await open();
      registry = environment.client();
      other = environment.client();
    });

    afterEach(async () => {
      await Promise.all(probes.splice(0).map((probe) => probe.stop()));
      await environment.close();
    });

    const watch = (afterRevision: string, by = registry) => {
      const probe = new WatchProbe(by, afterRevision);
      probes.push(probe);
      return probe;
    };
    const now = async () => (await registry.list(signal)).revision;

    test('keys below the leases are counted, readable or not', async () => {
      expect(await registry.count(signal)).toBe(0);
      await environment.put('subnets/10.5.2.0-24', 'garbage');
      await environment.put('subnets/10.5.3.0-24', 'garbage');
      await environment.put('config', '{}');
      expect(await registry.count(signal)).toBe(2);
    });

    test('whether it may be read and written is found out without writing anything', async () => {
      const { revision } = await registry.list(signal);
      const probe = watch(revision);
      await probe.ready();
      await registry.checkAccess('10.5.1.0-24', signal);
      expect(await environment.valueOf('subnets/10.5.1.0-24')).toBeUndefined();
      await environment.put('subnets/10.5.1.0-24', 'garbage');
      await registry.checkAccess('10.5.1.0-24', signal);
      expect(await environment.valueOf('subnets/10.5.1.0-24')).toBe('garbage');
      await probe.until(({ changes }) => changes.length > 0);
      expect(probe.summary).toHaveLength(1);
      expect(Number(await now())).toBe(Number(revision) + 1);
    });

    describe('the configuration', () => {
      test('is not there at first, then is as written', async () => {
        expect(await registry.readConfig(signal)).toBeUndefined();
        expect(await registry.writeConfig('{"Network":"10.5.0.0/16"}', undefined, signal)).toBe('written');
        expect(await other.readConfig(signal)).toMatchObject({ text: '{"Network":"10.5.0.0/16"}' });
        expect(await environment.valueOf('config')).toBe('{"Network":"10.5.0.0/16"}');
      });

      test('is written only over the revision that was expected', async () => {
        await environment.put('config', '{}');
        expect(await registry.writeConfig('{"a":1}', undefined, signal)).toBe('conflict');
        const stored = (await registry.readConfig(signal))!;
        expect(await registry.writeConfig('{"a":2}', stored.modRevision, signal)).toBe('written');
        expect(await other.writeConfig('{"a":3}', stored.modRevision, signal)).toBe('conflict');
        expect(await environment.valueOf('config')).toBe('{"a":2}');
      });

      test('that is gone is no match for any revision', async () => {
        expect(await registry.writeConfig('{}', '1', signal)).toBe('conflict');
        expect(await environment.valueOf('config')).toBeUndefined();
      });
    });

    describe('creating', () => {
      test("writes flannel's key and value", async () => {
        const id = await registry.grant(3600, signal);
        const lease = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal),
        );
        expect(lease).toMatchObject({
          name: '10.5.1.0-24',
          etcdLeaseId: id,
          attributes: { publicIp: '192.168.0.1' },
        });
        expect(await environment.valueOf('subnets/10.5.1.0-24')).toBe(
          '{"PublicIP":"192.168.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}',
        );
        expect((await other.list(signal)).leases).toEqual([lease]);
      });

      test('goes on after its connections were given up for others; watches end as after any trouble', async () => {
        const { revision } = await registry.list(signal);
        const watch = registry.watch(revision, signal)[Symbol.asyncIterator]();
        await watch.next();
        const ended = watch.next();
        registry.reconnect();
        await expect(ended).rejects.toMatchObject({ code: 'unavailable' });
        const id = await registry.grant(3600, signal);
        written(await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal));
      });

      test('knows the etcd leases that this host got, by whichever client, from those of others', async () => {
        expect(registry.isGrantedToUs(await registry.grant(3600, signal))).toBe(true);
        expect(registry.isGrantedToUs(await other.grant(3600, signal))).toBe(true);
        expect(registry.isGrantedToUs('7587869153224178999')).toBe(false);
      });

      test('spells dual-stack keys as Go does', async () => {
        const lease = written(
          await registry.create(
            leaseSubnets('10.12.13.0/24', 'FD00:0012:13:0::/56'),
            vxlanAttributes(1),
            undefined,
            signal,
          ),
        );
        expect(lease.name).toBe('10.12.13.0-24&fd00:12:13::-56');
        expect(await environment.valueOf(`subnets/${lease.name}`)).toBe(
          printLeaseAttributes(vxlanAttributes(1)),
        );
      });

      test('never overwrites a key', async () => {
        const [one, two] = [await registry.grant(3600, signal), await other.grant(3600, signal)];
        await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), one, signal);
        const result = await other.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(2), two, signal);
        expect(result).toEqual({ kind: 'conflict' });
        expect(await environment.valueOf('subnets/10.5.1.0-24')).toContain('192.168.0.1');
      });

      test('never overwrites garbage either', async () => {
        await environment.put('subnets/10.5.1.0-24', 'garbage');
        const result = await registry.create(
          leaseSubnets('10.5.1.0/24'),
          vxlanAttributes(1),
          undefined,
          signal,
        );
        expect(result).toEqual({ kind: 'conflict' });
      });

      test('is won by exactly one of many at once', async () => {
        const results = await Promise.all(
          Array.from({ length: 20 }, async (_, n) => {
            const client = n % 2 ? registry : other;
            const id = await client.grant(3600, signal);
            return client.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(n + 1), id, signal);
          }),
        );
        expect(results.filter(({ kind }) => kind === 'written')).toHaveLength(1);
      });

      test('again exactly what is there, with the same etcd lease, is no conflict: the first answer may have been lost', async () => {
        const id = await registry.grant(3600, signal);
        const first = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal),
        );
        const second = await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        expect(written(second)).toEqual(first);
      });

      test('the same value for another etcd lease, or for none, is a conflict', async () => {
        const id = await registry.grant(3600, signal);
        await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        const another = await other.grant(3600, signal);
        for (const each of [another, undefined]) {
          expect(await other.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), each, signal)).toEqual({
            kind: 'conflict',
          });
        }
      });

      test('with an etcd lease that is gone throws, and writes nothing', async () => {
        const id = await registry.grant(3600, signal);
        await registry.revoke(id, signal);
        const creation = registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        await expect(creation).rejects.toThrow(RegistryError);
        expect(await environment.valueOf('subnets/10.5.1.0-24')).toBeUndefined();
      });
    });

    describe('updating and removing', () => {
      test('is done only to the key as it was read', async () => {
        const first = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal),
        );
        const second = written(await registry.update(first, vxlanAttributes(2), undefined, signal));
        expect(BigInt(second.modRevision)).toBeGreaterThan(BigInt(first.modRevision));
        expect(await other.update(first, vxlanAttributes(3), undefined, signal)).toEqual({
          kind: 'conflict',
        });
        expect(await other.remove(first, signal)).toBe('conflict');
        expect((await other.list(signal)).leases).toEqual([second]);
        expect(await other.remove(second, signal)).toBe('removed');
        expect((await other.list(signal)).leases).toEqual([]);
      });

      test('is not done to a key that is gone', async () => {
        const lease = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal),
        );
        await environment.delete('subnets/10.5.1.0-24');
        expect(await registry.update(lease, vxlanAttributes(2), undefined, signal)).toEqual({
          kind: 'conflict',
        });
        expect(await registry.remove(lease, signal)).toBe('conflict');
        expect(await environment.valueOf('subnets/10.5.1.0-24')).toBeUndefined();
      });

      test('keeps the spelling of a foreign key', async () => {
        await environment.put('subnets/x10.5.1.9-24', printLeaseAttributes(vxlanAttributes(1)));
        const [lease] = (await registry.list(signal)).leases;
        expect(lease).toMatchObject({ name: 'x10.5.1.9-24', subnet: subnet('10.5.1.0/24') });
        await registry.update(lease!, vxlanAttributes(2), undefined, signal);
        expect(await environment.valueOf('subnets/x10.5.1.9-24')).toContain('192.168.0.2');
      });

      test('mends a malformed value, by its revision', async () => {
        await environment.put('subnets/10.5.1.0-24', 'garbage');
        const [malformed] = (await registry.list(signal)).malformed;
        const lease: Lease = {
          ...leaseSubnets('10.5.1.0/24'),
          attributes: vxlanAttributes(1),
          name: malformed!.name,
          etcdLeaseId: malformed!.etcdLeaseId,
          modRevision: malformed!.modRevision,
          createRevision: '1',
        };
        written(await registry.update(lease, vxlanAttributes(1), undefined, signal));
        expect((await registry.list(signal)).malformed).toEqual([]);
      });

      test('moves the key to another etcd lease, or to none', async () => {
        const [one, two] = [await registry.grant(3600, signal), await registry.grant(3600, signal)];
        const first = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), one, signal),
        );
        const second = written(await registry.update(first, vxlanAttributes(1), two, signal));
        expect(second.etcdLeaseId).toBe(two);
        // Whoever tells the older of two leases must not mistake a lease that was written again for a young one.
        expect(second.createRevision).toBe(first.modRevision);
        expect((await registry.list(signal)).leases).toEqual([second]);
        await registry.revoke(one, signal);
        const reservation = written(await registry.update(second, vxlanAttributes(1), undefined, signal));
        expect(reservation.etcdLeaseId).toBeUndefined();
        await registry.revoke(two, signal);
        expect((await registry.list(signal)).leases).toEqual([reservation]);
      });

      test('again to exactly what is there, with the same etcd lease, is no conflict', async () => {
        const id = await registry.grant(3600, signal);
        const first = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal),
        );
        const second = written(await registry.update(first, vxlanAttributes(2), id, signal));
        expect(written(await registry.update(first, vxlanAttributes(2), id, signal))).toEqual(second);
      });
    });

    describe('etcd leases', () => {
      test('have IDs that are positive decimal numbers, all different', async () => {
        const ids = await Promise.all(Array.from({ length: 10 }, () => registry.grant(3600, signal)));
        expect(new Set(ids).size).toBe(10);
        for (const id of ids) expect(id).toMatch(/^[1-9]\d*$/);
      });

      test('are kept alive by ID, from any client, without writing the key', async () => {
        const id = await registry.grant(3600, signal);
        await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        const before = await now();
        expect(await other.keepAlive(id, signal)).toMatchObject({ remainingSeconds: 3600 });
        expect(await now()).toBe(before);
      });

      test('are alive until they end, whether a key is attached or not', async () => {
        const id = await registry.grant(3600, signal);
        expect(await other.lifeOf(id, signal)).toMatchObject({
          remainingSeconds: expect.any(Number) as number,
        });
        await registry.revoke(id, signal);
        expect(await other.lifeOf(id, signal)).toBe('lost');
      });

      test('have less to live with every second, until whoever keeps them alive, and all see the same', async () => {
        const id = await registry.grant(3600, signal);
        const start = performance.now();
        /** Real time, and that which only the store has seen. */
        const passed = (ofStore: number) => (performance.now() - start) / 1000 + ofStore;
        const kept = await registry.keepAlive(id, signal);
        const timer = await registry.grant(SHORT_TTL_SECONDS, signal);
        await environment.outlive(timer, SHORT_TTL_SECONDS);
        const { term } = kept as LeaseLife;
        const later = (await other.lifeOf(id, signal)) as LeaseLife;
        expect(later).toEqual({ remainingSeconds: expect.any(Number) as number, term });
        expect(later.remainingSeconds).toBeLessThanOrEqual(3600 - SHORT_TTL_SECONDS);
        // etcd looks for what has ended now and then.
        expect(later.remainingSeconds).toBeGreaterThan(3600 - passed(SHORT_TTL_SECONDS) - 10);
        await other.keepAlive(id, signal);
        const prolonged = (await registry.lifeOf(id, signal)) as LeaseLife;
        expect(prolonged.term).toBe(term);
        expect(prolonged.remainingSeconds).toBeGreaterThan(later.remainingSeconds);
      });

      test('that end take their keys with them, and are lost', async () => {
        const id = await registry.grant(SHORT_TTL_SECONDS, signal);
        await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        await registry.create(leaseSubnets('10.5.2.0/24'), vxlanAttributes(2), undefined, signal);
        const probe = watch(await now());
        await probe.ready();
        await environment.outlive(id, SHORT_TTL_SECONDS);
        expect(await registry.keepAlive(id, signal)).toBe('lost');
        expect((await registry.list(signal)).leases.map(({ name }) => name)).toEqual(['10.5.2.0-24']);
        await probe.until(({ changes }) => changes.length >= 1);
        expect(probe.summary).toEqual(['removed 10.5.1.0-24']);
      });

      test('that are revoked take their keys with them; revoking what is gone is fine', async () => {
        const id = await registry.grant(3600, signal);
        await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
        await other.revoke(id, signal);
        await other.revoke(id, signal);
        expect((await registry.list(signal)).leases).toEqual([]);
        expect(await registry.keepAlive(id, signal)).toBe('lost');
      });

      test('that never were are lost', async () => {
        expect(await registry.keepAlive('123456789', signal)).toBe('lost');
        expect(await registry.lifeOf('123456789', signal)).toBe('lost');
        await registry.revoke('123456789', signal);
      });
    });

    describe('the list', () => {
      test('holds every lease and every malformed key below subnets/, and nothing else', async () => {
        await environment.put('config', '{}');
        await environment.put('subnets-foo/10.5.9.0-24', '{}');
        await environment.put('subnets', '{}');
        await environment.put('subnets/hello', '{}');
        await environment.put('subnets/10.5.2.0-24', 'garbage');
        await environment.put('subnets/10.5.3.0-24', '{"PublicIP":"1.2.3.4","BackendType":"host-gw"}');
        await environment.put('subnets/10.5.4.0-24&fd00:4::-64', '{"PublicIP":"1.2.3.5"}');
        await environment.put('subnets/10.5.5.0-24', Uint8Array.of(0xff, 0x00, 0xc3, 0x28));
        const { leases, malformed } = await registry.list(signal);
        expect(leases.map(({ name }) => name).sort()).toEqual(['10.5.3.0-24', '10.5.4.0-24&fd00:4::-64']);
        expect(leases.every(({ etcdLeaseId }) => etcdLeaseId === undefined)).toBe(true);
        const reasons = malformed.map(({ name, reason }) => `${name}: ${reason}`).sort();
        expect(reasons).toEqual([
          '10.5.2.0-24: value is not JSON',
          '10.5.5.0-24: value is not JSON',
          'hello: key names no subnet',
        ]);
      });

      test('says at which revision it was true: a watch from there misses nothing', async () => {
        const empty = await registry.list(signal);
        expect(empty).toMatchObject({ leases: [], malformed: [] });
        await environment.put('subnets/10.5.1.0-24', '{}');
        const probe = watch(empty.revision);
        await probe.until(({ changes }) => changes.length >= 1);
        expect(probe.summary).toEqual(['put 10.5.1.0-24']);
      });
    });

    describe('finding', () => {
      beforeEach(async () => {
        for (const n of [1, 2, 3]) {
          await registry.create(leaseSubnets(`10.5.${n}.0/24`), vxlanAttributes(n), undefined, signal);
        }
      });

      test('by an address gives the lease whose subnet holds it', async () => {
        const lease = await registry.find({ layer: 'l3', address: ipAddress('10.5.2.77') }, 24, signal);
        expect(lease?.name).toBe('10.5.2.0-24');
      });

      test('by an address gives a dual-stack lease too, by either of its families', async () => {
        const subnets = leaseSubnets('10.5.9.0/24', 'fd00:9::/64');
        await registry.create(subnets, vxlanAttributes(9), undefined, signal);
        const byIpv4 = await registry.find({ layer: 'l3', address: ipAddress('10.5.9.1') }, 24, signal);
        expect(byIpv4?.name).toBe('10.5.9.0-24&fd00:9::-64');
        const byIpv6 = await registry.find({ layer: 'l3', address: ipAddress('fd00:9::5') }, 64, signal);
        expect(byIpv6?.name).toBe('10.5.9.0-24&fd00:9::-64');
      });

      test('by an address nobody leases gives nothing, also where a malformed key has it', async () => {
        await environment.put('subnets/10.5.7.0-24', 'garbage');
        await environment.put('subnets/10.5.8.0-240', '{}');
        for (const address of ['10.5.4.1', '10.5.7.1', '10.5.8.1', '10.6.1.1', 'fd00::1']) {
          expect(
            await registry.find({ layer: 'l3', address: ipAddress(address) }, 24, signal),
          ).toBeUndefined();
        }
      });

      test("by a MAC gives the lease of that VTEP, and nothing for nobody's", async () => {
        const lease = await registry.find({ layer: 'l2', mac: vtepMac(3) }, 24, signal);
        expect(lease?.name).toBe('10.5.3.0-24');
        expect(await registry.find({ layer: 'l2', mac: vtepMac(4) }, 24, signal)).toBeUndefined();
      });
    });

    describe('the watch', () => {
      test('brings each change after its revision once, in order, with the revision it leads to', async () => {
        await environment.put('subnets/10.5.1.0-24', '{"PublicIP":"1.1.1.1"}');
        const start = await now();
        await environment.put('subnets/10.5.2.0-24', '{"PublicIP":"1.1.1.2"}');
        const probe = watch(start);
        await probe.ready();
        await environment.put('subnets/10.5.3.0-24', 'garbage');
        await environment.put('subnets/10.5.1.0-24', '{"PublicIP":"1.1.1.3"}');
        await environment.delete('subnets/10.5.2.0-24');
        await environment.put('subnets/hello', '{}');
        await environment.delete('subnets/hello');
        await probe.until(({ changes }) => changes.length >= 6);
        expect(probe.summary).toEqual([
          'put 10.5.2.0-24',
          'malformed 10.5.3.0-24',
          'put 10.5.1.0-24',
          'removed 10.5.2.0-24',
          'malformed hello',
          'removed hello',
        ]);
        const end = await now();
        expect(probe.batches.at(-1)!.revision).toBe(end);
        const revisions = probe.batches.map(({ revision }) => BigInt(revision));
        expect(revisions).toEqual([...revisions].sort((a, b) => (a < b ? -1 : 1)));
      });

      test('reports that it is up, before anything has changed', async () => {
        const start = await now();
        const probe = watch(start);
        await probe.ready();
        expect(probe.batches[0]).toEqual({ revision: start, changes: [] });
      });

      test('brings leases as a list would, with revision and etcd lease', async () => {
        const probe = watch(await now());
        await probe.ready();
        const id = await other.grant(3600, signal);
        const lease = written(
          await other.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal),
        );
        await probe.until(({ changes }) => changes.length >= 1);
        expect(probe.changes).toEqual([{ kind: 'put', lease }]);
      });

      test('does not bring what is not ours', async () => {
        const probe = watch(await now());
        await probe.ready();
        await environment.put('config', '{}');
        await environment.put('subnets-foo/10.5.9.0-24', '{}');
        await environment.put('subnets/10.5.1.0-24', '{}');
        await probe.until(({ changes }) => changes.length >= 1);
        expect(probe.summary).toEqual(['put 10.5.1.0-24']);
      });

      test('begun anywhere in a history, by several at once, brings the rest of it', async () => {
        const start = BigInt(await now());
        for (let n = 1; n <= 20; n++) await environment.put(`subnets/10.5.${n}.0-24`, '{}');
        for (const skipped of [0, 7, 19]) {
          const probe = watch(String(start + BigInt(skipped)), skipped ? registry : other);
          await probe.until(({ changes }) => changes.length >= 20 - skipped);
          expect(probe.changes).toHaveLength(20 - skipped);
        }
      });

      test('throws compacted when its revision is forgotten', async () => {
        const start = await now();
        for (let n = 1; n <= 5; n++) await environment.put('subnets/10.5.1.0-24', `{"n":${n}}`);
        await environment.compact();
        const probe = watch(start);
        expect(await probe.failure()).toMatchObject({ code: 'compacted' });
        const fresh = watch(await now());
        await fresh.ready();
        await environment.put('subnets/10.5.2.0-24', '{}');
        await fresh.until(({ changes }) => changes.length >= 1);
      });

      test('throws compacted when its revision is still to come: the store is not the one it was', async () => {
        const probe = watch(String(BigInt(await now()) + 1000n));
        expect(await probe.failure()).toMatchObject({ code: 'compacted' });
      });
    });

    describe('an abort', () => {
      test('that came before is heard at once, by every method', async () => {
        const reason = new Error('enough');
        const aborted = AbortSignal.abort(reason);
        const lease = written(
          await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal),
        );
        await expect(registry.list(aborted)).rejects.toBe(reason);
        await expect(registry.readConfig(aborted)).rejects.toBe(reason);
        await expect(registry.writeConfig('{}', undefined, aborted)).rejects.toBe(reason);
        await expect(registry.find({ layer: 'l2', mac: vtepMac(1) }, 24, aborted)).rejects.toBe(reason);
        await expect(registry.grant(60, aborted)).rejects.toBe(reason);
        await expect(registry.keepAlive('1', aborted)).rejects.toBe(reason);
        await expect(registry.lifeOf('1', aborted)).rejects.toBe(reason);
        await expect(registry.revoke('1', aborted)).rejects.toBe(reason);
        await expect(
          registry.create(leaseSubnets('10.5.2.0/24'), vxlanAttributes(1), undefined, aborted),
        ).rejects.toBe(reason);
        await expect(registry.update(lease, vxlanAttributes(2), undefined, aborted)).rejects.toBe(reason);
        await expect(registry.remove(lease, aborted)).rejects.toBe(reason);
        await expect(first(registry.watch('1', aborted))).rejects.toBe(reason);
      });

      test('ends a waiting watch with its reason', async () => {
        const controller = new AbortController();
        const reason = new Error('enough');
        const batches = registry.watch(await now(), controller.signal)[Symbol.asyncIterator]();
        await batches.next();
        const waiting = batches.next();
        controller.abort(reason);
        await expect(waiting).rejects.toBe(reason);
      });
    });

    describe('after closing', () => {
      test('calls and watches throw unavailable', async () => {
        const client = environment.client();
        const probe = watch(await now(), client);
        await probe.ready();
        client.close();
        expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
        await expect(client.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
        client.close();
      });
    });
  });
}

async function first<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}
