/** The messages of a watch, between etcd's stream and the one who reads them. */
import type { IDuplexStream, IWatchRequest, IWatchResponse } from 'etcd3';
import { monotonicMilliseconds } from '../monotonic';
import { CallError, callErrorOf, connectionLost } from './errors';

/** So many messages wait for a slow reader before the sender is made to wait. */
const QUEUE_LIMIT = 1_000;
/**
 * What comes sooner after a batch than this comes with the next one. etcd sends each change by itself, also when a thousand
 * hosts join at once; what is done once for a batch (a pass, a line in the log) costs more than a change.
 */
const GULP_MILLISECONDS = 4;

/**
 * A server may answer everything else and fall behind with its watches. One that has said nothing for so many call deadlines is
 * asked how far it is; without an answer within the same time again, the watch is given up.
 */
const PULSE_PER_DEADLINE = 6;

/** What a stream has sent and nobody has taken yet. */
export class WatchQueue {
  /** How often {@link checkPulse} is to be called. */
  readonly pulseMilliseconds: number;
  #messages: IWatchResponse[] = [];
  #end: { readonly error: unknown } | undefined;
  #paused = false;
  #wake: () => void = () => undefined;
  #takenAt = -Infinity;
  /** Nothing has come since the last look at the pulse; then, since we asked. */
  #isSilent = false;
  #isAsked = false;
  #endRest: () => void = () => undefined;

  constructor(
    private readonly stream: IDuplexStream<IWatchRequest, IWatchResponse> & {
      pause?(): void;
      resume?(): void;
    },
    deadlineMilliseconds: number,
  ) {
    this.pulseMilliseconds = PULSE_PER_DEADLINE * deadlineMilliseconds;
    stream.on('data', (message) => {
      this.#isSilent = this.#isAsked = false;
      this.#messages.push(message);
      if (this.#messages.length >= QUEUE_LIMIT && !this.#paused) {
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

  /** Called at regular times: asks a silent server for the progress of the watch, and ends the stream if it does not answer. */
  checkPulse(): void {
    // What has come and was not taken yet is our own delay.
    if (this.#end || this.#messages.length > 0) return;
    if (this.#isAsked) {
      const seconds = (2 * this.pulseMilliseconds) / 1000;
      this.#finish(
        new CallError('unavailable', `the watch has told nothing for ${seconds} s; is it behind?`),
      );
    } else if (this.#isSilent) {
      this.#isAsked = true;
      this.stream.write({ progress_request: {} });
    }
    this.#isSilent = true;
  }

  putBack(messages: readonly IWatchResponse[]): void {
    this.#messages.unshift(...messages);
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
