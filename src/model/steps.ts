/** Long work on values that can be done a little at a time. */

/** Yields between two steps, each some microseconds long; whoever goes on with it may do something else before. */
export type Steps<T> = Generator<void, T, void>;

/** The result, at once. */
export function complete<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
