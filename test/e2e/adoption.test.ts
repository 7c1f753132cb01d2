/** A host that flannel served until now: vtepd takes over without a packet lost. */
import { writeFileSync } from 'node:fs';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { Stream } from '../support/lab/stream';

/** What flannel knows of a host. */
interface Member {
  readonly host: Host;
  readonly subnet: string;
  readonly mac: string;
}

let lab: Lab;
let members: Member[];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
  members = lab.hosts.map((host, n) => ({ host, subnet: `10.5.${40 + n}`, mac: `c6:d2:32:6f:8f:4${n}` }));
  for (const member of members) await serveLikeFlannel(member);
  await Promise.all(lab.hosts.map((host) => host.attachContainer()));
}, 60_000);

afterAll(() => lab?.end());

test('a flannel.1 made by flannel is adopted on one host after the other without a packet lost', async () => {
  const devices = await Promise.all(lab.hosts.map(deviceOf));
  const [first, second] = lab.hosts as [Host, Host];
  const streams = [await Stream.start(first, second), await Stream.start(second, first)];
  for (const { agent } of lab.hosts) {
    agent.start();
    await agent.ready();
  }
  for (const stream of streams) {
    const report = await stream.end();
    expect(report.sent).toBeGreaterThan(300);
    expect(report).toMatchObject({ lost: 0, failed: 0, gaps: [] });
  }
  expect(await Promise.all(lab.hosts.map(deviceOf))).toEqual(devices);
}, 60_000);

test('it keeps the subnet and the lease', async () => {
  expect(lab.hosts.map((host) => host.subnet)).toEqual(['10.5.40.0/24', '10.5.41.0/24']);
  expect([...(await lab.leases()).keys()]).toEqual(['10.5.40.0-24', '10.5.41.0-24']);
});

test("what flannel left of peers that are gone is removed, and flannel's routes become ours", async () => {
  const [first] = lab.hosts as [Host];
  expect((await first.neighbors()).map(({ dst }) => dst)).toEqual(['10.5.41.0']);
  expect((await first.fdb()).map(({ mac }) => mac)).toEqual([members[1]!.mac]);
  const routes = (await first.routes()).filter(({ gateway }) => gateway !== undefined);
  expect(routes).toMatchObject([
    { dst: '10.5.41.0/24', gateway: '10.5.41.0', dev: 'flannel.1', protocol: '84' },
  ]);
});

function deviceOf(host: Host): Promise<unknown> {
  return host.namespace
    .ipJson<{ ifindex: number; address: string }>('link', 'show', 'dev', 'flannel.1')
    .then(([link]) => ({ index: link?.ifindex, mac: link?.address }));
}

/** Makes what flannel 0.28 makes (flannel's own order and parameters), with one peer that is long gone. */
async function serveLikeFlannel({ host, subnet, mac }: Member): Promise<void> {
  const peers = [
    ...members
      .filter((each) => each.host !== host)
      .map((each) => ({ ...each, publicIp: each.host.publicIp })),
    { subnet: '10.5.66', mac: 'c6:d2:32:6f:8f:66', publicIp: '172.30.66.66' },
  ];
  await host.namespace.batch([
    `link add flannel.1 address ${mac} txqueuelen 0 mtu 1450 type vxlan id 1 local ${host.publicIp} dev eth0 dstport 8472 nolearning`,
    `address add ${subnet}.0/32 dev flannel.1`,
    'link set flannel.1 up',
    ...peers.map((peer) => `neigh replace ${peer.subnet}.0 lladdr ${peer.mac} dev flannel.1 nud permanent`),
    ...peers.map(
      (peer) => `route replace ${peer.subnet}.0/24 via ${peer.subnet}.0 dev flannel.1 onlink proto boot`,
    ),
  ]);
  await host.namespace.bridgeBatch(
    peers.map((peer) => `fdb replace ${peer.mac} dev flannel.1 dst ${peer.publicIp} self permanent`),
  );
  const environment = [
    'FLANNEL_NETWORK=10.5.0.0/16',
    `FLANNEL_SUBNET=${subnet}.1/24`,
    'FLANNEL_MTU=1450',
    'FLANNEL_IPMASQ=false',
  ];
  writeFileSync(host.agent.subnetFile, environment.join('\n') + '\n');
  const [, etcdLease] = /lease (\w+) granted/.exec(await lab.etcd.etcdctl('lease', 'grant', '86400'))!;
  const value = {
    PublicIP: host.publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: mac },
  };
  await lab.etcd.etcdctl(
    'put',
    `--lease=${etcdLease}`,
    `${PREFIX}/subnets/${subnet}.0-24`,
    JSON.stringify(value),
  );
}
