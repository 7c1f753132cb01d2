/** What a command says reaches who asked, or the exit code tells. */
import { Lab, NETWORK_CONFIG } from '../support/lab/lab';
import { AGENT } from '../support/lab/agent';
import type { Host } from '../support/lab/host';

// More than a pipe holds; and a character has three bytes.
const CONFIG = JSON.stringify({ ...NETWORK_CONFIG, Comment: '東'.repeat(40_000) });

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 1, config: CONFIG });
  host = lab.host(1);
});
afterAll(() => lab?.end());

function run(where: string) {
  const words = ['config', 'get', '--raw', `--etcd-endpoints=${lab.etcd.endpoints}`];
  const script = `set -o pipefail; "$0" "$@" ${where}`;
  return host.namespace.attempt('bash', ['-c', script, process.execPath, AGENT, ...words]);
}

test('a pipe gets all of it, however much that is, and however late it is read', async () => {
  // The rest is read by a program that is started only when there is something.
  const late = `| { read -r -n 1 first; printf %s "$first"; exec "${process.execPath}" -e 'process.stdin.pipe(process.stdout)'; }`;
  const { status, stdout } = await run(late);
  expect({ status, isWhole: stdout === `${CONFIG}\n` }).toEqual({ status: 0, isWhole: true });
});

test.each([
  ['a full disk is told, and by the exit code', '> /dev/full', 1, /cannot write to standard output: ENOSPC/],
  ['a reader that has read enough is no failure', '| head -c 1', 0, /^$/],
])('%s', async (_, where, status, complaint) => {
  const done = await run(where);
  expect(done.status).toBe(status);
  expect(done.stderr).toMatch(complaint);
});
