/**
 * Milliseconds as Linux's CLOCK_MONOTONIC counts them. Not `performance`, which Node loads when it is first asked for: 3 ms of
 * every start.
 */
export function monotonicMilliseconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
