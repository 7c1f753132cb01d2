/** Somebody lays hands on flannel.1 itself. */
import type { Fault } from '../fault';
import type { Scene } from '../scene';

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

/** All that ip(8) says of flannel.1, but for its operational state: `UNKNOWN` becomes `UP`, the same to packets, by a protodown that is over. */
async function describeDevice({ victim }: Scene): Promise<string> {
  const text = await victim.namespace.ip('-d', 'link', 'show', 'dev', 'flannel.1');
  return text.replace(/ state (UNKNOWN|UP) /, ' ');
}

/** Attributes that can stop packets: the device is as it was, attribute by attribute, and so is all that hangs on it. */
function attributes(...lines: string[]): Fault['provoke'] {
  return async (scene) => {
    const before = await describeDevice(scene);
    await scene.victim.namespace.batch(lines);
    const milliseconds = await scene.took(
      'flannel.1 is as it was',
      async () => (await describeDevice(scene)) === before,
    );
    await scene.settle();
    return milliseconds;
  };
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
  {
    ...COMMON,
    name: 'device-protodown',
    short: true,
    what: 'sets protodown, with a reason that holds it',
    provoke: attributes('link set flannel.1 protodown on protodown_reason 3 on'),
  },
  {
    ...COMMON,
    name: 'device-arp-off',
    short: true,
    what: 'switches ARP off, which costs all neighbors, and every later question',
    provoke: attributes('link set flannel.1 arp off'),
  },
  {
    ...COMMON,
    name: 'device-ttl-and-df',
    what: 'sets a TTL of 1, which the first router ends, and DF',
    provoke: attributes('link set flannel.1 type vxlan ttl 1', 'link set flannel.1 type vxlan df set'),
  },
  {
    ...COMMON,
    name: 'device-in-a-bridge',
    what: 'makes flannel.1 a port of a bridge',
    provoke: async (scene) => {
      scene.atEnd(() => scene.victim.namespace.attempt('ip', ['link', 'del', 'lan0']));
      const lines = ['link add lan0 type bridge', 'link set lan0 up', 'link set flannel.1 master lan0'];
      return attributes(...lines)(scene);
    },
  },
  {
    ...COMMON,
    name: 'device-default-remote',
    what: 'sends what has no FDB entry to a stranger',
    throughLoss: 'none',
    provoke: async (scene) => {
      const rows = async () =>
        JSON.stringify((await scene.victim.fdb()).map(({ mac, dst }) => `${mac} ${dst}`).sort());
      const before = await rows();
      await scene.victim.namespace.batch(['link set flannel.1 type vxlan remote 198.51.100.9']);
      return scene.took('that entry is gone', async () => (await rows()) === before);
    },
  },
  {
    ...COMMON,
    name: 'device-attributes-that-stop-nothing',
    short: true,
    what: 'sets queue length, group, alias, promiscuity, multicast, dormant mode, TOS and ageing: an administrator may',
    throughLoss: 'none',
    provoke: async (scene) => {
      const { namespace } = scene.victim;
      const set = (...words: string[]) => namespace.batch(words.map((each) => `link set flannel.1 ${each}`));
      scene.atEnd(() =>
        set(
          ...['txqueuelen 1000', 'group 0', 'alias ""', 'promisc off', 'multicast on', 'mode default'],
          ...['type vxlan tos 0', 'type vxlan ageing 300'],
        ),
      );
      await set(
        ...['txqueuelen 1', 'group 7', 'alias uplink', 'promisc on', 'multicast off', 'mode dormant'],
        ...['type vxlan tos 0x10', 'type vxlan ageing 1'],
      );
      const changed = await describeDevice(scene);
      await scene.compared();
      if ((await describeDevice(scene)) !== changed) throw new Error('what an administrator set is gone');
      return undefined;
    },
  },
];
