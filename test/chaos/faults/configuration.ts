/** The network's configuration is another one when the agent starts again. */
import { NETWORK_CONFIG, PREFIX } from '../../support/lab/lab';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';
import { WITH_USERS, askForUsers } from './secured-etcd';

const COMMON = { group: 'agent', throughLoss: 'counted', withinMilliseconds: 15_000 } as const;
const VNI_7 = { Backend: { Type: 'vxlan', VNI: 7 } };
/** So long the agent may read the configuration, and no lease. */
const UNREADABLE_MILLISECONDS = 3_000;

/**
 * Starts host 1 anew under another configuration, while it may read that but no lease: nothing of what it had may go. Then it
 * may, and what it had must go. The time is that from then on.
 */
async function startedUnder(
  scene: Scene,
  config: object,
  isAsItShould: () => Promise<boolean>,
): Promise<number> {
  const { lab, victim, eyes1, baselines } = scene;
  await askForUsers(scene);
  await victim.agent.end('SIGKILL');
  await lab.putConfig(config);
  await lab.etcd.etcdctl('role', 'revoke-permission', 'overlay', `${PREFIX}/`, '--prefix=true');
  await lab.etcd.etcdctl('role', 'grant-permission', 'overlay', 'read', `${PREFIX}/config`);
  await eyes1.arm(baselines[0]!);
  victim.agent.start({ args: ['--state-file='] });
  await victim.agent.logged((line) => JSON.stringify(line).includes('permission denied'));
  await scene.lasts(UNREADABLE_MILLISECONDS);
  await eyes1.undamaged();
  await lab.etcd.etcdctl('role', 'grant-permission', '--prefix=true', 'overlay', 'readwrite', `${PREFIX}/`);
  return scene.took('host 1 is as the new configuration says, and nothing of the old is left', isAsItShould);
}

async function isAlone({ victim }: Scene, link: string): Promise<boolean> {
  const links = await victim.namespace.ipJson<{ ifname: string; operstate: string }>(
    'link',
    'show',
    'type',
    'vxlan',
  );
  return links.length === 1 && links[0]!.ifname === link;
}

export const CONFIGURATION_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'vni-changed-while-down',
    what: 'starts the agent under another VNI, and then under the old one: the other device goes, but not before all leases were read',
    plan: WITH_USERS,
    provoke: async (scene) => {
      const { lab, victim, peer } = scene;
      const milliseconds = await startedUnder(scene, { ...NETWORK_CONFIG, ...VNI_7 }, async () => {
        const hasRoute = async () =>
          (await victim.routes()).some(({ dst, dev }) => dst === peer.subnet && dev === 'flannel.7');
        return (await isAlone(scene, 'flannel.7')) && (await hasRoute());
      });
      await victim.agent.end('SIGKILL');
      await lab.putConfig(NETWORK_CONFIG);
      victim.agent.start();
      await victim.agent.ready();
      await until('flannel.7 is gone, too', () => isAlone(scene, 'flannel.1'));
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'network-changed-while-down',
    what: 'starts the agent under another network: address and routes of the old one go, but not before all leases were read',
    plan: WITH_USERS,
    spoilsLab: true,
    provoke: async (scene) => {
      const { victim } = scene;
      return startedUnder(scene, { ...NETWORK_CONFIG, Network: '10.6.0.0/16' }, async () => {
        const text =
          (await victim.namespace.ip('route', 'show', 'proto', '84')) +
          (await victim.namespace.ip('address', 'show', 'dev', 'flannel.1'));
        return (
          victim.vtepAddress.startsWith('10.6.') && text.includes('10.6.0.0/16') && !text.includes('10.5.')
        );
      });
    },
  },
];
