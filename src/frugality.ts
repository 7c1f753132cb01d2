/** How V8 works for an agent: much in its first second, and then hardly anything, for months. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * To be called when everything is loaded: V8 refuses code that was compiled under other flags.
 *
 * The young generation stays at its first size. It would grow from 1 to 16 MiB while thousands of leases are read, and an agent
 * that sleeps ever after would keep that; collecting it more often costs less time than the page faults of a large one. And nothing
 * is compiled yet, neither by the optimizing compiler nor by the baseline one (sparkplug): in a start they take more time and
 * memory than they give back.
 */
export function startFrugally(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
  setFlagsFromString('--no-sparkplug');
  // A young collection takes half a millisecond, and would wait for threads that come after the event loop (host/helper-threads.ts).
  setFlagsFromString('--no-parallel-scavenge');
}

/** From now on what is used often is compiled, though not optimized: for peers that come by the thousand. */
export function compileFromNowOn(): void {
  setFlagsFromString('--sparkplug');
}

/** From now on what is hot is optimized, for a storm of changes or of questions. */
export function optimizeFromNowOn(): void {
  setFlagsFromString('--opt');
}

/**
 * What a start left is collected, in a task of its own: ten to twenty megabytes with thousands of peers. V8 does so once there is
 * enough to collect, which on a quiet host is hours later.
 */
export function collectWhatIsLeft(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how: { type: 'major'; execution: 'async' }) => Promise<void>;
  setFlagsFromString('--no-expose-gc');
  void collect({ type: 'major', execution: 'async' });
}
