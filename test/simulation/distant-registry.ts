/** The registry as one process reaches it: over a network that delays, loses and cuts. */
import { setMaxListeners } from 'node:events';
import { RegistryError } from '../../src/model/errors';
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../src/model/lease';
import type { Miss } from '../../src/model/miss';
import type {
  LeaseBatch,
  LeaseLife,
  LeaseRegistry,
  LeaseSnapshot,
  StoredConfig,
  WriteResult,
} from '../../src/ports';
import type { FakeRegistry, RegistryMethod } from '../support/fake-registry';
import type { Connection } from './connection';
import type { Process } from './process';
import type { Scheduler } from './scheduler';

/** Who is told what really happened, before any adapter can misrepresent it. */
export interface RegistryWitness {
  /** A call is sent, whatever becomes of it. */
  asked(method: RegistryMethod): void;
  /** Called around the work of a call that may write, in the step in which the store does it. */
  beforeWork(method: RegistryMethod, subject: string): () => void;
  listAnswered(snapshot: LeaseSnapshot, moment: number): void;
  watchBegan(afterRevision: string): void;
  batchDelivered(moment: number): void;
  /** The store as it is now. */
  moment(): number;
}

const NEVER = new AbortController().signal;
// A thousand hosts may wait by it, and Node takes more than ten listeners for a leak.
setMaxListeners(0, NEVER);
/** How likely a watch delivers a batch twice, for every odd of a call. */
const REPETITION = 5;

/** One process's client. Its promises end with the process; what is on its way to the store then may still arrive. */
export class DistantRegistry implements LeaseRegistry {
  constructor(
    private readonly inner: FakeRegistry,
    private readonly process: Process,
    private readonly connection: Connection,
    private readonly scheduler: Scheduler,
    private readonly witness: RegistryWitness,
  ) {}

  readConfig(signal: AbortSignal): Promise<StoredConfig | undefined> {
    return this.#call('readConfig', '', signal, () => this.inner.readConfig(NEVER));
  }

  writeConfig(text: string, expected: string | undefined, signal: AbortSignal) {
    return this.#call('writeConfig', '', signal, () => this.inner.writeConfig(text, expected, NEVER));
  }

  async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    const { snapshot, moment } = await this.#call('list', '', signal, async () => {
      const moment = this.witness.moment();
      return { snapshot: await this.inner.list(NEVER), moment };
    });
    this.witness.listAnswered(snapshot, moment);
    return snapshot;
  }

  count(signal: AbortSignal): Promise<number> {
    return this.#call('count', '', signal, () => this.inner.count(NEVER));
  }

  find(question: Miss, subnetLength: number, signal: AbortSignal): Promise<Lease | undefined> {
    return this.#call('find', '', signal, () => this.inner.find(question, subnetLength, NEVER));
  }

  grant(ttlSeconds: number, signal: AbortSignal): Promise<string> {
    return this.#call('grant', '', signal, () => this.inner.grant(ttlSeconds, NEVER));
  }

  keepAlive(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    return this.#call('keepAlive', '', signal, () => this.inner.keepAlive(etcdLeaseId, NEVER));
  }

  reconnect(): void {
    this.inner.reconnect();
  }

  isGrantedToUs(etcdLeaseId: string): boolean {
    return this.inner.isGrantedToUs(etcdLeaseId);
  }

  lifeOf(etcdLeaseId: string, signal: AbortSignal): Promise<LeaseLife | 'lost'> {
    return this.#call('lifeOf', '', signal, () => this.inner.lifeOf(etcdLeaseId, NEVER));
  }

  revoke(etcdLeaseId: string, signal: AbortSignal): Promise<void> {
    return this.#call('revoke', etcdLeaseId, signal, () => this.inner.revoke(etcdLeaseId, NEVER));
  }

  create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    const name = `${subnets.subnet.address}-${subnets.subnet.prefixLength}`;
    return this.#call('create', name, signal, () =>
      this.inner.create(subnets, attributes, etcdLeaseId, NEVER),
    );
  }

  update(
    lease: Lease,
    attributes: LeaseAttributes,
    etcdLeaseId: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.#call('update', lease.name, signal, () =>
      this.inner.update(lease, attributes, etcdLeaseId, NEVER),
    );
  }

  remove(lease: Lease, signal: AbortSignal): Promise<'removed' | 'conflict'> {
    return this.#call('remove', lease.name, signal, () => this.inner.remove(lease, NEVER));
  }

  checkAccess(leaseName: string, signal: AbortSignal): Promise<void> {
    return this.#call('checkAccess', leaseName, signal, () => this.inner.checkAccess(leaseName, NEVER));
  }

  async *watch(afterRevision: string, signal: AbortSignal): AsyncGenerator<LeaseBatch> {
    this.witness.watchBegan(afterRevision);
    await this.#call('watch', '', signal, () => Promise.resolve());
    const inner = this.inner.watch(afterRevision, signal);
    try {
      for (;;) {
        const { value: batch } = (await this.process.whileAlive(inner.next())) as { value: LeaseBatch };
        const moment = this.witness.moment();
        await this.#delivery(signal);
        this.witness.batchDelivered(moment);
        yield batch;
        // A watch may say again what it has said last.
        if (this.connection.chanceOf(REPETITION * this.connection.odds)) yield batch;
      }
    } finally {
      await inner.return(undefined);
    }
  }

  close(): void {
    this.inner.close();
  }

  /** The connection of a watch is found dead, later or never: what was on its way is lost. */
  cutWatches(): void {
    this.inner.cutWatches();
  }

  /** A batch on its way. Where the connection stands still it waits, until it moves again or is given up. */
  #delivery(signal: AbortSignal): Promise<void> {
    const { connection, process } = this;
    return process.wait(signal, (resolve, reject) => {
      let patience = connection.timeToDetect();
      const arrive = () => {
        if (!connection.isDown) return resolve();
        connection.lastTrouble = process.trueNow();
        if (patience <= 0) return reject(unavailable('the connection stands still'));
        patience -= 500;
        process.later(500, 'waits for news', arrive);
      };
      return process.later(connection.latency(), 'hears news', arrive);
    });
  }

  #call<T>(method: RegistryMethod, subject: string, signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    const { connection, process, scheduler } = this;
    return process.wait(signal, (resolve, reject) => {
      this.witness.asked(method);
      const patience = connection.patience();
      const fate = connection.fate();
      const back = connection.latency();
      const there = fate === 'late' ? patience + connection.lateness() : connection.latency();
      const giveUp = () =>
        void process.later(patience, `hears no answer to ${method}`, () => {
          connection.lastTrouble = process.trueNow();
          reject(unavailable(`no answer to ${method}`));
        });
      if (fate === 'lost') return giveUp();
      // Whoever has given up by then does not hear of it; the store does it all the same.
      const isHeard = fate !== 'unanswered' && there + back <= patience;
      if (!isHeard) giveUp();
      scheduler.after(there, `${process.name}'s ${method} ${subject}`, () => {
        // What a killed process had sent is carried out or not.
        if (!process.isAlive && connection.chanceOf(0.5)) return;
        if (connection.isDown) return isHeard ? giveUp() : undefined;
        const work = this.#work(method, subject, ask);
        if (!isHeard) return void work.catch(() => undefined);
        void work.then(
          (value) =>
            void process.later(back, `hears of ${method}`, () => {
              if (!connection.isDown) return resolve(value);
              connection.lastTrouble = process.trueNow();
              reject(unavailable(`the answer to ${method} is lost`));
            }),
          (error: Error) => void process.later(back, `hears no ${method}`, () => reject(error)),
        );
      });
    });
  }

  async #work<T>(method: RegistryMethod, subject: string, ask: () => Promise<T>): Promise<T> {
    const after = this.witness.beforeWork(method, subject);
    try {
      return await ask();
    } finally {
      after();
    }
  }
}

function unavailable(why: string): RegistryError {
  return new RegistryError('unavailable', `the registry cannot be reached: ${why}`);
}
