/** What is in the store: leases deleted, spoiled, expired, and leases that would do harm if they were believed. */
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PREFIX } from '../../support/lab/lab';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import { etcdLeaseOf, leaseValue, type Scene } from '../scene';
import { cut } from './etcd';

const COMMON = { group: 'leases', throughLoss: 'none', withinMilliseconds: 10_000 } as const;
/** Of what no route may lead into the overlay: etcd's address and hosts'. */
const UNDERLAY_LEASES = {
  '172.30.255.0-24': leaseValue({ publicIp: '172.30.77.7', vtepMac: '0e:00:00:00:77:07' }),
  '172.30.0.0-24': leaseValue({ publicIp: '172.30.77.8', vtepMac: '0e:00:00:00:77:08' }),
};
const STRANGER = { publicIp: '172.30.77.7', vtepMac: '0e:00:00:00:77:07' };

/**
 * Puts keys that must do no harm, and takes them away. While they are there, host 1 names each of them in its log, and all of them
 * by `vtepd status`; its routes are those it had (also those that are not ours), and nothing of ours has changed, but for leases
 * that are used in spite of what is odd about them.
 */
function harmless(
  keys: (scene: Scene) => Record<string, string> | Promise<Record<string, string>>,
  { areUsed = false } = {},
) {
  return async (scene: Scene): Promise<undefined> => {
    const { lab, victim, eyes1, baselines } = scene;
    const routesBefore = await victim.namespace.ip('route', 'show', 'table', 'all');
    const leases = await keys(scene);
    for (const [name, value] of Object.entries(leases)) {
      const key = `${PREFIX}/subnets/${name}`;
      scene.atEnd(() => lab.etcd.etcdctl('del', '--', key));
      await lab.etcd.etcdctl('put', '--', key, value);
    }
    await scene.followsEtcd();
    for (const name of Object.keys(leases))
      // An agent complains of the same lease once a minute; it may have done so for another fault.
      await until(
        `host 1 names the lease '${name}'`,
        () => scene.log().some((line) => line['lease'] === name && /ignored|doubtful/.test(line.message)),
        { withinMilliseconds: 120_000 },
      );
    const { stdout } = await victim.agent.command('status');
    if (!/other leases.*(ignored|doubtful)/.test(stdout)) throw new Error(`'vtepd status' says: ${stdout}`);
    if (areUsed) {
      const seen = await eyes1.see();
      const missing = baselines[0]!.filter((object) => !seen.includes(object));
      if (missing.length > 0) throw new Error(`it is gone: ${missing.join('; ')}`);
      return undefined;
    }
    await scene.compared();
    if ((await victim.namespace.ip('route', 'show', 'table', 'all')) !== routesBefore)
      throw new Error('the routes of host 1 have changed');
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
      return scene.took('the key is back', async () => (await scene.lab.etcd.inspect(key)).length === 1);
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
      await scene.said(/again and again/);
      return scene.took('the key is back', async () => (await scene.lab.etcd.inspect(key)).length === 1);
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
      return scene.took('the key is readable again', async () =>
        (await scene.lab.etcd.etcdctl('get', key)).includes(`"${scene.victim.publicIp}"`),
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
    provoke: harmless(
      (scene) => ({
        [`${scene.freeSubnet()}-24`]: leaseValue({ ...STRANGER, publicIp: scene.peer.publicIp }),
      }),
      { areUsed: true },
    ),
  },
  {
    ...COMMON,
    name: 'subnet-around-ours',
    what: "puts leases of the whole network, of the /20 around host 1's subnet, and of everything",
    provoke: harmless(({ victim }) => ({
      '10.5.0.0-16': leaseValue(STRANGER),
      [`10.5.${Number(victim.vtepAddress.split('.')[2]) & 0xf0}.0-20`]: leaseValue({
        publicIp: '172.30.77.8',
        vtepMac: '0e:00:00:00:77:08',
      }),
      '0.0.0.0-0': leaseValue({ publicIp: '172.30.77.9', vtepMac: '0e:00:00:00:77:0a' }),
    })),
  },
  {
    ...COMMON,
    name: 'subnet-outside-the-network',
    what: 'puts leases of subnets outside the network, which hold the addresses of etcd and of other hosts',
    provoke: harmless(() => UNDERLAY_LEASES),
  },
  {
    ...COMMON,
    name: 'underlay-inside-a-subnet',
    what: 'the same in a network that holds the whole underlay: a route to such a subnet would cut host 1 off from etcd',
    plan: {
      config: {
        ...{ Network: '172.16.0.0/12', SubnetLen: 24, SubnetMin: '172.20.0.0', SubnetMax: '172.20.255.0' },
        Backend: { Type: 'vxlan' },
      },
    },
    provoke: harmless(() => UNDERLAY_LEASES),
  },
  {
    ...COMMON,
    name: 'subnet-taken-while-cut-off',
    what: 'cuts host 1 off from etcd, its lease expires, and another host leases its subnet: back, it says so and takes another',
    throughLoss: 'counted',
    spoilsLab: true,
    withinMilliseconds: 30_000,
    provoke: async (scene) => {
      const { lab, victim, peer } = scene;
      const [key, before] = [scene.keyOf(victim), victim.subnet];
      const heal = await cut(scene, victim.namespace);
      await lab.etcd.etcdctl('lease', 'revoke', await etcdLeaseOf(scene, key));
      await lab.etcd.put(key, leaseValue(STRANGER));
      await until('host 2 follows the new owner', async () =>
        (await peer.fdb()).some(({ mac }) => mac === STRANGER.vtepMac),
      );
      await scene.lasts(3000);
      const start = performance.now();
      await heal();
      await until('host 1 has another subnet', () => victim.subnet !== before);
      const milliseconds = performance.now() - start;
      if (!scene.log().some(({ level }) => level === 'error')) throw new Error('host 1 did not say so');
      if (!(await lab.etcd.etcdctl('get', key)).includes(STRANGER.vtepMac))
        throw new Error("the new owner's lease was overwritten");
      const mac = await victim.vtepMac();
      await until('host 2 knows where host 1 is now', async () =>
        (await peer.neighbors()).some(({ dst, lladdr }) => dst === victim.vtepAddress && lladdr === mac),
      );
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'grace-of-none',
    what: 'with --peer-grace=0: a lease that expires takes its peer along; deleted, moved to another etcd lease, or with etcd killed, a live peer stays',
    plan: { agentOptions: ['--peer-grace=0'] },
    provoke: async (scene) => {
      const { lab, victim, peer } = scene;
      const { etcd } = lab;
      const grant = async () => /lease (\w+) granted/.exec(await etcd.etcdctl('lease', 'grant', '600'))![1]!;
      const knows = async () => (await victim.fdb()).some(({ mac }) => mac === STRANGER.vtepMac);

      const id = await grant();
      await etcd.etcdctl(
        ...['put', `--lease=${id}`, `${PREFIX}/subnets/${scene.freeSubnet()}-24`, leaseValue(STRANGER)],
      );
      await until('host 1 knows the stranger', knows);
      await etcd.etcdctl('lease', 'revoke', id);
      const milliseconds = await scene.took('host 1 has forgotten it', async () => !(await knows()));

      await scene.eyes1.arm(scene.baselines[0]!);
      const key = scene.keyOf(peer);
      const old = await etcdLeaseOf(scene, key);
      const value = (await etcd.etcdctl('get', '--print-value-only', key)).trim();
      await etcd.etcdctl('put', `--lease=${await grant()}`, key, value);
      await etcd.etcdctl('lease', 'revoke', old);
      await scene.lasts(3000);
      await etcd.etcdctl('del', key);
      await scene.lasts(3000);
      await etcd.stop();
      await scene.lasts(1000);
      await etcd.start();
      process.kill(victim.agent.pid!, 'SIGHUP');
      await scene.lasts(3000);
      await scene.eyes1.undamaged();
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'twin-started',
    what: "starts a fourth host with host 1's PublicIP: it waits, and host 1 keeps its lease",
    plan: { hosts: 4 },
    spoilsLab: true,
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const twin = lab.host(4);
      const before = await lab.etcd.etcdctl('get', scene.keyOf(victim));
      await twin.agent.end('SIGKILL');
      await lab.etcd.etcdctl('del', scene.keyOf(twin));
      rmSync(twin.agent.subnetFile);
      twin.agent.start({ args: [`--public-ip=${victim.publicIp}`, '--state-file='] });
      await twin.agent.logged(({ message }) => /another host has our PublicIP/.test(message));
      await scene.said(/another host has our PublicIP/);
      await scene.lasts(5000);
      if ((await lab.etcd.etcdctl('get', scene.keyOf(victim))) !== before)
        throw new Error("host 1's lease has changed");
      if (existsSync(twin.agent.subnetFile)) throw new Error('the twin has written subnet.env');
      return undefined;
    },
  },
  {
    ...COMMON,
    name: 'clone-started',
    what: 'starts a fourth host that is a copy of host 1 (machine-id, flannel.1 and its MAC, subnet.env, state file), but for its address',
    plan: { hosts: 4 },
    spoilsLab: true,
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const clone = lab.host(4);
      const key = scene.keyOf(victim);
      const before = await lab.etcd.inspect(key);
      const mac = (await victim.vtepMac())!;
      await clone.agent.end('SIGKILL');
      await lab.etcd.etcdctl('del', scene.keyOf(clone));
      await clone.namespace.batch([
        'link del flannel.1',
        `link add flannel.1 address ${mac} type vxlan id 1 dstport 8472 dev eth0 local ${clone.publicIp} nolearning`,
        'link set flannel.1 up',
        `address add ${victim.vtepAddress}/32 dev flannel.1`,
      ]);
      for (const name of ['subnet.env', 'state.json'])
        copyFileSync(join(victim.agent.subnetFile, '..', name), join(clone.agent.subnetFile, '..', name));
      clone.agent.start();
      await until('the clone has a subnet of its own', () => clone.subnet !== victim.subnet);
      const milliseconds = performance.now() - clone.agent.startedAt;
      await until('it has a MAC of its own', async () => (await clone.vtepMac()) !== mac);
      await until('host 1 knows the clone by both', async () => {
        const theirs = await clone.vtepMac();
        return (await victim.fdb()).some((row) => row.mac === theirs && row.dst === clone.publicIp);
      });
      if (JSON.stringify(await lab.etcd.inspect(key)) !== JSON.stringify(before))
        throw new Error("host 1's lease was written");
      if ((await victim.vtepMac()) !== mac) throw new Error("host 1's MAC has changed");
      return milliseconds;
    },
  },
];
