/** What stands between the agents and the fakes keeps the same promises as the fakes, and as the real adapters. */
import { setImmediate } from 'node:timers/promises';
import { FakeMachine } from '../support/fake-host';
import { FAKE_UNDERLAY, FakeKernel } from '../support/fake-kernel';
import { FakeStore } from '../support/fake-registry';
import { describeHostContract } from '../support/host-contract';
import { describeKernelContract } from '../support/kernel-contract';
import { describeRegistryContract } from '../support/registry-contract';
import type { LeaseRegistry } from '../../src/ports';
import { Adapter } from './adapter';
import { Connection, Outage } from './connection';
import { DistantRegistry } from './distant-registry';
import { MemoryHost } from './memory-host';
import { NarrowRegistry } from './narrow-registry';
import { Process } from './process';
import { Random } from './random';
import { Scheduler } from './scheduler';
import { SlowKernel } from './slow-kernel';

/** Lets virtual time pass as real time does. */
class Timepiece {
  readonly scheduler = new Scheduler(0);
  readonly process = new Process('p', this.scheduler, new Random(1));
  #leap = 0;
  #isOver = false;
  readonly #end = this.#run();

  /** So much more passes before anything else happens in real time. */
  async leap(milliseconds: number): Promise<void> {
    this.#leap += milliseconds;
    const until = this.scheduler.now + milliseconds;
    while (this.scheduler.now < until) await setImmediate();
  }

  stop(): Promise<void> {
    this.#isOver = true;
    return this.#end;
  }

  async #run(): Promise<void> {
    for (let at = performance.now(); !this.#isOver;) {
      await setImmediate();
      const now = performance.now();
      const leap = this.#leap;
      this.#leap = 0;
      await this.scheduler.run(now - at + leap);
      at = now;
    }
  }
}

function describeRegistry(name: string, shape: (registry: LeaseRegistry) => LeaseRegistry): void {
  describeRegistryContract(name, () => {
    const time = new Timepiece();
    const { scheduler, process } = time;
    const store = new FakeStore({ now: () => scheduler.now });
    const nothing = () => undefined;
    const witness = {
      asked: nothing,
      beforeWork: () => nothing,
      listAnswered: nothing,
      watchBegan: nothing,
      batchDelivered: nothing,
      moment: () => 0,
    };
    const outage = new Outage(() => scheduler.now);
    const clients: LeaseRegistry[] = [];
    return Promise.resolve({
      client: () => {
        const connection = new Connection(outage, new Random(2), { latency: [0.1, 3], odds: 0 });
        const client = shape(new DistantRegistry(store.client(), process, connection, scheduler, witness));
        clients.push(client);
        return client;
      },
      put: (key, value) => {
        store.put(key, typeof value === 'string' ? value : Buffer.from(value).toString());
        return Promise.resolve();
      },
      delete: (key) => Promise.resolve(store.delete(key)),
      valueOf: (key) => Promise.resolve(store.valueOf(key)),
      compact: () => Promise.resolve(store.compact()),
      outlive: async (_id, ttlSeconds) => {
        await time.leap(ttlSeconds * 1000);
        store.expireLeases();
      },
      close: () => {
        for (const client of clients) client.close();
        return time.stop();
      },
    });
  });
}

describeRegistry('a registry far away', (registry) => registry);
describeRegistry('a registry behind an adapter', (registry) => new Adapter(registry));
describeRegistry(
  'a registry of which a host is shown all',
  (registry) =>
    new NarrowRegistry(
      registry,
      () => true,
      () => false,
      new Set(),
    ),
);

describeKernelContract('a slow kernel', () => {
  const time = new Timepiece();
  const inner = new FakeKernel();
  const nothing = { asked: () => undefined, done: () => undefined };
  const kernel = new SlowKernel(inner, time.process, () => ({ latency: [0.1, 3], odds: 0 }), nothing);
  return Promise.resolve({
    kernel,
    underlay: FAKE_UNDERLAY,
    tamper: (operation) => Promise.resolve(inner.tamper(operation)),
    reroute: (verb, what) => Promise.resolve(inner.reroute(verb, what)),
    send: (address) => Promise.resolve(inner.raiseMiss({ layer: 'l3', address })),
    close: () => {
      kernel.close();
      return time.stop();
    },
  });
});

describeHostContract('a host in a simulation', () => {
  const time = new Timepiece();
  const machine = new FakeMachine();
  const files = machine.host();
  return Promise.resolve({
    host: new MemoryHost(files, time.process),
    other: new MemoryHost(machine.host(), time.process),
    end: () => files.end(),
    close: () => time.stop(),
  });
});
