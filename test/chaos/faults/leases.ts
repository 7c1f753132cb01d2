/** What is in the store: leases deleted, spoiled, expired, and leases that would do harm if they were believed. */
import { PREFIX } from '../../support/lab/lab';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import { etcdLeaseOf, leaseValue, type Scene } from '../scene';
import { cut } from './etcd';

const COMMON = { group: 'leases', throughLoss: 'none', withinMilliseconds: 10_000 } as const;
const STRANGER = { publicIp: '172.30.77.7', vtepMac: '0e:00:00:00:77:07' };

/** Puts keys that must do no harm, lets them be for two seconds, and takes them away. */
function harmless(keys: (scene: Scene) => Record<string, string> | Promise<Record<string, string>>) {
  return async (scene: Scene): Promise<undefined> => {
    const { etcd } = scene.lab;
    for (const [name, value] of Object.entries(await keys(scene))) {
      const key = `${PREFIX}/subnets/${name}`;
      scene.atEnd(() => etcd.etcdctl('del', '--', key));
      await etcd.etcdctl('put', '--', key, value);
    }
    await scene.followsEtcd();
    await scene.lasts(2000);
    return undefined;
  };
}

export const LEASE_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'our-lease-deleted',
    short: true,
    what: "deletes host 1's key: it takes its subnet back",
    throughLoss: 'counted',
    provoke: async (scene) => {
      const key = scene.keyOf(scene.victim);
      await scene.lab.etcd.etcdctl('del', key);
      return scene.took('the key is back', async () => (await scene.lab.etcd.inspect(key)).length === 1, {
        withinMilliseconds: 10_000,
      });
    },
  },
  {
    ...COMMON,
    name: 'our-lease-deleted-often',
    what: "deletes host 1's key whenever it is there, for 10 s: written again, ever more slowly, and no peer forgets it",
    provoke: async (scene) => {
      const key = scene.keyOf(scene.victim);
      for (const end = performance.now() + 10_000; performance.now() < end;) {
        await scene.lab.etcd.etcdctl('del', key);
        await scene.lasts(20);
      }
      await scene.said(/again and again/, 1_000);
      return scene.took('the key is back', async () => (await scene.lab.etcd.inspect(key)).length === 1, {
        withinMilliseconds: 10_000,
      });
    },
  },
  {
    ...COMMON,
    name: 'our-lease-overwritten',
    short: true,
    what: "overwrites host 1's key with garbage",
    provoke: async (scene) => {
      const key = scene.keyOf(scene.victim);
      await scene.lab.etcd.put(key, '}garbage{');
      return scene.took(
        'the key is readable again',
        async () => (await scene.lab.etcd.etcdctl('get', key)).includes(`"${scene.victim.publicIp}"`),
        { withinMilliseconds: 10_000 },
      );
    },
  },
  {
    ...COMMON,
    name: 'all-leases-deleted',
    what: 'deletes all leases at once: every host takes its own back',
    provoke: async (scene) => {
      const { lab } = scene;
      const names = lab.hosts.map((host) => scene.keyOf(host).split('/').at(-1)!).sort();
      await lab.etcd.etcdctl('del', '--prefix', `${PREFIX}/subnets/`);
      const milliseconds = await scene.took(
        'all leases are back',
        async () => [...(await lab.leases()).keys()].sort().join() === names.join(),
        { withinMilliseconds: 10_000 },
      );
      await scene.settle();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'all-leases-revoked',
    what: 'ends all etcd leases, as if they had expired: every host takes its own back',
    provoke: async (scene) => {
      const { lab } = scene;
      const keys = lab.hosts.map((host) => scene.keyOf(host));
      const ids = await Promise.all(keys.map((key) => etcdLeaseOf(scene, key)));
      for (const id of ids) await lab.etcd.etcdctl('lease', 'revoke', id);
      const names = keys.map((key) => key.split('/').at(-1)!).sort();
      return scene.took(
        'all leases are back',
        async () => [...(await lab.leases()).keys()].sort().join() === names.join(),
        { withinMilliseconds: 10_000 },
      );
    },
  },
  {
    ...COMMON,
    name: 'expired-while-cut-off',
    short: true,
    what: 'cuts host 1 off from etcd, and its lease expires: peers keep it (--peer-grace); back, it has the same subnet',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const key = scene.keyOf(victim);
      const id = await etcdLeaseOf(scene, key);
      const heal = await cut(scene, victim.namespace);
      await lab.etcd.etcdctl('lease', 'revoke', id);
      await scene.lasts(5000);
      const start = performance.now();
      await heal();
      await until('the key is back', async () => (await lab.etcd.inspect(key)).length === 1, {
        withinMilliseconds: 30_000,
        everyMilliseconds: 10,
      });
      return performance.now() - start;
    },
    withinMilliseconds: 30_000,
  },
  {
    ...COMMON,
    name: 'garbage-keys',
    short: true,
    what: 'puts keys and values that are garbage beside the good ones',
    provoke: harmless((scene) => ({
      '': leaseValue(STRANGER),
      garbage: 'garbage',
      '10.5.300.0-24': leaseValue(STRANGER),
      '10.5.7.0-99': leaseValue(STRANGER),
      '10.5.7.0': leaseValue(STRANGER),
      [`${scene.freeSubnet(0)}-24`]: '{"PublicIP": 17',
      [`${scene.freeSubnet(1)}-24`]: '{}',
      [`${scene.freeSubnet(2)}-24`]: 'null',
      [`${scene.freeSubnet(3)}-24`]: JSON.stringify({ PublicIP: '172.30.77.1', BackendType: 'udp' }),
      [`${scene.freeSubnet(4)}-24`]: 'x'.repeat(100_000),
    })),
  },
  {
    ...COMMON,
    name: 'odd-addresses',
    what: 'puts leases with PublicIP 0.0.0.0, 127.0.0.1, multicast, broadcast, and MACs of zero and multicast',
    provoke: harmless((scene) => {
      const addresses = ['0.0.0.0', '127.0.0.1', '239.1.1.1', '255.255.255.255'];
      const macs = ['00:00:00:00:00:00', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff'];
      return Object.fromEntries([
        ...addresses.map((publicIp, n) => [
          `${scene.freeSubnet(n)}-24`,
          leaseValue({ publicIp, vtepMac: `0e:00:00:00:78:0${n}` }),
        ]),
        ...macs.map((vtepMac, n) => [
          `${scene.freeSubnet(4 + n)}-24`,
          leaseValue({ publicIp: `172.30.77.${n}`, vtepMac }),
        ]),
      ]) as Record<string, string>;
    }),
  },
  {
    ...COMMON,
    name: 'our-public-ip',
    what: "puts a lease of another subnet with host 1's PublicIP",
    provoke: harmless((scene) => ({
      [`${scene.freeSubnet()}-24`]: leaseValue({ ...STRANGER, publicIp: scene.victim.publicIp }),
    })),
  },
  {
    ...COMMON,
    name: 'our-vtep-mac',
    what: "puts a lease with host 1's VtepMAC at another address: a cloned host",
    provoke: harmless(async (scene) => ({
      [`${scene.freeSubnet()}-24`]: leaseValue({ ...STRANGER, vtepMac: (await scene.victim.vtepMac())! }),
    })),
  },
  {
    ...COMMON,
    name: 'subnet-inside-ours',
    what: "puts a lease of half of host 1's subnet",
    provoke: harmless((scene) => ({ [`${scene.victim.vtepAddress}-25`]: leaseValue(STRANGER) })),
  },
  {
    ...COMMON,
    name: 'subnet-inside-a-peers',
    what: "puts leases of both halves of host 2's subnet, and of a quarter",
    provoke: harmless((scene) => ({
      [`${scene.peer.vtepAddress}-25`]: leaseValue(STRANGER),
      [`${scene.peer.vtepAddress.replace(/0$/, '128')}-25`]: leaseValue(STRANGER),
      [`${scene.peer.vtepAddress}-26`]: leaseValue(STRANGER),
    })),
  },
  {
    ...COMMON,
    name: 'subnet-named-twice',
    what: "puts a second key that names host 2's subnet, at another address",
    provoke: harmless((scene) => ({ [`x${scene.peer.vtepAddress}-24`]: leaseValue(STRANGER) })),
  },
  {
    ...COMMON,
    name: 'vtep-mac-of-a-peer',
    what: "puts a lease with host 2's VtepMAC at another address",
    provoke: harmless(async (scene) => ({
      [`${scene.freeSubnet()}-24`]: leaseValue({ ...STRANGER, vtepMac: (await scene.peer.vtepMac())! }),
    })),
  },
  {
    ...COMMON,
    name: 'public-ip-of-a-peer',
    what: "puts a lease with host 2's PublicIP and another VtepMAC",
    provoke: harmless((scene) => ({
      [`${scene.freeSubnet()}-24`]: leaseValue({ ...STRANGER, publicIp: scene.peer.publicIp }),
    })),
  },
  {
    ...COMMON,
    name: 'subnet-around-ours',
    what: 'puts leases of the whole network, of its first /20, and of everything',
    provoke: harmless(() => ({
      '10.5.0.0-16': leaseValue(STRANGER),
      '10.5.0.0-20': leaseValue({ publicIp: '172.30.77.8', vtepMac: '0e:00:00:00:77:08' }),
      '0.0.0.0-0': leaseValue({ publicIp: '172.30.77.9', vtepMac: '0e:00:00:00:77:0a' }),
    })),
  },
  {
    ...COMMON,
    name: 'underlay-inside-a-subnet',
    what: 'puts leases of subnets that hold the addresses of etcd and of other hosts',
    provoke: harmless(() => ({
      '172.30.255.0-24': leaseValue(STRANGER),
      '172.30.0.0-24': leaseValue({ publicIp: '172.30.77.8', vtepMac: '0e:00:00:00:77:08' }),
    })),
  },
];
