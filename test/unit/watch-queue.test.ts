import { EventEmitter } from 'node:events';
import type { IWatchRequest, IWatchResponse } from 'etcd3';
import { WatchQueue } from '../../src/etcd/watch-queue';

class FakeStream extends EventEmitter {
  readonly written: IWatchRequest[] = [];
  isCanceled = false;

  write(request: IWatchRequest): void {
    this.written.push(request);
  }

  end(): void {
    this.isCanceled = true;
  }

  cancel(): void {
    this.isCanceled = true;
  }
}

const message = { events: [] } as unknown as IWatchResponse;

function queueOf(stream: FakeStream): WatchQueue {
  return new WatchQueue(stream, 5_000);
}

describe('a watch of which nothing comes', () => {
  it('is asked for its progress at the second look, and given up at the next without an answer', async () => {
    const stream = new FakeStream();
    const queue = queueOf(stream);
    expect(queue.pulseMilliseconds).toBe(30_000);
    queue.checkPulse();
    expect(stream.written).toEqual([]);
    queue.checkPulse();
    expect(stream.written).toEqual([{ progress_request: {} }]);
    queue.checkPulse();
    await expect(queue.next()).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'the watch has told nothing for 60 s; is it behind?',
    });
  });

  it('goes on where the question is answered', async () => {
    const stream = new FakeStream();
    const queue = queueOf(stream);
    for (let round = 1; round < 5; round++) {
      queue.checkPulse();
      queue.checkPulse();
      expect(stream.written).toHaveLength(round);
      stream.emit('data', message);
      expect(await queue.next()).toEqual([message]);
    }
  });
});

it('a watch whose messages wait for their reader is not asked', () => {
  const stream = new FakeStream();
  const queue = queueOf(stream);
  stream.emit('data', message);
  for (let look = 0; look < 5; look++) queue.checkPulse();
  expect(stream.written).toEqual([]);
});
