import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { sdNotify } from '../../native';
import { LinuxHost } from '../../src/host/linux-host';
import { notifySystemd, printServiceState } from '../../src/host/systemd';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

/** What systemd would be: receives datagrams until there were so many, then prints them. Node has no such sockets. */
async function startReceiver(path: string, count: number) {
  const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = sys.argv[1]
s.bind('\\0' + path[1:] if path[0] == '@' else path)
print('ready', flush=True)
for i in range(int(sys.argv[2])): print(repr(s.recv(4096).decode()), flush=True)
`;
  const child = spawn('python3', ['-c', program, path, String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return {
    received: async () => {
      if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
      return output.trim().split('\n').slice(1);
    },
  };
}

test.each(['a path', 'an abstract name'])('systemd hears of us on %s', async (kind) => {
  const path =
    kind === 'a path' ? join(temporaryDirectory(), 'notify') : `@vtepd-test-${process.pid}-${Date.now()}`;
  const receiver = await startReceiver(path, 3);
  const env = { NOTIFY_SOCKET: path };
  notifySystemd(env, { ready: true, status: '10.5.1.0/24 on flannel.1, 3 peers' });
  notifySystemd(env, {});
  notifySystemd(env, { status: 'two\nlines' });
  notifySystemd(env, { stopping: true });
  expect(await receiver.received()).toEqual([
    "'READY=1\\nSTATUS=10.5.1.0/24 on flannel.1, 3 peers'",
    "'STATUS=two lines'",
    "'STOPPING=1'",
  ]);
});

test.each([
  ['nowhere', undefined],
  ['nowhere, in so many words', ''],
  ['where there is no socket', '/nonexistent/notify'],
  ['to a name that nobody has', '@nobody'],
  ['to a kind of socket that we have not', 'vsock:2:1234'],
  ['to a name that is too long', 'x'.repeat(200)],
])('it is told %s, which fails, and the agent goes on', (_where, NOTIFY_SOCKET) => {
  expect(() => sdNotify(NOTIFY_SOCKET ?? '', 'READY=1')).toThrow();
  expect(() => notifySystemd({ NOTIFY_SOCKET }, { ready: true })).not.toThrow();
});

test('the host tells the socket that its own environment names, all of a state at once', async () => {
  const path = join(temporaryDirectory(), 'notify');
  const receiver = await startReceiver(path, 2);
  const place = { subnetFile: join(temporaryDirectory(), 'subnet.env'), lockDirectory: temporaryDirectory() };
  new LinuxHost({ ...place, env: {} }).notify({ ready: true });
  const host = new LinuxHost({ ...place, env: { NOTIFY_SOCKET: path } });
  host.notify({ ready: true, status: 'two\nlines' });
  host.notify({ alive: true });
  expect(await receiver.received()).toEqual(["'READY=1\\nSTATUS=two lines'", "'WATCHDOG=1'"]);
});

test('the text has one assignment on a line', () => {
  expect(printServiceState({ ready: true, stopping: false, status: '' })).toBe('READY=1\nSTATUS=');
  expect(printServiceState({})).toBe('');
});

test('a reload names its time on the clock that systemd reads', () => {
  const before = process.hrtime.bigint() / 1000n;
  const [word, time] = printServiceState({ reloading: true }).split('\n');
  expect(word).toBe('RELOADING=1');
  const microseconds = BigInt(time!.replace('MONOTONIC_USEC=', ''));
  expect(microseconds).toBeGreaterThanOrEqual(before);
  expect(microseconds).toBeLessThanOrEqual(process.hrtime.bigint() / 1000n);
});

test('a beat says how long to wait for the next word', () => {
  expect(printServiceState({ alive: true, patienceMilliseconds: 20_000.4 })).toBe(
    'WATCHDOG=1\nEXTEND_TIMEOUT_USEC=20000400',
  );
});
