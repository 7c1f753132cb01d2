/** Somebody lays hands on flannel.1 itself. */
import type { Fault } from '../fault';

const COMMON = { group: 'device', throughLoss: 'counted', withinMilliseconds: 3_000 } as const;

function ip(...lines: string[]): Fault['provoke'] {
  return (scene) => scene.damage(() => scene.victim.namespace.batch(lines));
}

/** The same behind the agent's back: it would be there before the second command. */
function behindItsBack(...lines: string[]): Fault['provoke'] {
  return (scene) =>
    scene.damage(async () => {
      const pid = scene.victim.agent.pid!;
      process.kill(pid, 'SIGSTOP');
      try {
        await scene.victim.namespace.batch(lines);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
    });
}

export const DEVICE_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'device-down',
    short: true,
    what: 'sets flannel.1 down',
    provoke: ip('link set flannel.1 down'),
  },
  {
    ...COMMON,
    name: 'device-deleted',
    short: true,
    what: 'deletes flannel.1',
    provoke: ip('link del flannel.1'),
  },
  {
    ...COMMON,
    name: 'device-mac-changed',
    short: true,
    what: 'gives flannel.1 another MAC',
    provoke: ip('link set flannel.1 address 0e:11:22:33:44:55'),
  },
  {
    ...COMMON,
    name: 'device-mtu-changed',
    what: 'gives flannel.1 another MTU',
    provoke: ip('link set flannel.1 mtu 1200'),
  },
  {
    ...COMMON,
    name: 'device-renamed',
    what: 'renames flannel.1',
    provoke: async (scene) => {
      scene.atEnd(() => scene.victim.namespace.attempt('ip', ['link', 'del', 'other']));
      return scene.damage(() =>
        scene.victim.namespace.batch(['link set flannel.1 down', 'link set flannel.1 name other']),
      );
    },
  },
  {
    ...COMMON,
    name: 'device-replaced',
    what: 'puts a bridge in the place of flannel.1',
    provoke: behindItsBack('link del flannel.1', 'link add flannel.1 type bridge'),
  },
  {
    ...COMMON,
    name: 'device-of-another-vni',
    what: 'puts a vxlan device with another VNI and port in its place',
    provoke: behindItsBack('link del flannel.1', 'link add flannel.1 type vxlan id 7 dstport 4789 dev eth0'),
  },
  {
    ...COMMON,
    name: 'device-parameters',
    what: 'turns learning on and takes the local address away',
    provoke: ip('link set flannel.1 type vxlan learning local 0.0.0.0'),
  },
];
