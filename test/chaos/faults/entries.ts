/** Somebody deletes or changes what the agent wrote: routes, neighbors, FDB entries, addresses, parameters. */
import type { Fault } from '../fault';
import type { Scene } from '../scene';

/** Nothing tells of some changes; the audit finds them. */
const AUDIT_MILLISECONDS = 75_000;
const COMMON = { group: 'entries', throughLoss: 'counted', withinMilliseconds: 2_000 } as const;

/** Every command to the kernel of host 1. */
function ip(words: (scene: Scene) => string[] | Promise<string[]>): Fault['provoke'] {
  return (scene) => scene.damage(async () => scene.victim.namespace.batch(await words(scene)));
}

function bridge(words: (scene: Scene) => string[] | Promise<string[]>): Fault['provoke'] {
  return (scene) => scene.damage(async () => scene.victim.namespace.bridgeBatch(await words(scene)));
}

/** `fdb` words for host 2's entry. */
async function macOfPeer({ peer }: Scene): Promise<string> {
  return (await peer.vtepMac())!;
}

export const ENTRY_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'route-deleted',
    short: true,
    what: 'deletes the route to a peer',
    provoke: ip(({ peer }) => [`route del ${peer.subnet} dev flannel.1 proto 84`]),
  },
  {
    ...COMMON,
    name: 'route-altered',
    short: true,
    what: "turns a peer's route to another peer",
    provoke: ip(async (scene) => {
      const metric = await scene.metricOf(scene.peer.subnet);
      const wrong = scene.other.vtepAddress;
      return [
        `route replace ${scene.peer.subnet} via ${wrong} dev flannel.1 onlink proto 84 metric ${metric}`,
      ];
    }),
  },
  {
    ...COMMON,
    name: 'neighbor-deleted',
    short: true,
    what: 'deletes the neighbor of a peer',
    provoke: ip(({ peer }) => [`neigh del ${peer.vtepAddress} dev flannel.1`]),
  },
  {
    ...COMMON,
    name: 'neighbor-altered',
    what: "gives a peer's neighbor another MAC",
    provoke: ip(({ peer }) => [
      `neigh replace ${peer.vtepAddress} lladdr 0e:00:00:00:00:99 dev flannel.1 nud permanent`,
    ]),
  },
  {
    ...COMMON,
    name: 'neighbor-failed',
    what: "marks a peer's neighbor as failed",
    provoke: ip(({ peer }) => [`neigh replace ${peer.vtepAddress} dev flannel.1 nud failed`]),
  },
  {
    ...COMMON,
    name: 'fdb-deleted',
    short: true,
    what: 'deletes the FDB entry of a peer',
    provoke: bridge(async (scene) => [
      `fdb del ${await macOfPeer(scene)} dev flannel.1 dst ${scene.peer.publicIp} self`,
    ]),
  },
  {
    ...COMMON,
    name: 'fdb-altered',
    what: "turns a peer's FDB entry to another address",
    provoke: bridge(async (scene) => [
      `fdb replace ${await macOfPeer(scene)} dev flannel.1 dst ${scene.other.publicIp} self permanent`,
    ]),
  },
  {
    ...COMMON,
    name: 'address-deleted',
    short: true,
    what: "deletes the VTEP's address (and with it, the network route)",
    provoke: ip(({ victim }) => [`address del ${victim.vtepAddress}/32 dev flannel.1`]),
  },
  {
    ...COMMON,
    name: 'network-route-deleted',
    what: 'deletes the route of the whole network',
    provoke: ip(() => ['route del 10.5.0.0/16 dev flannel.1']),
  },
  {
    ...COMMON,
    name: 'network-route-altered',
    what: "turns the network's route to the underlay",
    provoke: ip(({ other }) => [`route replace 10.5.0.0/16 via ${other.publicIp} dev eth0 proto 84`]),
  },
  {
    ...COMMON,
    name: 'lookalikes-added',
    what: 'adds a route, a neighbor and an FDB entry that look like ours',
    throughLoss: 'none',
    provoke: async (scene) => {
      const absent = scene.freeSubnet();
      return scene.damage(async () => {
        await scene.victim.namespace.bridgeBatch([
          'fdb add 0e:00:00:00:00:77 dev flannel.1 dst 198.51.100.7 self permanent',
        ]);
        await scene.victim.namespace.batch([
          `neigh add ${absent} lladdr 0e:00:00:00:00:77 dev flannel.1 nud permanent`,
          `route add ${absent}/24 via ${absent} dev flannel.1 onlink proto 84`,
        ]);
      });
    },
  },
  {
    ...COMMON,
    name: 'foreign-things-stay',
    what: 'adds routes, neighbors and addresses that are nobody of ours: they must stay',

    provoke: async (scene) => {
      const { namespace } = scene.victim;
      const lines = [
        'route add 203.0.113.0/24 via 172.30.255.1 dev eth0 proto static',
        'route add blackhole 198.51.100.0/24 proto 85',
        'neigh add 172.30.77.7 lladdr 0e:00:00:00:00:66 dev eth0 nud permanent',
        'address add 192.0.2.1/32 dev flannel.1',
      ];
      scene.atEnd(() => namespace.batch(lines.map((line) => line.replace(' add ', ' del '))));
      await scene.eyes1.arm(scene.baselines[0]!);
      await namespace.batch(lines);
      await namespace.ip('route', 'flush', 'proto', '84');
      const milliseconds = await scene.eyes1.repaired();
      const text =
        (await namespace.ip('route')) + (await namespace.ip('neigh')) + (await namespace.ip('address'));
      for (const mark of ['203.0.113.0/24', '198.51.100.0/24', '172.30.77.7', '192.0.2.1/32'])
        if (!text.includes(mark)) throw new Error(`${mark} is nobody of ours, and is gone`);
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'parameters-altered',
    what: 'sets app_solicit and the queue of the device to 0: nothing tells of that, the audit finds it',
    throughLoss: 'none',
    isLeftToAudits: true,
    withinMilliseconds: AUDIT_MILLISECONDS,
    provoke: (scene) =>
      scene.damage(
        () =>
          scene.victim.namespace.configure({
            'ipv4/neigh/flannel.1/app_solicit': 0,
            'ipv4/neigh/flannel.1/unres_qlen_bytes': 0,
          }),
        AUDIT_MILLISECONDS,
      ),
  },
  {
    ...COMMON,
    name: 'routes-flushed',
    what: 'flushes all routes with our mark',
    provoke: (scene) => scene.damage(() => scene.victim.namespace.ip('route', 'flush', 'proto', '84')),
  },
  {
    ...COMMON,
    name: 'neighbors-flushed',
    what: 'flushes all neighbors of the device',
    provoke: (scene) =>
      scene.damage(() => scene.victim.namespace.flush('neigh', 'dev', 'flannel.1', 'nud', 'permanent')),
  },
  {
    ...COMMON,
    name: 'all-flushed',
    short: true,
    what: 'flushes addresses, routes, neighbors and FDB entries at once',
    provoke: async (scene) => {
      const { namespace } = scene.victim;
      const rows = await scene.victim.fdb();
      return scene.damage(() =>
        Promise.all([
          namespace.flush('address', 'dev', 'flannel.1'),
          namespace.ip('route', 'flush', 'proto', '84'),
          namespace.flush('neigh', 'dev', 'flannel.1', 'nud', 'permanent'),
          namespace.bridgeBatch(rows.map(({ mac, dst }) => `fdb del ${mac} dev flannel.1 dst ${dst} self`)),
        ]),
      );
    },
  },
  {
    ...COMMON,
    name: 'fight',
    what: 'deletes one route again and again for 5 s: repaired more slowly, and once it ends, for good',
    isLeftToAudits: true,
    withinMilliseconds: 70_000,
    provoke: async (scene) => {
      const { namespace } = scene.victim;
      const word = `route del ${scene.peer.subnet} dev flannel.1 proto 84`;
      const loop = `end=$(($(date +%s)+5)); while [ $(date +%s) -lt $end ]; do ip ${word} 2>/dev/null; done; true`;
      await namespace.run('sh', ['-c', loop]);
      const since = performance.now();
      await scene.said(/undoes this again and again/);
      await scene.settle();
      return performance.now() - since;
    },
  },
];
