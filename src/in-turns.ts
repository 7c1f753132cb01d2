/** Long work that lets packets pass. */
import type { Steps } from './model/steps';

/** So long at a time: the answer to a miss waits no longer for other work of ours. */
const TURN_MILLISECONDS = 1;

/** The result of the work; between its turns the event loop does what else there is, and the world may change. */
export async function inTurns<T>(steps: Steps<T>, clock: { now(): number }): Promise<T> {
  let end = clock.now() + TURN_MILLISECONDS;
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (clock.now() < end) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    end = clock.now() + TURN_MILLISECONDS;
  }
}
