/** The threads of this process besides the event loop: V8's, which compile and collect. */
import { demoteHelpers } from '../../native';

/** Enough to come after the event loop, and not so much that a busy machine forgets them. */
const NICE = 5;

/**
 * V8's threads give way to the event loop: the kernel wakes them on its processor, where each would interrupt it for 1 to 5 ms
 * (seen in the scheduler's trace: most of the slowest answers to a miss). To be called before Node has a pool of threads, whose
 * programs would inherit it.
 */
export function letHelpersGiveWay(): void {
  try {
    demoteHelpers(NICE);
  } catch {
    // A sandbox may forbid it; it is only faster.
  }
}
