import { getEventListeners } from 'node:events';
import { LinkedAbort } from '../../src/linked-abort';
import { Wake } from '../../src/engine/wake';
import { FakeClock } from '../support/fake-clock';

describe('a linked abort', () => {
  it('aborts with the whole, for the same reason', () => {
    const whole = new AbortController();
    const { signal } = new LinkedAbort(whole.signal);
    expect(signal.aborted).toBe(false);
    whole.abort('enough');
    expect(signal.reason).toBe('enough');
    expect(new LinkedAbort(whole.signal).signal.reason).toBe('enough');
  });

  it('leaves nothing with the whole once that has aborted', () => {
    const whole = new AbortController();
    new LinkedAbort(whole.signal);
    whole.abort();
    expect(getEventListeners(whole.signal, 'abort')).toHaveLength(0);
  });

  it('aborts alone, and leaves nothing with the whole', () => {
    const whole = new AbortController();
    const part = new LinkedAbort(whole.signal);
    expect(getEventListeners(whole.signal, 'abort')).toHaveLength(1);
    part.abort('over');
    expect(part.signal.reason).toBe('over');
    expect(whole.signal.aborted).toBe(false);
    expect(getEventListeners(whole.signal, 'abort')).toHaveLength(0);
  });
});

describe('waiting to be woken', () => {
  it('leaves nothing with the signal, however often', async () => {
    const { signal } = new AbortController();
    const clock = new FakeClock();
    const wake = new Wake();
    for (let round = 0; round < 100; round++) {
      const waiting = wake.wait(clock, 1_000, signal);
      if (round % 2 === 0) wake.raise();
      else await clock.advance(1_000);
      expect(await waiting).toBe(round % 2 === 0);
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('does not wait where it was raised before, however often, and only once', async () => {
    const { signal } = new AbortController();
    const clock = new FakeClock();
    const wake = new Wake();
    wake.raise();
    wake.raise();
    expect(await wake.wait(clock, 1_000, signal)).toBe(true);
    const waiting = wake.wait(clock, 1_000, signal);
    await clock.advance(1_000);
    expect(await waiting).toBe(false);
  });

  it('ends with the reason of the signal', async () => {
    const stop = new AbortController();
    const waiting = new Wake().wait(new FakeClock(), 1_000, stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
