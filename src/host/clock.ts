/** Time as Linux's CLOCK_MONOTONIC counts it. */
import { monotonicMilliseconds } from '../monotonic';
import type { Clock } from '../ports';

/** Node fires a longer timer at once. */
const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;

export class MonotonicClock implements Clock {
  now(): number {
    return monotonicMilliseconds();
  }

  async sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    const end = this.now() + milliseconds;
    let left = milliseconds;
    // More than once where Node counted from the beginning of a long turn of its loop, and so woke us early.
    do {
      await sleepOnce(Math.min(Math.ceil(left), LONGEST_TIMER_MILLISECONDS), signal);
      left = end - this.now();
    } while (left > 0);
  }

  wallTime(): number {
    return Date.now();
  }

  random(): number {
    return Math.random();
  }
}

function sleepOnce(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, milliseconds);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
