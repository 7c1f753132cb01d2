/** What happens to the interface below: flaps, other addresses, other MTUs, another interface of the same name. */
import type { Fault } from '../fault';
import type { Scene } from '../scene';

const COMMON = { group: 'underlay', throughLoss: 'counted', withinMilliseconds: 5_000 } as const;
const ANOTHER = '172.30.1.101';

/** The baseline of a host with other words in it. */
function baselineWith(scene: Scene, host: 0 | 1, change: (object: string) => string): string[] {
  return scene.baselines[host]!.map(change).sort();
}

export const UNDERLAY_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'underlay-flap',
    short: true,
    what: 'sets eth0 down and, half a second later, up',
    provoke: async (scene) => {
      const { namespace } = scene.victim;
      await namespace.ip('link', 'set', 'eth0', 'down');
      await scene.lasts(500);
      return scene.damage(() => namespace.ip('link', 'set', 'eth0', 'up'));
    },
  },
  {
    ...COMMON,
    name: 'underlay-carrier-lost',
    what: 'pulls the cable of eth0 for half a second',
    provoke: async (scene) => {
      await scene.lab.hub.ip('link', 'set', 'port1', 'down');
      await scene.lasts(500);
      return scene.damage(() => scene.lab.hub.ip('link', 'set', 'port1', 'up'));
    },
  },
  {
    ...COMMON,
    name: 'underlay-address-changed',
    what: 'gives eth0 another address, and then the old one: peers follow',
    withinMilliseconds: 10_000,
    provoke: async (scene) => {
      const { victim } = scene;
      const move = (from: string, to: string) =>
        victim.namespace.batch([`address del ${from}/16 dev eth0`, `address add ${to}/16 dev eth0`]);
      const moved = (host: 0 | 1) =>
        baselineWith(scene, host, (object) =>
          object.replace(new RegExp(`\\b${victim.publicIp}\\b`), ANOTHER),
        );
      await scene.eyes1.arm(moved(0));
      await scene.eyes2.arm(moved(1));
      const start = performance.now();
      await move(victim.publicIp, ANOTHER);
      await Promise.all([scene.eyes1.repaired(), scene.eyes2.repaired()]);
      const milliseconds = performance.now() - start;
      await move(ANOTHER, victim.publicIp);
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'underlay-mtu-changed',
    what: 'gives eth0 an MTU of 1400, and then the old one: flannel.1 and subnet.env follow',
    throughLoss: 'none',
    provoke: async (scene) => {
      const { victim } = scene;
      await scene.eyes1.arm(
        baselineWith(scene, 0, (object) => object.replace(/(link flannel.1 \S+ mtu) \d+/, '$1 1350')),
      );
      await victim.namespace.ip('link', 'set', 'eth0', 'mtu', '1400');
      const milliseconds = await scene.eyes1.repaired();
      const env = await scene.took('subnet.env follows', () => victim.environment['FLANNEL_MTU'] === '1350');
      await victim.namespace.ip('link', 'set', 'eth0', 'mtu', '1500');
      await scene.took('subnet.env follows back', () => victim.environment['FLANNEL_MTU'] === '1450');
      return milliseconds + env;
    },
  },
  {
    ...COMMON,
    name: 'underlay-made-anew',
    what: 'deletes eth0 (the kernel deletes flannel.1 with it), and half a second later makes it anew',
    withinMilliseconds: 10_000,
    provoke: async (scene) => {
      const { victim, lab } = scene;
      await victim.namespace.ip('link', 'del', 'eth0');
      await scene.lasts(500);
      const start = performance.now();
      await lab.hub.batch([
        `link add port1 type veth peer name eth0 netns ${victim.namespace.name}`,
        'link set port1 master br0 up',
      ]);
      await victim.namespace.batch([`address add ${victim.publicIp}/16 dev eth0`, 'link set eth0 up']);
      const [link] = await victim.namespace.ipJson<{ ifindex: number }>('link', 'show', 'dev', 'eth0');
      // The device hangs on another interface now, of the same name.
      const anew = baselineWith(scene, 0, (object) =>
        object.replace(/ dev if\d+ /, ` dev if${link!.ifindex} `),
      );
      await scene.eyes1.arm(anew);
      await scene.eyes1.repaired();
      return performance.now() - start;
    },
    spoilsLab: true,
  },
  {
    ...COMMON,
    name: 'underlay-renamed',
    what: 'renames eth0, and half a second later back',
    provoke: async (scene) => {
      const { namespace, publicIp } = scene.victim;
      const rename = (from: string, to: string) =>
        namespace.batch([`link set ${from} down`, `link set ${from} name ${to}`, `link set ${to} up`]);
      await rename('eth0', 'nic7');
      await scene.lasts(500);
      return scene.damage(async () => {
        await rename('nic7', 'eth0');
        await namespace.attempt('ip', ['address', 'replace', `${publicIp}/16`, 'dev', 'eth0']);
      });
    },
  },
];
