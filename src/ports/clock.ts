/** Time that never jumps, but for {@link wallTime}. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Resolves after that many milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Milliseconds since 1970, as the host believes: only for what must outlive a reboot. */
  wallTime(): number;
  /** A number from 0 up to, not including, 1: for jitter and choices. */
  random(): number;
}
