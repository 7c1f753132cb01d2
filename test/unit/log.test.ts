import { execFile, spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { createLog, isJournal, type AdjustableLog } from '../../src/log';

class Lines extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }

  /** What was written up to the end of this turn of the event loop. */
  async take(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    const lines = this.text.split('\n').slice(0, -1);
    this.text = '';
    return lines;
  }
}

/** All that jest can fake, but for setTimeout and clearTimeout. */
const REAL_BUT_TIMERS = [
  ...(['Date', 'hrtime', 'nextTick', 'performance', 'queueMicrotask'] as const),
  ...(['setImmediate', 'clearImmediate', 'setInterval', 'clearInterval'] as const),
];

function everyLevel(log: AdjustableLog): void {
  log.error('one', { n: 1 });
  log.warn('two');
  log.info('three');
  log.debug('four');
}

describe.each([
  ['before winston is loaded', 2_000_000_000],
  ['by winston', 0],
])('the log, %s,', (_, winstonAfterMilliseconds) => {
  let stream: Lines;
  const create = async (verbosity: number, format: 'text' | 'json' = 'text') => {
    stream = new Lines();
    const log = createLog({ format, verbosity, journald: true, stream, winstonAfterMilliseconds });
    if (winstonAfterMilliseconds === 0) await log.settled;
    return log;
  };

  test('says what is important', async () => {
    everyLevel(await create(0));
    expect(await stream.take()).toEqual(['<3>one  n=1', '<4>two', '<6>three']);
  });

  test('says more when it is more verbose, and can be made so at run time', async () => {
    const log = await create(1);
    everyLevel(log);
    expect(await stream.take()).toHaveLength(4);
    log.setVerbosity(log.verbosity - 1);
    expect(log.debugEnabled).toBe(false);
    everyLevel(log);
    expect(await stream.take()).toHaveLength(3);
    log.setVerbosity(2);
    expect(log.debugEnabled).toBe(true);
    everyLevel(log);
    expect(await stream.take()).toHaveLength(4);
    log.setVerbosity(-1);
    expect(log.verbosity).toBe(0);
  });

  test('writes JSON', async () => {
    (await create(0, 'json')).info('three', { subnet: '10.5.1.0/24' });
    expect(JSON.parse((await stream.take())[0]!)).toMatchObject({
      level: 'info',
      message: 'three',
      subnet: '10.5.1.0/24',
    });
  });

  test('drops lines instead of filling the memory when nobody reads, and says how many', async () => {
    const log = await create(0);
    let release: () => void = () => undefined;
    stream._write = (chunk: Buffer, _encoding, done) => {
      stream.text += chunk.toString();
      release = done;
    };
    const long = 'x'.repeat(1 << 20);
    for (let n = 0; n < 9; n++) log.info(long);
    await new Promise((resolve) => setImmediate(resolve));
    while (stream.writableLength > 0) {
      release();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const written = (await stream.take()).length;
    log.info('again');
    await new Promise((resolve) => setImmediate(resolve));
    release();
    expect(written).toBeLessThan(9);
    expect((await stream.take())[0]).toBe(
      `<4>nobody read the log for a while; lines were dropped  lines=${9 - written}`,
    );
  });

  test('writes when the turn is over, so that nothing waits for its line, and in order', async () => {
    const log = await create(0);
    log.info('one');
    log.info('two');
    expect(stream.text).toBe('');
    expect(await stream.take()).toEqual(['<6>one', '<6>two']);
  });

  test('is flushed when all is read, and else given up after half a second', async () => {
    const log = await create(0);
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    let release: () => void = () => undefined;
    stream._write = (_chunk, _encoding, done) => (release = done);
    let isFlushed = false;
    const flush = () => {
      isFlushed = false;
      return log.flush().then(() => (isFlushed = true));
    };
    jest.useFakeTimers({ doNotFake: REAL_BUT_TIMERS });
    try {
      log.info('read late');
      const read = flush();
      for (let n = 0; n < 5; n++) await turn();
      expect(isFlushed).toBe(false);
      release();
      await turn();
      // That of the flush itself.
      release();
      await read;

      log.info('stuck');
      const stuck = flush();
      for (let n = 0; n < 5; n++) await turn();
      jest.advanceTimersByTime(499);
      for (let n = 0; n < 5; n++) await turn();
      expect(isFlushed).toBe(false);
      jest.advanceTimersByTime(1);
      await stuck;
    } finally {
      jest.useRealTimers();
    }
  });

  test('goes on when its stream fails', async () => {
    const log = await create(0);
    stream._write = (_chunk, _encoding, done: (error?: Error) => void) => done(new Error('EPIPE'));
    log.info('lost');
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.errored).toMatchObject({ message: 'EPIPE' });
    log.info('lost too');
    // What its loss could end would end here.
    await log.flush();
    expect(stream.text).toBe('');
  });
});

test('the journal is recognised by the stream that systemd names', () => {
  const { dev, ino } = fstatSync(2, { bigint: true });
  expect(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` })).toBe(true);
  expect(isJournal({ JOURNAL_STREAM: '1:2' })).toBe(false);
  expect(isJournal({})).toBe(false);
  expect(isJournal({ JOURNAL_STREAM: `${dev}:${ino}` }, 9999)).toBe(false);
});

describe('in a process of its own', () => {
  const program = (body: string) => [
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    `import module from ${JSON.stringify(join(__dirname, '../../src/log.ts'))}; const { createLog } = module; ${body}`,
  ];

  test('a reader that goes away does not end it', async () => {
    const child = spawn(
      process.execPath,
      program(`
        const log = createLog({ format: 'text', verbosity: 0, journald: true, winstonAfterMilliseconds: 1 });
        log.info('begin');
        process.stdin.once('data', async () => {
          log.info('into the void');
          await log.settled;
          for (let i = 0; i < 100; i++) log.info('into the void');
          setTimeout(() => process.exit(7), 50);
        });
      `),
      { stdio: ['pipe', 'ignore', 'pipe'] },
    );
    const exit = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
    await new Promise((resolve) => child.stderr.once('data', resolve));
    child.stderr.destroy();
    child.stdin.write('go');
    expect(await exit).toBe(7);
  });

  test('what was said last is written, also when the process ends in the same turn', async () => {
    const body = `
      const log = createLog({ format: 'text', verbosity: 0, journald: true });
      log.error('last words');
      process.exit(3);
    `;
    const end = promisify(execFile)(process.execPath, program(body));
    await expect(end).rejects.toMatchObject({ code: 3, stderr: '<3>last words\n' });
  });

  test('no line is lost when it is flushed before the end', async () => {
    const body = `
      const log = createLog({ format: 'text', verbosity: 0, journald: true, winstonAfterMilliseconds: 0 });
      log.info('early');
      await log.settled;
      for (let i = 0; i < 2000; i++) log.info('late');
      await log.flush();
      process.exit(0);
    `;
    const { stderr } = await promisify(execFile)(process.execPath, program(body));
    expect(stderr.split('\n').filter((line) => line.startsWith('<6>'))).toHaveLength(2001);
  });
});
