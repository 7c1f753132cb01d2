/** What others own stands in the way of our packets: it stays, it is named, and once it is gone, packets flow again. */
import type { Fault } from '../fault';
import type { Scene } from '../scene';

const COMMON = { group: 'others', throughLoss: 'counted', withinMilliseconds: 5_000 } as const;
/** A router of the underlay that is nobody's PublicIP. */
const ROUTER = '172.30.255.1';

/**
 * Puts something in the way of the packets to host 2, and takes it away; the time is that until packets flow again. Meanwhile host 1
 * names it in its log, by the subnet of host 2 and by these names, what is ours is as it was, and what is not ours is still there.
 */
function inTheWay(
  put: (scene: Scene) => readonly string[],
  remove: (scene: Scene) => readonly string[],
  names: (scene: Scene) => readonly string[],
  /** With an address of another interface in the network, its route is left out for as long as that is there. */
  leavesRouteOut = false,
): Fault['provoke'] {
  return async (scene) => {
    const { namespace } = scene.victim;
    let isThere = true;
    const clear = async () => {
      if (isThere) await namespace.batch(remove(scene));
      isThere = false;
    };
    scene.atEnd(clear);
    await scene.eyes1.arm(scene.baselines[0]!);
    await namespace.batch(put(scene));
    const look = async () => {
      const routes = (await namespace.ip('-4', 'route', 'show', 'table', 'all')).split('\n');
      const foreign = routes.filter((route) => !route.includes(' proto 84 ')).join('\n');
      // Whether a bridge has a port that is up is nobody's choice.
      return (await namespace.ip('rule')) + foreign.replaceAll(' linkdown', '');
    };
    const before = await look();
    await scene.warned(scene.peer.subnet, ...names(scene));
    await scene.sends();
    if (!leavesRouteOut) {
      await scene.eyes1.undamaged();
      await scene.compared();
    }
    if ((await look()) !== before) throw new Error('what is not ours has changed');
    await clear();
    if (leavesRouteOut) await scene.eyes1.repaired();
    return scene.reachesPeer();
  };
}

/** Half of a subnet: `10.5.7.0/25`. */
function lowerHalf({ peer }: Scene): string {
  return `${peer.vtepAddress}/25`;
}

export const FAULTS_BY_OTHERS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'foreign-route',
    short: true,
    what: "adds a route of a peer's subnet by a router, without a metric",
    provoke: inTheWay(
      ({ peer }) => [`route add ${peer.subnet} via ${ROUTER} dev eth0`],
      ({ peer }) => [`route del ${peer.subnet} via ${ROUTER} dev eth0`],
      () => ['route'],
    ),
  },
  {
    ...COMMON,
    name: 'foreign-route-of-half',
    what: "adds a blackhole of half of a peer's subnet, as a routing daemon does",
    provoke: inTheWay(
      (scene) => [`route add blackhole ${lowerHalf(scene)} proto bird metric 32`],
      (scene) => [`route del blackhole ${lowerHalf(scene)} proto bird metric 32`],
      (scene) => [lowerHalf(scene)],
    ),
  },
  {
    ...COMMON,
    name: 'foreign-rule',
    short: true,
    what: "adds a routing rule that sends a peer's subnet to a table of its own, as a VPN does",
    provoke: inTheWay(
      ({ peer }) => [
        `route add default via ${ROUTER} dev eth0 table 51820`,
        `rule add to ${peer.subnet} lookup 51820 priority 100`,
      ],
      ({ peer }) => [`rule del to ${peer.subnet} lookup 51820 priority 100`, 'route flush table 51820'],
      () => ['rule'],
    ),
  },
  {
    ...COMMON,
    name: 'docker-network-over-a-peer',
    short: true,
    what: "makes a bridge with a peer's subnet, as `docker network create` does",
    provoke: inTheWay(
      ({ peer }) => [
        'link add br-0123456789ab type bridge',
        `address add ${peer.vtepAddress.replace(/0$/, '1')}/24 dev br-0123456789ab`,
        'link set br-0123456789ab up',
      ],
      () => ['link del br-0123456789ab'],
      () => ['br-0123456789ab'],
      true,
    ),
  },
];
