/** The messages of a watch, between etcd's stream and the one who reads them. */
import type { IDuplexStream, IWatchRequest, IWatchResponse } from 'etcd3';
import { monotonicMilliseconds } from '../monotonic';
import { CallError, callErrorOf, connectionLost } from './errors';

/** So many changes wait for a slow reader before the sender is made to wait. One message may bring a thousand. */
const QUEUE_LIMIT = 1_000;
/**
 * What comes sooner after a batch than this comes with the next one. etcd sends each change by itself, also when a thousand
 * hosts join at once; what is done once for a batch (a pass, a line in the log) costs more than a change.
 */
const GULP_MILLISECONDS = 4;

/** What a stream has sent and nobody has taken yet. */
export class WatchQueue {
  #messages: IWatchResponse[] = [];
  /** Of all messages, by {@link changeCountOf}. */
  #changeCount = 0;
  #end: { readonly error: unknown } | undefined;
  #paused = false;
  #wake: () => void = () => undefined;
  #takenAt = -Infinity;
  #endRest: () => void = () => undefined;

  constructor(
    private readonly stream: IDuplexStream<IWatchRequest, IWatchResponse> & {
      pause?(): void;
      resume?(): void;
    },
    deadlineMilliseconds: number,
  ) {
    stream.on('data', (message) => {
      if (!message.header)
        return this.#finish(new CallError('unavailable', 'its answer has no header; is it etcd?'));
      this.#messages.push(message);
      this.#changeCount += changeCountOf(message);
      if (this.#changeCount >= QUEUE_LIMIT && !this.#paused) {
        this.#paused = true;
        stream.pause?.();
      }
      this.#wake();
    });
    stream.on('error', (error) => this.#finish(callErrorOf(error, deadlineMilliseconds)));
    stream.on('end', () => this.#finish(connectionLost()));
  }

  /**
   * Everything that has come, as soon as there is anything, but not twice within {@link GULP_MILLISECONDS}. Throws what ended
   * the stream, after the last message.
   */
  async next(): Promise<IWatchResponse[]> {
    for (;;) {
      const rest = this.#takenAt + GULP_MILLISECONDS - monotonicMilliseconds();
      if (this.#messages.length > 0 && (rest <= 0 || this.#end)) break;
      if (this.#end) throw this.#end.error;
      await (this.#messages.length > 0 ? this.#rest(rest) : this.#arrival());
    }
    this.#takenAt = monotonicMilliseconds();
    const messages = this.#messages;
    this.#messages = [];
    this.#changeCount = 0;
    if (this.#paused) {
      this.#paused = false;
      this.stream.resume?.();
    }
    return messages;
  }

  #arrival(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  async #rest(milliseconds: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#endRest = resolve;
      timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(timer);
  }

  putBack(messages: readonly IWatchResponse[]): void {
    this.#messages.unshift(...messages);
    for (const message of messages) this.#changeCount += changeCountOf(message);
  }

  /** Ends the stream; a waiting {@link next} throws the reason. */
  abort(reason: unknown): void {
    this.#messages = [];
    this.#finish(reason);
    this.stream.cancel();
  }

  #finish(error: unknown): void {
    this.#end ??= { error };
    this.#wake();
    this.#endRest();
  }
}

/** A message without changes counts, too. */
function changeCountOf({ events }: IWatchResponse): number {
  return Math.max(1, events.length);
}
