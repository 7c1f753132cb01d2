/** What the kernel itself notes of neighbors, with its own time: no reader that would have to be awake, and in time. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atExitOrBefore } from './undo';

const TRACEFS = '/sys/kernel/tracing';
const NUD_REACHABLE = 2;
const BUFFER_KILOBYTES = 8192;
/** `    node-123     [001] .N... 26754.536274: neigh_update: … primary_key4 10.65.244.5 …` */
const LINE = /\s([\d.]+): (neigh_create|neigh_update): .*primary_key4 (\S+)/;

/**
 * Tracing of neigh_create, where it is `senderPid` that sends (the kernel tells of the miss some microseconds later), and of
 * neigh_update to `reachable`: an instance of tracefs of its own, which {@link NeighborTrace.end} removes, or the end of this process. Throws where there is no tracefs.
 */
export class NeighborTrace {
  readonly #instance = join(TRACEFS, 'instances', `vtepd-bench-${process.pid}`);
  /** Removes the instance. */
  readonly end: () => void;

  constructor(senderPid: number) {
    const instances = join(TRACEFS, 'instances');
    if (!existsSync(instances)) execFileSync('mount', ['-t', 'tracefs', 'tracefs', TRACEFS]);
    mkdirSync(this.#instance);
    this.end = atExitOrBefore(() => rmdirSync(this.#instance));
    this.#write('trace_clock', 'mono');
    this.#write('buffer_size_kb', BUFFER_KILOBYTES);
    this.#write('events/neigh/neigh_create/filter', `common_pid == ${senderPid}`);
    this.#write('events/neigh/neigh_update/filter', `new_state == ${NUD_REACHABLE}`);
    for (const event of ['neigh_create', 'neigh_update']) this.#write(`events/neigh/${event}/enable`, 1);
  }

  /** What was noted until now is forgotten. */
  forget(): void {
    this.#write('trace', '');
  }

  /** By address: the milliseconds from the packet that made the kernel ask to the entry that answers it. */
  delays(): Map<string, number> {
    const asked = new Map<string, number>();
    const delays = new Map<string, number>();
    for (const line of readFileSync(join(this.#instance, 'trace'), 'utf8').split('\n')) {
      const [, seconds, event, address] = LINE.exec(line) ?? [];
      if (address === undefined) continue;
      const time = Number(seconds) * 1000;
      const since = asked.get(address);
      if (event === 'neigh_create') asked.set(address, time);
      else if (since !== undefined && !delays.has(address)) delays.set(address, time - since);
    }
    return delays;
  }

  #write(file: string, value: string | number): void {
    writeFileSync(join(this.#instance, file), String(value));
  }
}
