/** What stops all packets at the underlay, and what status says of it. */
import type { ProcessStatus } from '../../src/model/status';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
  host = lab.host(1);
  await lab.startAgents();
});

afterAll(() => lab?.end());

async function underlay() {
  const answer = await host.agent.command('status', '--json');
  const { checks, isReady } = JSON.parse(answer.stdout) as ProcessStatus;
  return { ...checks.find(({ name }) => name === 'underlay')!, isReady, code: answer.status };
}

const isWell = () =>
  until('the underlay is well', async () => (await underlay()).ok && (await underlay()).isReady);

test.each<[string, string[][], string[][], RegExp]>([
  ['eth0 is set down', [['link', 'set', 'eth0', 'down']], [['link', 'set', 'eth0', 'up']], /^eth0 is down$/],
  [
    'eth0 has lost its address',
    [['address', 'flush', 'dev', 'eth0']],
    [['address', 'add', '172.30.0.1/16', 'dev', 'eth0']],
    /^eth0 does not have its address 172\.30\.0\.1 any more$/,
  ],
  [
    'eth0 is renamed, and another name is wanted',
    [
      ['link', 'set', 'eth0', 'down'],
      ['link', 'set', 'eth0', 'name', 'other'],
    ],
    [
      ['link', 'set', 'other', 'name', 'eth0'],
      ['link', 'set', 'eth0', 'up'],
    ],
    /^eth0 is down$/,
  ],
])('%s: it is not ready, and status names it, until it is over', async (_, harm, mend, reason) => {
  await isWell();
  for (const words of harm) await host.namespace.ip(...words);
  const told = await until('it is told', async () => {
    const answer = await underlay();
    return answer.ok ? undefined : answer;
  });
  expect(told).toMatchObject({ isReady: false, code: 1, advisory: false });
  expect(told.reason).toMatch(reason);
  for (const words of mend) await host.namespace.ip(...words);
  await isWell();
});

test('the other end of its cable is pulled: it has no carrier', async () => {
  await lab.hub.ip('link', 'set', 'port1', 'down');
  const told = await until('it is told', async () => {
    const answer = await underlay();
    return answer.ok ? undefined : answer;
  });
  expect(told.reason).toMatch(/^eth0 has no carrier/);
  expect(told.isReady).toBe(false);
  await lab.hub.ip('link', 'set', 'port1', 'up');
  await isWell();
});
