/** Hosts that flannel served until now: vtepd takes over without a packet lost, and gives back without one. */
import { Flannel, type FlannelOptions } from '../support/flannel/flannel';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { pingAllPairs, unanswered } from '../support/lab/ping';
import { bothWays, withoutLoss, type Traffic } from '../support/lab/stream';

/** The lease of a host that goes while no flannel runs. */
const GONE = {
  key: `${PREFIX}/subnets/10.5.66.0-24`,
  value: {
    PublicIP: '172.30.66.66',
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:66' },
  },
};

interface Case extends FlannelOptions {
  readonly agentOptions: string[];
  /** 0.5.5 removes the last address of its device before it adds one: the kernel forgets all that is on it. */
  readonly isLosslessBack: boolean;
}

const CASES: Case[] = [
  { version: '0.5.5', rules: 'iptables 0.5.5', agentOptions: ['--ip-masq'], isLosslessBack: false },
  { version: '0.22', rules: 'iptables', agentOptions: ['--ip-masq'], isLosslessBack: true },
  { version: '0.28', rules: 'nftables', agentOptions: ['--ip-masq'], isLosslessBack: true },
];

describe.each(CASES)(
  'flannel $version with rules in $rules',
  ({ agentOptions, isLosslessBack, ...options }) => {
    let lab: Lab;
    let flannels: Flannel[];
    let devices: unknown[];

    beforeAll(async () => {
      lab = await Lab.start({ hosts: 2, agentOptions });
      await lab.etcd.put(GONE.key, JSON.stringify(GONE.value));
      flannels = [];
      for (const host of lab.hosts) flannels.push(await Flannel.start(host, lab.etcd, options));
      for (const flannel of flannels) {
        await flannel.settled();
        await flannel.host.attachContainer();
      }
      expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
      devices = await Promise.all(lab.hosts.map(deviceOf));
    });

    afterAll(async () => {
      await Promise.all(flannels.map((flannel) => flannel.stop()));
      lab?.end();
    });

    test('its device is adopted on one host after the other without a packet lost', async () => {
      const before = flannels.map(({ subnet }) => subnet);
      await withoutLoss(bothWays(lab.host(1), lab.host(2)), async (traffic) => {
        for (const flannel of flannels) {
          await flannel.stop();
          await lab.etcd.etcdctl('del', GONE.key);
          await traffic.sends();
          flannel.host.agent.start();
          await flannel.host.agent.ready();
          await traffic.sends();
        }
      });
      expect(await Promise.all(lab.hosts.map(deviceOf))).toEqual(devices);
      expect(lab.hosts.map(({ subnet }) => subnet.replace('/', '-'))).toEqual(before);
      expect([...(await lab.leases()).keys()].sort()).toEqual([...before].sort());
    });

    test('what it left is removed: addresses, routes, rules, and peers that are gone', async () => {
      const [first, second] = lab.hosts as [Host, Host];
      expect(await addressesOf(first)).toEqual([`${first.vtepAddress}/32`]);
      expect((await first.neighbors()).filter(({ state }) => state.includes('PERMANENT'))).toMatchObject([
        { dst: second.vtepAddress },
      ]);
      expect((await first.fdb()).map(({ dst }) => dst)).toEqual([second.publicIp]);
      const routes = (await first.routes()).filter(({ dev }) => dev === 'flannel.1');
      expect(routes.map(({ dst, protocol }) => `${dst} ${protocol}`).sort()).toEqual(
        [`10.5.0.0/16 84`, `${second.subnet} 84`].sort(),
      );
      const rules = await rulesOf(first);
      expect(rules).toMatch(/vtepd/i);
      expect(rules).not.toMatch(/FLANNEL|flannel-ipv[46]/);
      // Before ours it would hide who sends to a container of ours.
      expect(rules).not.toContain('-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE');
    });

    test(`it takes the device back on one host after the other${isLosslessBack ? ' without a packet lost' : ''}`, async () => {
      const goBack = async (traffic?: Traffic) => {
        for (const [n, host] of lab.hosts.entries()) {
          await host.agent.end();
          flannels[n] = await Flannel.start(host, lab.etcd, options);
          expect(await host.agent.command('cleanup', '--for-flannel')).toMatchObject({
            status: 0,
            stderr: '',
          });
          await traffic?.sends();
        }
      };
      await (isLosslessBack ? withoutLoss(bothWays(lab.host(1), lab.host(2)), goBack) : goBack());
      expect(flannels.map(({ misfit }) => misfit)).toEqual([undefined, undefined]);
      expect(await Promise.all(lab.hosts.map(deviceOf))).toEqual(devices);
      const [first] = lab.hosts as [Host];
      expect((await first.routes()).filter(({ protocol }) => protocol === '84')).toEqual([]);
      const rules = await rulesOf(first);
      expect(rules).toMatch(/FLANNEL|flannel-ipv4/);
      expect(rules).not.toMatch(/vtepd/i);
      expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
    });
  },
);

function deviceOf(host: Host): Promise<unknown> {
  return host.namespace
    .ipJson<{ ifindex: number; address: string }>('link', 'show', 'dev', 'flannel.1')
    .then(([link]) => ({ index: link?.ifindex, mac: link?.address }));
}

async function addressesOf(host: Host): Promise<string[]> {
  const text = await host.namespace.ip('-4', '-o', 'address', 'show', 'dev', 'flannel.1');
  return Array.from(text.matchAll(/inet (\S+)/g), ([, address]) => address!);
}

async function rulesOf({ namespace }: Host): Promise<string> {
  return (await namespace.run('nft', ['list', 'ruleset'])) + (await namespace.run('iptables-save', []));
}
