import { race, type Racer } from '../../src/etcd/race';

const never = new AbortController().signal;

interface Log {
  readonly events: string[];
}

/** A server that answers with its name, fails, or is silent until it is aborted. */
function racer(
  name: string,
  how: 'answers' | 'fails' | 'fails for good' | 'is silent',
  log: Log,
): Racer<string> {
  return {
    run: (signal) => {
      log.events.push(`${name} asked`);
      if (how === 'answers') return Promise.resolve(name);
      if (how !== 'is silent') return Promise.reject(new Error(`${name} ${how}`));
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          log.events.push(`${name} aborted`);
          reject(signal.reason as Error);
        }),
      );
    },
    isFinal: (error) => (error as Error).message.endsWith('for good'),
    discard: (result) => log.events.push(`${result} discarded`),
    silent: () => log.events.push(`${name} told as silent`),
  };
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

test('one that answers is asked alone', async () => {
  const log: Log = { events: [] };
  expect(await race([racer('a', 'answers', log), racer('b', 'answers', log)], never)).toBe('a');
  expect(log.events).toEqual(['a asked']);
});

test('one that fails gives its turn to the next at once', async () => {
  const log: Log = { events: [] };
  expect(await race([racer('a', 'fails', log), racer('b', 'answers', log)], never)).toBe('b');
  expect(log.events).toEqual(['a asked', 'b asked']);
});

test('after a failure for good no other is asked', async () => {
  const log: Log = { events: [] };
  await expect(race([racer('a', 'fails for good', log), racer('b', 'answers', log)], never)).rejects.toThrow(
    'a fails for good',
  );
  expect(log.events).toEqual(['a asked']);
});

test('when all fail, the last failure is told', async () => {
  const log: Log = { events: [] };
  await expect(race([racer('a', 'fails', log), racer('b', 'fails', log)], never)).rejects.toThrow('b fails');
});

test('while one is silent the next is asked; fifty silent ones before one that answers take eleven seconds', async () => {
  const log: Log = { events: [] };
  const silent = Array.from({ length: 50 }, (_, n) => racer(`s${n}`, 'is silent', log));
  const answer = race([...silent, racer('last', 'answers', log)], never);
  await jest.advanceTimersByTimeAsync(999);
  expect(log.events).toEqual(['s0 asked']);
  await jest.advanceTimersByTimeAsync(1);
  expect(log.events).toEqual(['s0 asked', 's0 told as silent', 's1 asked']);
  await jest.advanceTimersByTimeAsync(49 * 200);
  expect(await answer).toBe('last');
  expect(log.events.filter((event) => event.endsWith('told as silent'))).toHaveLength(50);
  expect(log.events.filter((event) => event.endsWith('aborted'))).toHaveLength(50);
});

test('an answer that comes after another was taken is discarded', async () => {
  const log: Log = { events: [] };
  let answerLate: (text: string) => void = () => undefined;
  const late = {
    ...racer('late', 'is silent', log),
    run: () => new Promise<string>((resolve) => (answerLate = resolve)),
  };
  const answer = race([late, racer('b', 'answers', log)], never);
  await jest.advanceTimersByTimeAsync(1_000);
  expect(await answer).toBe('b');
  answerLate('late');
  await jest.advanceTimersByTimeAsync(0);
  expect(log.events).toContain('late discarded');
});

test('after an abort none is asked', async () => {
  const log: Log = { events: [] };
  await expect(race([racer('a', 'answers', log)], AbortSignal.abort(new Error('enough')))).rejects.toThrow(
    'enough',
  );
  expect(log.events).toEqual([]);
});

test('an abort ends all of them', async () => {
  const log: Log = { events: [] };
  const stop = new AbortController();
  const answer = race([racer('a', 'is silent', log), racer('b', 'is silent', log)], stop.signal);
  const outcome = expect(answer).rejects.toThrow('enough');
  await jest.advanceTimersByTimeAsync(1_000);
  stop.abort(new Error('enough'));
  await outcome;
  await jest.advanceTimersByTimeAsync(60_000);
  expect(log.events).toEqual(['a asked', 'a told as silent', 'b asked', 'a aborted', 'b aborted']);
});
