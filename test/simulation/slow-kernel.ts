/** A host's kernel as one process reaches it: it takes its time, refuses now and then, and is spoken to no more after a kill. */
import { setMaxListeners } from 'node:events';
import { Overtaken } from '../../src/kernel/overtaken';
import { KernelError } from '../../src/model/errors';
import type { IpAddress, Subnet } from '../../src/model/address';
import type { KernelSettings } from '../../src/model/kernel-settings';
import type { KernelState, ObjectName } from '../../src/model/kernel-state';
import type { Miss } from '../../src/model/miss';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../../src/model/network-interface';
import type { RouteAnswer, RouteQuestion, Routing } from '../../src/model/routing';
import type { FailedOperation, Operation } from '../../src/model/operation';
import type { Kernel, KernelNotice, Scope, StandingAnswers } from '../../src/ports';
import type { FakeKernel } from '../support/fake-kernel';
import type { Process } from './process';

export interface KernelWitness {
  /** A process asks for operations; called before any of them is carried out. */
  asked(operations: readonly Operation[]): void;
  /** Some of them have been carried out. */
  done(operations: readonly Operation[]): void;
}

export interface KernelOptions {
  readonly latency: readonly [number, number];
  /** How likely an observation fails, or one operation is refused. */
  readonly odds: number;
}

const NEVER = new AbortController().signal;
// A thousand hosts may wait by it, and Node takes more than ten listeners for a leak.
setMaxListeners(0, NEVER);

export class SlowKernel implements Kernel {
  readonly #stop = new AbortController();
  readonly #overtaken = new Overtaken();

  constructor(
    private readonly inner: FakeKernel,
    private readonly process: Process,
    private readonly options: () => KernelOptions,
    private readonly witness: KernelWitness,
  ) {}

  observe(scope: Scope, signal: AbortSignal): Promise<KernelState> {
    return this.#ask('observe', signal, () => {
      if (this.#isOdd()) throw new KernelError('EINTR', 'the dump was interrupted');
      return this.inner.observe(scope, NEVER);
    });
  }

  look(names: readonly ObjectName[], scope: Scope, signal: AbortSignal): Promise<KernelState | undefined> {
    return this.#ask('look', signal, () => {
      if (this.#isOdd()) throw new KernelError('ENOBUFS', 'no buffer space');
      return this.inner.look(names, scope, NEVER);
    });
  }

  apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly FailedOperation[]> {
    this.witness.asked(operations);
    return this.#overtaken.during((due) =>
      this.process.wait(signal, (resolve) => {
        const failed: FailedOperation[] = [];
        let done = 0;
        // Other things happen between two parts, a kill too.
        const part = () => {
          const rest = operations.length - done;
          const isWhole = rest <= 1 || this.process.chance.chance(0.8);
          const count = isWhole ? rest : 1 + this.process.chance.below(rest - 1);
          failed.push(...this.#execute(due(operations.slice(done, done + count))));
          done += count;
          if (done < operations.length) this.process.later(this.#latency(), 'applies more', part);
          else this.process.later(this.#latency(), 'has applied', () => resolve(failed));
        };
        this.process.later(this.#latency(), 'applies', part);
      }),
    );
  }

  applyNow(operations: readonly Operation[]): readonly FailedOperation[] {
    if (!this.process.isAlive) return [];
    this.witness.asked(operations);
    this.#overtaken.note(operations);
    return this.#execute(operations);
  }

  listen(scope: Scope, listener: (notices: readonly KernelNotice[]) => void, signal: AbortSignal): void {
    const tell = (notices: readonly KernelNotice[]) =>
      void this.process.later(1, 'is notified', () => {
        if (!signal.aborted) listener(notices);
      });
    this.inner.listen(scope, tell, AbortSignal.any([signal, this.#stop.signal]));
  }

  /** Its thread dies with the process. */
  standingAnswers(linkName: string, signal: AbortSignal): StandingAnswers {
    return this.inner.standingAnswers(linkName, AbortSignal.any([signal, this.#stop.signal]));
  }

  pendingMisses(linkName: string, signal: AbortSignal): Promise<readonly Miss[]> {
    return this.#ask('pendingMisses', signal, () => this.inner.pendingMisses(linkName, NEVER));
  }

  interfaces(signal: AbortSignal): Promise<readonly NetworkInterface[]> {
    return this.#ask('interfaces', signal, () => this.inner.interfaces(NEVER));
  }

  routeTo(
    destination: IpAddress,
    signal: AbortSignal,
    source?: IpAddress,
  ): Promise<ResolvedRoute | undefined> {
    return this.#ask('routeTo', signal, () => this.inner.routeTo(destination, NEVER, source));
  }

  routing(scope: Scope, signal: AbortSignal): Promise<Routing> {
    return this.#ask('routing', signal, () => this.inner.routing(scope, NEVER));
  }

  routesOf(questions: readonly RouteQuestion[], signal: AbortSignal): Promise<readonly RouteAnswer[]> {
    return this.#ask('routesOf', signal, () => this.inner.routesOf(questions, NEVER));
  }

  settings(): KernelSettings {
    return this.inner.settings();
  }

  networkRoutes(network: Subnet, signal: AbortSignal): Promise<readonly NetworkRoute[]> {
    return this.#ask('networkRoutes', signal, () => this.inner.networkRoutes(network, NEVER));
  }

  defaultRoutes(signal: AbortSignal): Promise<readonly ResolvedRoute[]> {
    return this.#ask('defaultRoutes', signal, () => this.inner.defaultRoutes(NEVER));
  }

  ownLinks(signal: AbortSignal): Promise<readonly string[]> {
    return this.#ask('ownLinks', signal, () => this.inner.ownLinks(NEVER));
  }

  /** The process is gone: its sockets are closed, and what they were told of stays. */
  close(): void {
    this.#stop.abort();
  }

  #ask<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { process } = this;
    return process.wait(signal, (resolve, reject) => {
      process.later(this.#latency(), `asks ${what}`, () => {
        const answer = (deliver: () => void) =>
          void process.later(this.#latency(), `learns ${what}`, deliver);
        Promise.resolve()
          .then(work)
          .then(
            (value) => answer(() => resolve(value)),
            (error: Error) => answer(() => reject(error)),
          );
      });
    });
  }

  #execute(operations: readonly Operation[]): FailedOperation[] {
    const failed: FailedOperation[] = [];
    const accepted = operations.filter((operation) => {
      if (!this.#isOdd()) return true;
      failed.push({ operation, error: new KernelError('ENOBUFS', 'no buffer space') });
      return false;
    });
    failed.push(...this.inner.applyNow(accepted));
    // Nobody reads them here, and a thousand hosts carry out millions.
    this.inner.operations.length = 0;
    this.witness.done(accepted);
    return failed;
  }

  #isOdd(): boolean {
    const { odds } = this.options();
    return odds > 0 && this.process.chance.chance(odds);
  }

  #latency(): number {
    return this.process.chance.between(...this.options().latency);
  }
}
