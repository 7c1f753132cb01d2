/** Programs run from beginning to end on another thread. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runProgram, type ProgramEnd } from '../../native';
import { until } from '../support/lab/until';

const directory = mkdtempSync(path.join(tmpdir(), 'vn-run-'));
afterAll(() => rmSync(directory, { recursive: true }));

const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';
const LIMITS = { timeoutMilliseconds: 60_000, mostOutputBytes: 1 << 20 };

interface Running {
  readonly end: Promise<ProgramEnd>;
  readonly cancel: () => void;
}

interface Asked {
  readonly input: string;
  readonly env: string[];
  readonly timeoutMilliseconds: number;
  readonly mostOutputBytes: number;
}

function start(
  args: readonly string[],
  { input = '', env = [PATH], ...limits }: Partial<Asked> = {},
): Running {
  let cancel: () => void = () => undefined;
  const end = new Promise<ProgramEnd>((resolve) => {
    cancel = runProgram({ args, env, input, ...LIMITS, ...limits }, resolve);
  });
  return { end, cancel };
}

const sh = (script: string, asked: Partial<Asked> = {}) => start(['sh', '-c', script], asked).end;

/** The streams, and descriptors that whoever started us leaves to every program: those without O_CLOEXEC. */
function heirlooms(): string[] {
  const isLeft = (fd: string) => {
    try {
      const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
      return (parseInt(flags, 8) & 0o2000000) === 0;
    } catch {
      return false;
    }
  };
  return ['0', '1', '2', ...readdirSync('/proc/self/fd').filter((fd) => Number(fd) > 2 && isLeft(fd))];
}

/** How many children we have that nobody has waited for. */
function zombies(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean);
  return children.filter((pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')).length;
}

test('what a program prints, and how it ends, is known', async () => {
  const { error, status, killed, stdout, stderr } = await sh('echo out; echo err >&2; exit 3');
  expect({ error, status, killed }).toEqual({ error: undefined, status: 3, killed: false });
  expect([stdout.toString(), stderr.toString()]).toEqual(['out\n', 'err\n']);
});

test('a program reads its input to the end while it prints more than a pipe holds', async () => {
  const input = 'x'.repeat(900_000);
  const { status, stdout } = await start(['cat'], { input }).end;
  expect(status).toBe(0);
  expect(stdout.toString()).toBe(input);
});

test('a program that does not read its input ends as it likes', async () => {
  const { status, killed } = await sh('exec <&-; exit 4', { input: 'x'.repeat(900_000) });
  expect({ status, killed }).toEqual({ status: 4, killed: false });
});

test('a program gets the environment that is said, and is looked for in its PATH', async () => {
  const { stdout } = await start(['/usr/bin/env'], { env: ['PATH=/nowhere', 'NAME=value'] }).end;
  expect(stdout.toString()).toBe('PATH=/nowhere\nNAME=value\n');
  expect((await start(['env'], { env: ['PATH=/nowhere'] }).end).error).toBe('ENOENT');
  expect((await start(['env'], { env: ['PATH=/nowhere:/etc/passwd:/usr/bin'] }).end).status).toBe(0);
});

test('a program that is not there, or may not be run, is an error with its name', async () => {
  expect(await start(['no-such-program']).end).toMatchObject({ error: 'ENOENT', syscall: 'posix_spawn' });
  expect(await start(['/etc/passwd']).end).toMatchObject({ error: 'EACCES' });
});

test('a program finds the signals as they are by default, and of our files only its three streams', async () => {
  // Node ignores SIGPIPE: a program that inherited that would live on.
  expect((await sh('kill -PIPE $$; echo alive')).status).toBe(128 + 13);
  const { stdout } = await sh('ls /proc/$$/fd');
  expect(stdout.toString().split('\n').filter(Boolean)).toEqual(heirlooms());
});

test('a cancelled program is killed, whatever it ignores', async () => {
  const trapped = path.join(directory, 'trapped');
  const script = `trap "" TERM INT; touch ${trapped}; exec sleep 600`;
  const { end, cancel } = start(['sh', '-c', script], { timeoutMilliseconds: 600_000 });
  await until('the signals are ignored', () => existsSync(trapped));
  cancel();
  expect(await end).toMatchObject({ killed: true, status: 128 + 9 });
  cancel();
});

test('a program that takes too long is killed, and one that has closed its streams, too', async () => {
  expect(await sh('exec sleep 60', { timeoutMilliseconds: 100 })).toMatchObject({ killed: true });
  expect(await sh('exec sleep 60 >&- 2>&-', { timeoutMilliseconds: 100 })).toMatchObject({ killed: true });
});

test('a program that prints too much is killed', async () => {
  const { killed, stdout } = await sh('yes', { mostOutputBytes: 100_000 });
  expect(killed).toBe(true);
  expect(stdout.length).toBeLessThan(100_000 + (64 << 10) + 1);
});

test('many at a time all end, the event loop turns meanwhile, and nothing of them is left', async () => {
  const files = readdirSync('/proc/self/fd').length;
  // None ends before the event loop has had a turn while others run.
  const turned = path.join(directory, 'turned');
  const wait = `while [ ! -e ${turned} ]; do sleep 0.01; done`;
  const asked = { timeoutMilliseconds: 600_000 };
  const running = Promise.all(Array.from({ length: 200 }, (_, n) => sh(`${wait}; echo ${n}`, asked)));
  setTimeout(() => writeFileSync(turned, ''), 10);
  const ends = await running;
  expect(ends.map(({ stdout }) => Number(stdout.toString()))).toEqual(ends.map((_, n) => n));
  expect(zombies()).toBe(0);
  expect(readdirSync('/proc/self/fd').length).toBe(files);
});

test('wrong arguments are refused by name', () => {
  const run = (options: object, callback: unknown = () => undefined) =>
    runProgram({ args: ['true'], env: [], input: '', ...LIMITS, ...options }, callback as () => void);
  expect(() => run({}, 'callback')).toThrow('callback must be a function');
  expect(() => run({ args: [] })).toThrow('args must begin with a program');
  expect(() => run({ args: 'true' })).toThrow('args and env must be arrays of strings');
  expect(() => run({ args: ['a\0b'] })).toThrow('must not have a NUL in it');
  expect(() => run({ env: [1] })).toThrow('env must be a string');
  expect(() => run({ input: undefined })).toThrow('input must be a string');
  expect(() => run({ timeoutMilliseconds: 0 })).toThrow('timeoutMilliseconds must be an integer from 1');
});
