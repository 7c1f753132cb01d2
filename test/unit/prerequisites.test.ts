import { awaitKernel } from '../../src/engine/prerequisites';
import type { Trouble } from '../../src/engine/trouble';
import { KernelError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const waiting = () => ({ clock: new FakeClock(), log: new FakeLog(), waits: new Set<Trouble>() });

describe('a start that asks the kernel', () => {
  it('asks again, and says so once, while the kernel has no memory for an answer', async () => {
    const clock = new FakeClock();
    const log = new FakeLog();
    const waits = new Set<Trouble>();
    let asked = 0;
    const ask = () => {
      if (++asked < 4) throw new KernelError('ENOBUFS', 'cannot ask the kernel');
      return 'answer';
    };
    const answer = awaitKernel({ clock, log, waits }, new AbortController().signal, ask);
    await clock.advance(0);
    expect([...waits].map(({ current }) => current?.complaint)).toEqual([
      'waiting for the kernel to tell what it holds: cannot ask the kernel',
    ]);
    await clock.advance(30_000);
    expect(waits.size).toBe(0);
    expect(await answer).toBe('answer');
    expect(asked).toBe(4);
    expect(log.messages('warn')).toEqual(['waiting for the kernel to tell what it holds']);
  });

  it('does not wait where the error is none of the kernel', async () => {
    const ask = () => {
      throw new TypeError('a bug');
    };
    const answer = awaitKernel(waiting(), new AbortController().signal, ask);
    await expect(answer).rejects.toThrow('a bug');
  });
});
