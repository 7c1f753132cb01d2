/** Several servers that may each answer one call: the next is asked while those before it are silent. */
import { setMaxListeners } from 'node:events';
import { LinkedAbort } from '../linked-abort';

/** The second server is asked after this long without an answer of the first. */
const FIRST_PATIENCE_MILLISECONDS = 1_000;
/** Then one more after each of these. */
const PATIENCE_MILLISECONDS = 200;

export interface Racer<T> {
  /** Rejects when this server cannot answer; the signal aborts when the answer is no longer needed. */
  run(signal: AbortSignal): Promise<T>;
  /** True for a failure after which no other server need be asked. */
  isFinal(error: unknown): boolean;
  /** Called with an answer that came after another had been taken. */
  discard(result: T): void;
  /** Called when the next server is asked because this one is silent. */
  silent(): void;
}

/**
 * The first answer. The next racer starts when one before it fails, or has been silent for a while; the others go on meanwhile, and
 * are aborted once there is an answer. Rejects with the last failure when all have failed, or with a final one at once.
 */
export async function race<T>(racers: readonly Racer<T>[], signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const over = new LinkedAbort(signal);
  // Fifty racers listen to it.
  setMaxListeners(0, over.signal);
  try {
    return await new Promise<T>(
      (resolve, reject) => void new Course(racers, over.signal, resolve, reject).start(),
    );
  } finally {
    over.abort();
  }
}

class Course<T> {
  #started = 0;
  #failed = 0;
  #isOver = false;

  constructor(
    private readonly racers: readonly Racer<T>[],
    private readonly over: AbortSignal,
    private readonly resolve: (result: T) => void,
    private readonly reject: (error: unknown) => void,
  ) {}

  async start(): Promise<void> {
    const racer = this.racers[this.#started];
    if (!racer || this.#isOver) return;
    const isFirst = this.#started++ === 0;
    let isNextStarted = false;
    const goOn = () => {
      if (isNextStarted) return;
      isNextStarted = true;
      void this.start();
    };
    const timer = setTimeout(
      () => {
        if (this.#isOver || this.#started === this.racers.length) return;
        racer.silent();
        goOn();
      },
      isFirst ? FIRST_PATIENCE_MILLISECONDS : PATIENCE_MILLISECONDS,
    );
    try {
      this.#finish(racer, await racer.run(this.over));
    } catch (error) {
      this.#fail(racer, error);
      goOn();
    } finally {
      clearTimeout(timer);
    }
  }

  #finish(racer: Racer<T>, result: T): void {
    if (this.#isOver) return racer.discard(result);
    this.#isOver = true;
    this.resolve(result);
  }

  #fail(racer: Racer<T>, error: unknown): void {
    this.#failed++;
    const isLast = this.#failed === this.racers.length || this.over.aborted || racer.isFinal(error);
    if (this.#isOver || !isLast) return;
    this.#isOver = true;
    this.reject(error);
  }
}
