/** What an administrator hears from `vtepd status`, in each state of a host. */
import type { ProcessStatus } from '../../src/model/status';
import type { Host } from '../support/lab/host';
import { Lab, NETWORK_CONFIG } from '../support/lab/lab';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, config: null });
  host = lab.host(1);
});

afterAll(() => lab?.end());

async function status(): Promise<ProcessStatus> {
  return JSON.parse((await host.agent.command('status', '--json')).stdout) as ProcessStatus;
}

test('without an agent it says so, with exit code 1', async () => {
  expect(await host.agent.command('status')).toMatchObject({
    status: 1,
    stderr: 'vtepd: no vtepd runs in this network namespace\n',
  });
});

test('an agent that waits for its configuration says so', async () => {
  host.agent.start();
  await host.agent.logged(({ message }) => message === 'waiting for the network configuration');
  const { status: code, stdout } = await host.agent.command('status');
  expect(code).toBe(1);
  expect(stdout).toMatch(/NOT READY/);
  expect(stdout).toMatch(/\[-\] start: .*there is none at \/coreos.com\/network\/config/);
  expect(stdout).toMatch(/\[\?\] network configuration: not known yet$/m);
  expect(stdout).toMatch(/\[\?\] lease: not known yet: there is no subnet lease yet$/m);
  const { checks } = await status();
  const wellKnown = checks.filter(({ state }) => state === 'ok').map(({ name }) => name);
  expect(
    wellKnown.filter((name) => !['etcd', 'underlay', 'firewall', 'vxlan admission'].includes(name)),
  ).toEqual([]);
  expect(checks.every(({ state, ok }) => ok === (state === 'ok'))).toBe(true);
});

test('one that is ready tells its lease and its peers', async () => {
  await lab.putConfig(NETWORK_CONFIG);
  await lab.startAgents([lab.host(2)]);
  await host.agent.ready();
  const { stdout } = await until('it is ready and knows its peer', async () => {
    const answer = await host.agent.command('status', '--peers');
    return answer.status === 0 && answer.stdout.includes(lab.host(2).publicIp) ? answer : undefined;
  });
  expect(stdout).toContain(`${host.subnet} at ${host.publicIp}`);
  expect(await status()).toMatchObject({ isReady: true, peers: { count: 1 } });
  await until('everything is known', async () => (await status()).checks.every(({ ok }) => ok));
});

test('etcd that went away is told, and harms no readiness', async () => {
  await lab.etcd.stop();
  const { checks, isReady } = await until('it misses etcd', async () => {
    const answer = await status();
    return answer.checks.some(({ name, ok }) => name === 'etcd' && !ok) ? answer : undefined;
  });
  expect(isReady).toBe(true);
  expect(checks.find(({ name }) => name === 'etcd')).toMatchObject({ advisory: true });
});

test('a killed agent leaves nobody to ask', async () => {
  await host.agent.end('SIGKILL');
  expect((await host.agent.command('status')).status).toBe(1);
});
