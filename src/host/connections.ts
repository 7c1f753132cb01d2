/** The connections of a listener: each has its time, and there are never too many of them, whatever clients do. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';

export interface ConnectionLimits {
  /** With more than that, those go that have waited longest. */
  readonly most: number;
  /** How long one may last from its beginning, or its last answer, to its next. */
  readonly patienceMilliseconds: number;
}

/** Of the process's file descriptors, clients get no more than one in so many. */
const SHARE = 4;
/** For as many that arrive in the same moment (net's backlog) none has to go before it was read. */
const MOST_ARRIVALS = 512;

export class Connections {
  /** The one that has waited longest for its answer, or since it, comes first. */
  readonly #timers = new Map<Socket, NodeJS.Timeout>();
  readonly #most: number;
  readonly #mostInOneTurn: number;
  readonly #patienceMilliseconds: number;
  #isTidying = false;

  constructor({ most, patienceMilliseconds }: ConnectionLimits) {
    const share = Math.max(1, Math.floor(fileLimit() / SHARE));
    this.#most = Math.min(most, share);
    this.#mostInOneTurn = Math.min(most + MOST_ARRIVALS, 2 * share);
    this.#patienceMilliseconds = patienceMilliseconds;
  }

  /** It keeps no process alive, and its errors are nobody's but the client's. */
  add(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), this.#patienceMilliseconds).unref();
    this.#timers.set(socket, timer);
    socket.unref();
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#timers.delete(socket);
    });
    this.#evict(this.#mostInOneTurn);
    if (this.#timers.size > this.#most) this.#tidyLater();
  }

  /** It asked, and is given its answer: its time begins again. */
  renew(socket: Socket): void {
    const timer = this.#timers.get(socket);
    if (!timer) return;
    timer.refresh();
    this.#timers.delete(socket);
    this.#timers.set(socket, timer);
  }

  endAll(): void {
    this.#evict(0);
  }

  /** A question that came with its connection is read in the next turn of the event loop: its sender has not been silent yet. */
  #tidyLater(): void {
    if (this.#isTidying) return;
    this.#isTidying = true;
    setImmediate(() =>
      setImmediate(() => {
        this.#isTidying = false;
        this.#evict(this.#most);
      }),
    );
  }

  #evict(most: number): void {
    for (const socket of this.#timers.keys()) {
      if (this.#timers.size <= most) return;
      this.#timers.delete(socket);
      socket.destroy();
    }
  }
}

/** How many file descriptors this process may have. */
function fileLimit(): number {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    return limit === undefined ? Infinity : Number(limit);
  } catch {
    return Infinity;
  }
}
