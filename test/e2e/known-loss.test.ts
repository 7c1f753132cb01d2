/** A host whose lease etcd is known not to have, and that may not write it: what status and log say, and what systemd would hear. */
import type { ProcessStatus } from '../../src/model/status';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

const USER = ['--etcd-username=agent', '--etcd-password=agent-secret'];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, agentOptions: USER, etcdArguments: ['--bcrypt-cost', '4'] });
  host = lab.host(1);
  const { etcd } = lab;
  for (const command of [
    'user add root:root-secret',
    'user grant-role root root',
    'role add reader',
    `role grant-permission reader --prefix=true read ${PREFIX}/`,
    'role add writer',
    `role grant-permission writer --prefix=true write ${PREFIX}/`,
    'user add agent:agent-secret',
    'user grant-role agent reader',
    'user grant-role agent writer',
    'auth enable',
  ])
    await etcd.etcdctl(...command.split(' '));
  etcd.user = 'root:root-secret';
  await lab.startAgents();
});

afterAll(() => lab?.end());

async function status(): Promise<ProcessStatus> {
  return JSON.parse((await host.agent.command('status', '--json')).stdout) as ProcessStatus;
}

const check = ({ checks }: ProcessStatus, wanted: string) => checks.find(({ name }) => name === wanted)!;
const peersOfTheOther = async () => {
  const { stdout } = await lab.host(2).agent.command('status', '--json');
  return (JSON.parse(stdout) as ProcessStatus).peers.count;
};

test('a start without the right to write keeps the lease from before, is ready, and warns', async () => {
  await until('the hosts know each other', async () => (await peersOfTheOther()) === 1);
  await host.agent.end();
  await lab.etcd.etcdctl('user', 'revoke-role', 'agent', 'writer');
  host.agent.start();
  await host.agent.ready();
  const line = await host.agent.logged(({ message }) => message.includes('does not let us write our lease'));
  expect(line).toMatchObject({ level: 'warn', error: expect.stringMatching(/permission denied/) as string });
  const told = await status();
  expect(told.isReady).toBe(true);
  expect(check(told, 'etcd write access')).toMatchObject({ ok: false, advisory: true });
});

test('when its key is deleted then, it is not ready, and says that other hosts have dropped it', async () => {
  await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${host.subnet.replace('/', '-')}`);
  const told = await until('it is not ready', async () => {
    const answer = await status();
    return answer.isReady ? undefined : answer;
  });
  expect(check(told, 'lease').reason).toMatch(
    /^our lease is not in etcd since \S+: other hosts have dropped us; .*permission denied/,
  );
  await until('the other host has dropped it', async () => (await peersOfTheOther()) === 0);
  const { status: code, stdout } = await host.agent.command('status');
  expect(code).toBe(1);
  expect(stdout).toMatch(/NOT READY/);
  expect(stdout).toMatch(/\[-\] lease: .* our lease is not in etcd since/);
  expect(stdout).not.toMatch(/good for|also without etcd/);
});

test('an etcd that goes away then makes it no readier', async () => {
  await lab.etcd.stop();
  const told = await until('it misses etcd', async () => {
    const answer = await status();
    return check(answer, 'etcd').ok ? undefined : answer;
  });
  expect(told.isReady).toBe(false);
  expect(check(told, 'lease').reason).toMatch(/^our lease is not in etcd since/);
  await lab.etcd.start();
});

test('once it may write it takes its lease back and is ready', async () => {
  await lab.etcd.etcdctl('user', 'grant-role', 'agent', 'writer');
  await until('it is ready', async () => (await status()).isReady);
  await until('the other host knows it again', async () => (await peersOfTheOther()) === 1);
  expect((await host.agent.command('status')).stdout).toMatch(/good for .*, also without etcd/);
});
