/** A flanneld that was forgotten, and runs beside us: named, also where the unit hides its process from us. */
import { spawn } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessStatus } from '../../src/model/status';
import { installFlannelRules } from '../support/flannel/rules';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { SystemdMachine } from '../support/lab/systemd-machine';
import { until } from '../support/lab/until';

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
});

afterAll(() => lab?.end());

const flanneldIn = (text: string) => {
  const { checks, isReady } = JSON.parse(text) as ProcessStatus;
  return { ...checks.find(({ name }) => name === 'flanneld')!, isReady };
};

/** A program of that name in a host's namespace, until it is ended. */
function startFlanneld(host: Host): { end(): void } {
  const program = join(lab.directory, 'flanneld');
  copyFileSync('/bin/sleep', program);
  const child = spawn('nsenter', [`--net=${host.namespace.path}`, program, '600'], { stdio: 'ignore' });
  return { end: () => void child.kill('SIGKILL') };
}

test('where /proc shows its process it is told with its number, on that host alone, until it has ended', async () => {
  const [host, other] = [lab.host(1), lab.host(2)];
  const flanneld = startFlanneld(host);
  try {
    await lab.startAgents();
    const told = await until('it is told', async () => {
      const answer = flanneldIn((await host.agent.command('status', '--json')).stdout);
      return answer.state === 'failing' ? answer : undefined;
    });
    expect(told).toMatchObject({ advisory: true, isReady: true });
    expect(told.reason).toMatch(/^flanneld runs on this host beside vtepd: it is process \d+; .*stop it/);
    expect(flanneldIn((await other.agent.command('status', '--json')).stdout).ok).toBe(true);
  } finally {
    flanneld.end();
  }
  for (const { agent } of lab.hosts) await agent.end();
});

describe('under the unit, which hides the processes of others,', () => {
  let machine: SystemdMachine;
  let host: Host;

  beforeAll(async () => {
    host = lab.host(1);
    machine = await SystemdMachine.boot(host.namespace, join(lab.directory, 'machine'), {
      units: ['vtepd.service'],
      files: {
        '/etc/default/vtepd': `FLANNELD_ETCD_ENDPOINTS=${lab.etcd.endpoints}\nFLANNELD_IFACE=eth0\n`,
      },
    });
    await machine.shows('vtepd', { ActiveState: 'active' });
  });

  afterAll(() => machine?.end());

  const status = async () => flanneldIn(await machine.run('vtepd', 'status', '--json'));

  test('it is told by its firewall rules, which come back; and not as a program that undoes ours', async () => {
    await until('it has looked', async () => (await status()).ok);
    const subnet = JSON.parse(await machine.run('vtepd', 'status', '--json')) as ProcessStatus;
    const told = await until('it is told', async () => {
      // As flannel does every five seconds.
      await installFlannelRules(host.namespace, 'iptables', '10.5.0.0/16', subnet.lease!.subnet);
      const answer = await status();
      return answer.state === 'failing' ? answer : undefined;
    });
    expect(told).toMatchObject({ advisory: true, isReady: true });
    expect(told.reason).toMatch(
      /^flanneld seems to run on this host beside vtepd: its firewall rules come back; .*stop it/,
    );
    const journal = await machine.journal('vtepd');
    expect(journal).toContain('flanneld seems to run on this host beside vtepd');
    expect(journal).not.toContain('another program undoes our firewall rules');
  });
});
