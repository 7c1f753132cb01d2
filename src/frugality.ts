/** How V8 works for an agent: much in its first second, and then hardly anything, for months. */
import { setFlagsFromString } from 'node:v8';
import { demoteHelpers } from '../native';

/** What V8's own threads are nice by: enough to come after the event loop, and not so much that a busy machine forgets them. */
const HELPERS_NICE = 5;

/**
 * To be called when everything is loaded: V8 refuses code that was compiled under other flags.
 *
 * The young generation stays at its first size. It would grow from 1 to 16 MiB while thousands of leases are read, and an agent
 * that sleeps ever after would keep that; collecting it more often costs less time than the page faults of a large one. And nothing
 * is optimized yet: in the first second the optimizing compiler takes more time and memory than it gives back.
 */
export function startFrugally(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
  goFirst();
}

/**
 * V8's threads, which compile and collect beside the event loop, give way to it: the kernel wakes them on its processor, where each
 * would interrupt it for 1 to 5 ms (seen in the scheduler's trace: most of the slowest answers to a miss). What is collected often
 * and in half a millisecond waits for none of them. To be called before there is a pool of threads, whose programs would inherit it.
 */
function goFirst(): void {
  setFlagsFromString('--no-parallel-scavenge');
  try {
    demoteHelpers(HELPERS_NICE);
  } catch {
    // A sandbox may forbid it; it is only faster.
  }
}

/** From now on what is hot is optimized, for a storm of changes or of questions. */
export function optimizeFromNowOn(): void {
  setFlagsFromString('--opt');
}
