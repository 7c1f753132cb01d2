/**
 * A host that runs flannel (0.27) on the same store, as far as the store sees it. It renews by writing its key without a look at
 * what is there, takes over whatever names its PublicIP, deletes a key of its own that does not fit, gives up when its key goes,
 * and is started again by its supervisor.
 */
import { setMaxListeners } from 'node:events';
import { freeSubnet, isLeasable } from '../../src/core/subnets';
import { ipAddress, sameSubnet, type IpAddress, type Subnet } from '../../src/model/address';
import { LEASE_TTL_SECONDS } from '../../src/model/lease';
import { printLeaseAttributes, printLeaseName, vxlanData } from '../../src/model/lease-codec';
import { localMacOf, type MacAddress } from '../../src/model/mac';
import type { SubnetRange } from '../../src/model/network-config';
import type { LeaseBatch } from '../../src/ports';
import type { FakeRegistry } from '../support/fake-registry';
import type { Connection } from './connection';
import { leasesOf } from './convergence';
import { SUBNETS, type ObservedStore } from './observed-store';
import { Process } from './process';
import type { Random } from './random';
import type { Scheduler } from './scheduler';

const RENEW_MARGIN_MILLISECONDS = 3_600_000;
const RETRY_MILLISECONDS = 60_000;
/** systemd's, as flannel's unit has it. */
const RESTART_MILLISECONDS = 5_000;
const ATTEMPTS = 10;
const NEVER = new AbortController().signal;
// A thousand hosts may wait by it, and Node takes more than ten listeners for a leak.
setMaxListeners(0, NEVER);

/** The process ends, with whatever exit code. */
class Exit extends Error {}

export interface FlannelWorld {
  readonly scheduler: Scheduler;
  readonly store: ObservedStore;
  readonly chance: Random;
  /** As the configuration says now. */
  range(): SubnetRange;
}

export class FlannelHost {
  readonly name: string;
  readonly address: IpAddress;
  /** Of the lease it lives by. */
  key: string | undefined;
  #mac: MacAddress;
  #previous: Subnet | undefined;
  #expiresAt = 0;
  #lives = 0;
  #life: { process: Process; client: FakeRegistry } | undefined;

  constructor(
    number: number,
    private readonly world: FlannelWorld,
    readonly connection: Connection,
  ) {
    this.name = `f${number}`;
    this.address = ipAddress(`172.31.0.${number + 1}`);
    this.#mac = this.#newMac();
  }

  start(): void {
    if (this.#life) return;
    const { scheduler, store, chance } = this.world;
    const process = new Process(`${this.name}.${++this.#lives}`, scheduler, chance.fork());
    const client = store.client();
    this.#life = { process, client };
    this.#run(process, client).catch((error: unknown) => {
      if (!(error instanceof Exit)) throw error;
      scheduler.note(`${process.name} exits: ${error.message}`);
      if (this.#life?.process === process) this.kill();
      scheduler.after(RESTART_MILLISECONDS, `${this.name} is started again`, () => this.start());
    });
  }

  /** Its device stays, and so does its MAC. */
  kill(): void {
    this.#life?.process.kill();
    this.#life?.client.close();
    this.#life = undefined;
  }

  reboot(): void {
    this.kill();
    this.#mac = this.#newMac();
  }

  cutWatches(): void {
    this.#life?.client.cutWatches();
  }

  async #run(process: Process, client: FakeRegistry): Promise<void> {
    const subnet = await this.#acquire(process);
    this.#previous = subnet;
    const key = SUBNETS + printLeaseName({ subnet, ipv6Subnet: undefined });
    this.key = key;
    await Promise.race([this.#renew(process, key), this.#watchOwn(process, client, key)]);
  }

  async #acquire(process: Process): Promise<Subnet> {
    const { store, chance } = this.world;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const leases = await this.#call(process, 'list', () => leasesOf(store));
      const range = this.world.range();
      const own = leases.find(({ attributes }) => attributes.publicIp === this.address);
      if (own && isLeasable(range, own.subnet) && !own.ipv6Subnet) {
        await this.#putBlindly(process, SUBNETS + own.name);
        return own.subnet;
      }
      if (own) {
        await this.#call(process, `delete ${own.name}`, () => store.delete(SUBNETS + own.name));
        continue;
      }
      const previous = this.#previous;
      const isFree = previous && !leases.some(({ subnet }) => sameSubnet(subnet, previous));
      const taken = leases.map((lease) => lease.subnet);
      const subnet =
        isFree && isLeasable(range, previous) ? previous : freeSubnet(range, taken, chance.next());
      if (!subnet) throw new Exit('out of subnets');
      await this.#create(process, SUBNETS + printLeaseName({ subnet, ipv6Subnet: undefined }));
      return subnet;
    }
    throw new Exit('max retries reached trying to acquire a subnet');
  }

  async #create(process: Process, key: string): Promise<void> {
    const { store } = this.world;
    const id = await this.#grant(process);
    const isWritten = await this.#call(process, `create ${key}`, () => {
      if (store.entries.has(key)) return false;
      store.put(key, this.#value(), id);
      return true;
    });
    if (isWritten) return;
    await this.#call(process, 'revoke', () => store.revoke(id));
    throw new Exit('subnet already exists');
  }

  /** Whatever is there. */
  async #putBlindly(process: Process, key: string): Promise<void> {
    const id = await this.#grant(process);
    await this.#call(process, `put ${key}`, () => void this.world.store.put(key, this.#value(), id));
  }

  async #grant(process: Process): Promise<string> {
    const id = await this.#call(process, 'grant', () => this.world.store.grant(LEASE_TTL_SECONDS));
    this.#expiresAt = process.now() + LEASE_TTL_SECONDS * 1000;
    return id;
  }

  async #renew(process: Process, key: string): Promise<never> {
    for (;;) {
      const due = this.#expiresAt - RENEW_MARGIN_MILLISECONDS - process.now();
      await process.sleep(Math.max(0, due), NEVER);
      if (this.#expiresAt - RENEW_MARGIN_MILLISECONDS > process.now()) continue;
      const before = this.#expiresAt;
      await this.#putBlindly(process, key).catch(async (error: unknown) => {
        if (!(error instanceof Exit)) throw error;
        this.#expiresAt = before;
        await process.sleep(RETRY_MILLISECONDS, NEVER);
      });
    }
  }

  /** Ends the process when its key goes, by whomever; whoever else writes it only sets its timer. */
  async #watchOwn(process: Process, client: FakeRegistry, key: string): Promise<never> {
    const { store } = this.world;
    const name = key.slice(SUBNETS.length);
    for (let wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
      try {
        const revision = await this.#call(process, 'get', () => {
          if (!store.entries.has(key)) throw new Exit('lease has been revoked');
          return String(store.revision);
        });
        const batches = client.watch(revision, NEVER);
        for (;;) {
          const batch = await process.whileAlive(batches.next());
          wait = 100;
          await process.wait<void>(NEVER, (resolve) =>
            process.later(this.connection.latency(), 'hears news', resolve),
          );
          const { changes } = (batch as { value: LeaseBatch }).value;
          if (changes.some((change) => change.kind === 'removed' && change.name === name))
            throw new Exit('lease has been revoked');
        }
      } catch (error) {
        if (error instanceof Exit && error.message === 'lease has been revoked') throw error;
        await process.sleep(wait, NEVER);
      }
    }
  }

  /** A call without a deadline: it waits for as long as nobody answers. */
  #call<T>(process: Process, what: string, work: () => T): Promise<T> {
    const { connection } = this;
    return process.wait<T>(NEVER, (resolve, reject) => {
      const arrive = () => {
        if (connection.isDown) return void process.later(1_000, `waits to ${what}`, arrive);
        const fate = connection.fate();
        try {
          const value = fate === 'lost' ? undefined : work();
          const answer = () => (fate === 'answered' ? resolve(value as T) : reject(new Exit('no answer')));
          process.later(connection.latency(), `hears of ${what}`, answer);
        } catch (error) {
          process.later(connection.latency(), `hears no ${what}`, () => reject(error as Error));
        }
      };
      process.later(connection.latency(), what, arrive);
    });
  }

  #value(): string {
    return printLeaseAttributes({
      publicIp: this.address,
      publicIpv6: undefined,
      backendType: 'vxlan',
      backendData: vxlanData(1, this.#mac),
      backendV6Data: undefined,
    });
  }

  #newMac(): MacAddress {
    return localMacOf(Uint8Array.from({ length: 6 }, () => this.world.chance.below(256)));
  }
}

/** What is not as it should be about flannel's hosts: each has one lease, and lives by it. */
export function findUnsettledFlannel(
  hosts: readonly FlannelHost[],
  store: ObservedStore,
): string | undefined {
  for (const { name, address, key } of hosts) {
    const holder = key === undefined ? undefined : store.holderOf(key);
    if (holder !== address) return `${name} lives by ${key}, which is ${holder}'s`;
  }
  return undefined;
}
