/** Notices that flanneld runs on this host beside us: each undoes what the other writes. */
import { HostError } from '../model/errors';
import type { Clock, Host, Log } from '../ports';
import { Trouble } from './trouble';
import { Wake } from './wake';

const LOOK_MILLISECONDS = 60_000;
/** Flannel looks after its rules every few seconds: signs older than this are of one that has ended. */
const SIGN_MILLISECONDS = 300_000;
const PROGRAM = 'flanneld';
const ADVICE =
  "each undoes what the other writes; stop it ('systemctl disable --now flanneld', or keep kube-flannel off this node)";

/** What flanneld does that shows from outside. Its process may be hidden from us: the unit hides those of others. */
export type FlannelSign = 'rules' | 'subnet file' | 'device';

const WORDS: Readonly<Record<FlannelSign, string>> = {
  rules: 'its firewall rules come back',
  'subnet file': 'the subnet file was written as flannel writes it',
  device: 'our device was made anew',
};
const SIGNS = Object.keys(WORDS) as FlannelSign[];

/** True for a subnet file that holds what flannel writes, and nothing else. */
export function isFlannelsFile(text: string): boolean {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.length > 0 && lines.every((line) => /^FLANNEL_\w+=/.test(line));
}

/** Owns what was seen of it, and when. */
export class FlannelWatcher {
  readonly #wake = new Wake();
  readonly #trouble: Trouble;
  readonly #seenAt = new Map<FlannelSign, number>();
  #isKnown = false;

  constructor(
    private readonly host: Pick<Host, 'findProcess'>,
    private readonly clock: Clock,
    log: Log,
  ) {
    this.#trouble = new Trouble(clock, log);
  }

  /** True once we have looked for it. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  get trouble(): { complaint: string; forMilliseconds: number } | undefined {
    return this.#trouble.current;
  }

  /** Something happened that flanneld does. */
  note(sign: FlannelSign): void {
    const isNew = !this.#signs.includes(sign);
    this.#seenAt.set(sign, this.clock.now());
    if (isNew) this.#wake.raise();
  }

  /** Looks at once, and then now and then, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#judge(await this.host.findProcess(PROGRAM));
        await this.#wake.wait(this.clock, LOOK_MILLISECONDS, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof HostError)) throw error;
        this.#judge(undefined);
        await this.#wake.wait(this.clock, LOOK_MILLISECONDS, signal).catch(() => undefined);
      }
    }
  }

  get #signs(): FlannelSign[] {
    const oldest = this.clock.now() - SIGN_MILLISECONDS;
    return SIGNS.filter((sign) => (this.#seenAt.get(sign) ?? -Infinity) > oldest);
  }

  #judge(pid: number | undefined): void {
    this.#isKnown = true;
    const signs = this.#signs;
    const words = signs.map((sign) => WORDS[sign]).join(', ');
    if (pid !== undefined)
      this.#trouble.report('flanneld runs on this host beside vtepd', `it is process ${pid}; ${ADVICE}`);
    // Others write the subnet file, too, and make devices anew: one of these alone tells nothing.
    else if (signs.includes('rules') || signs.length > 1)
      this.#trouble.report('flanneld seems to run on this host beside vtepd', `${words}; ${ADVICE}`);
    else this.#trouble.clear('flanneld does not run on this host any more');
  }
}
