/** Two overlays on one host: each is made, kept, repaired and removed as if the other were not there. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Agent } from '../../support/lab/agent';
import type { Host } from '../../support/lab/host';
import { withoutLoss, type Station } from '../../support/lab/stream';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';

const PREFIX = '/second/network';
const CONFIG = { Network: '10.6.0.0/16', Backend: { Type: 'vxlan', VNI: 2, Port: 8473 } };
const LINK = 'flannel.2';

/** An agent of the second overlay on a host that has one of the first; what it carries goes from and to the host itself. */
interface Second extends Station {
  readonly host: Host;
  readonly agent: Agent;
}

async function startSecond(scene: Scene, host: Host): Promise<Second> {
  const directory = join(scene.lab.directory, `h${host.index}-second`);
  mkdirSync(directory, { recursive: true });
  const agent = host.agent.copy(directory);
  scene.atEnd(async () => {
    if (agent.running) await agent.end('SIGKILL');
    await host.namespace.attempt('ip', ['link', 'del', LINK]);
  });
  agent.start({ args: [`--etcd-prefix=${PREFIX}`] });
  await agent.ready();
  const [link] = await host.namespace.ipJson<{ addr_info: { local: string; family: string }[] }>(
    ...['-4', 'address', 'show', 'dev', LINK],
  );
  const containerAddress = link!.addr_info[0]!.local;
  return { host, agent, container: host.namespace, containerAddress, name: `${host.name}, second overlay` };
}

/** The firewall tables, routes and files of the first overlay on host 1, as one text. */
async function firstOf({ victim, eyes1 }: Scene): Promise<string> {
  const tables = (await victim.namespace.run('nft', ['list', 'tables'])).split('\n').sort();
  return JSON.stringify([await eyes1.see(), tables, victim.environment]);
}

export const OVERLAY_FAULTS: readonly Fault[] = [
  {
    name: 'two-overlays',
    group: 'others',
    short: true,
    plan: { agentOptions: ['--ip-masq'] },
    throughLoss: 'none',
    withinMilliseconds: 30_000,
    what: 'runs a second overlay on hosts 1 and 2 (other prefix, network, VNI, port and files), damages and removes it: each keeps all its packets, and the first is as it was',
    provoke: async (scene) => {
      const { lab, victim, peer } = scene;
      await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(CONFIG));
      scene.atEnd(() => lab.etcd.etcdctl('del', '--prefix', PREFIX));
      const before = await firstOf(scene);
      const seconds = [await startSecond(scene, victim), await startSecond(scene, peer)] as const;
      const [here, there] = seconds;
      await until('the second overlay carries packets', async () => {
        const words = ['-c', '1', '-W', '1', there.containerAddress];
        return (await victim.namespace.attempt('ping', words)).status === 0;
      });
      const both = [
        [here, there],
        [there, here],
      ] as const;
      await withoutLoss(both, async (traffic) => {
        // Both look at everything, one is killed, the other is damaged: none of it is for the other.
        for (const agent of [victim.agent, here.agent]) process.kill(agent.pid!, 'SIGHUP');
        await scene.compared();
        await victim.agent.end('SIGKILL');
        victim.agent.start();
        await victim.agent.ready();
        await traffic.sends();
        await here.agent.end('SIGKILL');
        here.agent.start({ args: [`--etcd-prefix=${PREFIX}`] });
        await here.agent.ready();
        await scene.compared();
      });
      for (const { agent, host } of seconds) {
        await agent.end('SIGTERM');
        const { status, stderr } = await agent.command('leave', `--etcd-prefix=${PREFIX}`);
        if (status !== 0) throw new Error(`'vtepd leave' of the second overlay on ${host.name}: ${stderr}`);
      }
      const links = await victim.namespace.ip('link', 'show');
      if (links.includes(LINK)) throw new Error(`${LINK} is still there`);
      const after = await firstOf(scene);
      if (after !== before) throw new Error(`the first overlay was ${before}, and is ${after}`);
      return undefined;
    },
  },
];
