/** The addon is built by, and works in, each Node that is maintained. scripts/test gets them from npm, into .tools. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
const root = path.join(__dirname, '../..');
/** A program that hangs is ended just before its test is; ten seconds are usual. */
const LIMITS = { timeout: 550_000, killSignal: 'SIGKILL', encoding: 'utf8' } as const;

describe.each([20, 22, 24])('Node %i', (major) => {
  const directory = path.join(root, '.tools', `node-${major}`);
  const installed = path.join(directory, 'node_modules/.bin/node');
  const node = process.versions.node.startsWith(`${major}.`) ? process.execPath : installed;
  /** A copy of the addon and of the programs that use it: below the project, so that they find its packages. */
  const copy = path.join(directory, 'copy');

  beforeAll(async () => {
    if (!existsSync(node)) throw new Error(`${node} is missing: 'scripts/test native' installs it`);
    rmSync(copy, { recursive: true, force: true });
    const isSource = (file: string) => path.relative(root, file) !== 'native/build';
    for (const part of ['native', 'test/native'])
      cpSync(path.join(root, part), path.join(copy, part), { recursive: true, filter: isSource });
    await execute(node, [path.join(copy, 'native/build.js')], LIMITS);
  });

  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  /** Runs one of the programs in a network namespace of its own; what it printed last is JSON. */
  async function resultOf(program: string, ...args: string[]): Promise<Record<string, number>> {
    const file = path.join(copy, 'test/native/programs', `${program}.ts`);
    const words = ['--net', node, '--expose-gc', '--import', 'tsx', file, ...args];
    const { stdout } = await execute('unshare', words, LIMITS);
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>;
  }

  test('loses none of 200 000 notifications that come as fast as the kernel makes them', async () => {
    expect(await resultOf('flooded', '200000', String(256 << 20))).toMatchObject({
      overruns: 0,
      lost: 0,
      outOfOrder: 0,
    });
  });

  test('opens, closes, refuses and forgets sockets without leaving a descriptor behind', async () => {
    expect(await resultOf('churn')).toMatchObject({ leakedDescriptors: 0 });
  });

  test('runs the bundle that was built for all of them', async () => {
    const words = ['--net', node, path.join(root, 'dist/main.js'), 'cleanup'];
    const { stdout } = await execute('unshare', words, { ...LIMITS, cwd: root });
    expect(stdout).toContain('removed 0 objects');
  });
});
