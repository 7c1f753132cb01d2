import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { AgentLocks } from '../../src/host/lock';
import { HostError } from '../../src/model/errors';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

/** Another process that holds the lock of flannel.1, in this network namespace or a new one. */
async function startHolder(directory: string, under: readonly string[] = []) {
  const program = `
    import module from ${JSON.stringify(join(__dirname, '../../src/host/lock.ts'))};
    new module.AgentLocks(${JSON.stringify(directory)}).lock('flannel.1');
    console.log(process.pid);
    setInterval(() => undefined, 1000);
  `;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', program];
  const [command, ...args] = [...under, ...node];
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise((resolve) => child.once('exit', resolve));
  const pid = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()));
    void exit.then(() => reject(new Error('the holder ended')));
  });
  return {
    pid,
    kill: () => {
      child.kill('SIGKILL');
      return exit;
    },
  };
}

test('another process is named, and its lock is free as soon as it is killed', async () => {
  const directory = temporaryDirectory();
  const holder = await startHolder(directory);
  const locks = new AgentLocks(directory);
  try {
    expect(() => locks.lock('flannel.1')).toThrow(
      new HostError('EBUSY', `another vtepd (process ${holder.pid}) runs for flannel.1 already`),
    );
  } finally {
    await holder.kill();
  }
  locks.lock('flannel.1');
  locks.release();
});

test('an agent in another network namespace has a device of its own, and is no obstacle', async () => {
  const directory = temporaryDirectory();
  const holder = await startHolder(directory, ['unshare', '--net']);
  try {
    const locks = new AgentLocks(directory);
    // Its lock tells nothing of this host.
    expect(locks.links()).toEqual([]);
    locks.lock('flannel.1');
    expect(locks.links()).toEqual(['flannel.1']);
    locks.release();
    expect(readdirSync(directory)).toHaveLength(2);
  } finally {
    await holder.kill();
  }
});

test('only lock files tell of links', () => {
  const directory = temporaryDirectory();
  const locks = new AgentLocks(directory);
  locks.lock('flannel.1');
  const [file] = readdirSync(directory);
  writeFileSync(join(directory, file!.replace('.lock', '.sock')), '');
  writeFileSync(join(directory, 'flannel.2.lock'), '');
  expect(locks.links()).toEqual(['flannel.1']);
  locks.release();
});

test('a lock file belongs to the owner of its directory: one that root made keeps out nobody who runs as that user later', () => {
  const directory = temporaryDirectory();
  const NOBODY = 65_534;
  chownSync(directory, NOBODY, NOBODY);
  chmodSync(directory, 0o755);
  const locks = new AgentLocks(directory);
  locks.lock('flannel.1');
  const [file] = readdirSync(directory);
  const { uid, gid, mode } = statSync(join(directory, file!));
  expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: NOBODY, gid: NOBODY, mode: 0o600 });
  locks.release();
  const service = spawnSync('setpriv', [
    ...[`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', 'flock', '--nonblock'],
    ...[join(directory, file!), 'true'],
  ]);
  expect(service.status).toBe(0);
});

test('a lock that cannot be had says which file, and why', () => {
  const directory = join(temporaryDirectory(), 'file');
  writeFileSync(directory, '');
  expect(() => new AgentLocks(directory).lock('flannel.1')).toThrow(
    /^cannot make sure that no other agent runs for flannel\.1, by .*\/file\/\d+-flannel\.1\.lock$/,
  );
});

test('a file whose name no agent gives is passed over', () => {
  const directory = temporaryDirectory();
  const locks = new AgentLocks(directory);
  locks.lock('flannel.1');
  const [name] = readdirSync(directory) as [string];
  writeFileSync(join(directory, name.replace('flannel.1', '%E0%A4%A')), '');
  expect(locks.links()).toEqual(['flannel.1']);
  locks.release();
});

test('a link in place of a lock file leads to no other file: what is there stays, and whose it is', () => {
  const directory = temporaryDirectory();
  const locks = new AgentLocks(directory);
  locks.lock('flannel.1');
  const [name] = readdirSync(directory) as [string];
  locks.release();
  const victim = join(temporaryDirectory(), 'victim');
  writeFileSync(victim, 'precious');
  symlinkSync(victim, join(directory, name.replace('flannel.1', 'flannel.2')));
  expect(() => locks.lock('flannel.2')).toThrow('cannot make sure that no other agent runs for flannel.2');
  expect(readFileSync(victim, 'utf8')).toBe('precious');
});
