import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SubnetFile } from '../../src/host/subnet-file';
import { HostError } from '../../src/model/errors';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const TEXT = 'FLANNEL_SUBNET=10.5.1.1/24\n';

let directory: string;
let path: string;
let file: SubnetFile;

beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, 'flannel', 'subnet.env');
  file = new SubnetFile(path);
});

afterAll(removeTemporaryDirectories);

describe('the subnet file', () => {
  test('is readable for all, whatever the umask, in a directory that is made for it', async () => {
    const before = process.umask(0o077);
    try {
      await file.write(TEXT);
    } finally {
      process.umask(before);
    }
    expect(statSync(path).mode & 0o777).toBe(0o644);
    expect(readFileSync(path, 'utf8')).toBe(TEXT);
    expect(readdirSync(join(directory, 'flannel'))).toEqual(['subnet.env']);
  });

  test('is replaced, not rewritten: who has the old one open reads it to its end', async () => {
    await file.write(TEXT);
    const { ino } = statSync(path);
    await file.write('FLANNEL_SUBNET=10.5.2.1/24\n');
    expect(statSync(path).ino).not.toBe(ino);
  });

  test('does not follow a link that somebody put in the place of the temporary file', async () => {
    const victim = join(directory, 'victim');
    writeFileSync(victim, 'precious');
    mkdirSync(join(directory, 'flannel'));
    symlinkSync(victim, join(directory, 'flannel', '.subnet.env.new'));
    await file.write(TEXT);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(lstatSync(path).isFile()).toBe(true);
  });

  test('is written over what an agent left that was killed while it wrote', async () => {
    mkdirSync(join(directory, 'flannel'));
    writeFileSync(join(directory, 'flannel', '.subnet.env.new'), 'half of');
    await file.write(TEXT);
    expect(readdirSync(join(directory, 'flannel'))).toEqual(['subnet.env']);
  });

  test('fails with what and why', async () => {
    writeFileSync(join(directory, 'flannel'), 'a file, not a directory');
    const failure = await file.write(TEXT).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HostError);
    expect(failure).toMatchObject({ message: `cannot write ${path}` });
    await expect(new SubnetFile(directory).read()).rejects.toMatchObject({
      code: 'EISDIR',
      message: `cannot read ${directory}`,
    });
    await expect(new SubnetFile(directory).remove()).rejects.toBeInstanceOf(HostError);
  });
});

test('what was written survives a crash of the host: the file is on disk before it has its name, and the name after', () => {
  const trace = join(directory, 'trace');
  const script = `
    import module from ${JSON.stringify(join(__dirname, '../../src/host/subnet-file.ts'))};
    await new module.SubnetFile(${JSON.stringify(path)}).write('text');
  `;
  const calls = 'openat,write,fsync,fdatasync,rename,renameat,renameat2,unlink,close';
  const strace = ['-f', '-qq', '-y', '-e', `trace=${calls}`, '-e', 'signal=none', '-o', trace];
  const node = ['--import', 'tsx', '--input-type=module', '-e', script];
  execFileSync('strace', [...strace, process.execPath, ...node], { stdio: 'inherit' });
  const steps = readFileSync(trace, 'utf8')
    .split('\n')
    .map((line) => line.replace(/^\d+ +/, ''))
    .filter((line) => line.includes('/flannel'))
    .map((line) => line.replaceAll(directory, ''));
  const at = (pattern: RegExp) => steps.findIndex((step) => pattern.test(step));
  const inOrder = [
    /^openat\(.*"\/flannel\/\.subnet\.env\.new", O_WRONLY\|O_CREAT\|O_EXCL\|O_NOFOLLOW\|O_CLOEXEC, 0644\)/,
    /^(write|pwrite64)\(.*\.subnet\.env\.new>, "text"/,
    /^f(data)?sync\(\d+<\/flannel\/\.subnet\.env\.new>/,
    /^rename\w*\(.*"\/flannel\/\.subnet\.env\.new", .*"\/flannel\/subnet\.env"/,
    /^openat\(.*"\/flannel", O_RDONLY\|.*O_DIRECTORY/,
    /^fsync\(\d+<\/flannel>/,
  ].map(at);
  expect(inOrder).not.toContain(-1);
  expect(inOrder).toEqual([...inOrder].sort((one, other) => one - other));
});

describe('the old subnet file stays whole', () => {
  /** Runs a shell in a mount namespace of its own, which takes its mounts with it. Needs root. */
  const inMountNamespace = (script: string): string =>
    execFileSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', script], {
      encoding: 'utf8',
      env: { ...process.env, DIR: directory, NODE: process.execPath, WRITE: writer },
    });

  // Writes 64 kB, and prints the code of the error and what it says.
  const writer = `
    import module from ${JSON.stringify(join(__dirname, '../../src/host/subnet-file.ts'))};
    const file = new module.SubnetFile(process.env.DIR + '/flannel/subnet.env');
    file.write('x'.repeat(65536)).then(
      () => console.log('written'),
      (error) => console.log(error.code, error.message, 'because', error.cause.message),
    );
  `;

  test('when the disk is full', () => {
    const output = inMountNamespace(`
      mkdir $DIR/flannel && mount -t tmpfs -o size=32k tmpfs $DIR/flannel
      echo old > $DIR/flannel/subnet.env
      $NODE --import tsx --input-type=module -e "$WRITE"
      cat $DIR/flannel/subnet.env
      ls -A $DIR/flannel
    `);
    expect(output.trim().split('\n')).toEqual([
      `ENOSPC cannot write ${path} because no space is left on the device`,
      'old',
      'subnet.env',
    ]);
  });

  test('when the disk is read-only', () => {
    const output = inMountNamespace(`
      mkdir $DIR/flannel && echo old > $DIR/flannel/subnet.env
      mount --bind $DIR/flannel $DIR/flannel && mount -o remount,bind,ro $DIR/flannel
      $NODE --import tsx --input-type=module -e "$WRITE"
      cat $DIR/flannel/subnet.env
    `);
    expect(output.trim().split('\n')).toEqual([
      `EROFS cannot write ${path} because the file system is read-only`,
      'old',
    ]);
  });
});
