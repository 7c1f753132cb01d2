import { awaitKernel } from '../../src/engine/prerequisites';
import { KernelError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

describe('a start that asks the kernel', () => {
  it('asks again, and says so once, while the kernel has no memory for an answer', async () => {
    const clock = new FakeClock();
    const log = new FakeLog();
    let asked = 0;
    const ask = () => {
      if (++asked < 4) throw new KernelError('ENOBUFS', 'cannot ask the kernel');
      return 'answer';
    };
    const answer = awaitKernel(clock, log, new AbortController().signal, ask);
    await clock.advance(30_000);
    expect(await answer).toBe('answer');
    expect(asked).toBe(4);
    expect(log.messages('warn')).toEqual(['waiting for the kernel to tell what it holds']);
  });

  it('does not wait where the error is none of the kernel', async () => {
    const ask = () => {
      throw new TypeError('a bug');
    };
    const answer = awaitKernel(new FakeClock(), new FakeLog(), new AbortController().signal, ask);
    await expect(answer).rejects.toThrow('a bug');
  });
});
