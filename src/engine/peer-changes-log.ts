/** What is logged about peers that join, leave and change. */
import { printSubnet } from '../model/address';
import type { PeerChange } from '../model/peer';
import type { Clock, Log } from '../ports';
import { SummedLines } from './summed-lines';

/** Changes of at most so many peers are logged one by one. */
const LOGGED_PEERS = 8;

/** Changes that came at once, or one after the other, and how many peers there are after them. */
interface Changes {
  readonly joined: number;
  readonly left: number;
  readonly changed: number;
  /** All of them, if they are few and came at once. */
  readonly each: readonly PeerChange[];
  readonly peers: number;
}

/** Counts the changes, and logs them: one by one, or as one line when many come at once or within a second. */
export class PeerChangesLog {
  readonly #lines: SummedLines<Changes>;
  #count = 0;

  constructor(
    clock: Clock,
    private readonly log: Log,
  ) {
    this.#lines = new SummedLines(clock, summedUp, (changes) => this.#say(changes));
  }

  /** Peers that joined, left or changed since the start. */
  get count(): number {
    return this.#count;
  }

  /** `peers`: how many there are now. */
  add(changes: readonly PeerChange[], peers: number): void {
    if (changes.length === 0) return;
    this.#count += changes.length;
    const left = changes.filter(({ after }) => !after).length;
    const joined = changes.filter(({ before }) => !before).length;
    const each = changes.length <= LOGGED_PEERS ? changes : [];
    this.#lines.add({ joined, left, changed: changes.length - joined - left, each, peers });
  }

  /** Logs what is summed up, until the signal aborts. */
  run(signal: AbortSignal): Promise<void> {
    return this.#lines.run(signal);
  }

  #say({ each, ...counts }: Changes): void {
    if (each.length === 0) this.log.info('peers changed', counts);
    for (const { before, after } of each) {
      const { subnet, publicIp, vtepMac } = after ?? before!;
      const message = !before ? 'peer joined' : !after ? 'peer left' : 'peer changed';
      this.log.info(message, { subnet: printSubnet(subnet), publicIp, vtepMac, peers: counts.peers });
    }
  }
}

function summedUp(a: Changes, b: Changes): Changes {
  return {
    joined: a.joined + b.joined,
    left: a.left + b.left,
    changed: a.changed + b.changed,
    each: [],
    peers: b.peers,
  };
}
