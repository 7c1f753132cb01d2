/** Who gets into the overlay through the VXLAN port of a real kernel. */
import { openMonitor } from '../../native';
import { openVxlanGuard } from '../../src/kernel/firewall/vxlan-guard';
import { ipAddress, subnet } from '../../src/model/address';
import { AdmittedPeers, printAdmittedPeer, type Admission } from '../../src/model/admission';
import { FirewallLab } from '../support/firewall-lab';
import { until } from '../support/lab/until';
import { RemoteVxlanGuard } from '../support/remote-vxlan-guard';
import { ADMISSIONS, describeVxlanGuardContract } from '../support/vxlan-guard-contract';
import { vxlanPacket, type InnerPacket } from '../support/vxlan-packet';
import { requirePrivateNamespace, sh } from './private-namespace';

/** linux/netlink.h, linux/netfilter/nfnetlink.h */
const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const TABLE = 'inet vtepd-admission-flannel.1';
const nft = (script: string) => sh('nft -f -', `${script}\n`);

beforeAll(() => requirePrivateNamespace());
afterEach(() => nft('flush ruleset'));

describeVxlanGuardContract('Linux', () => {
  const guard = openVxlanGuard();
  const flush = (link: string) =>
    nft(`add table inet vtepd-admission-${link}\ndelete table inet vtepd-admission-${link}`);
  return { guard, flush, close: () => guard.close() };
});

describe('the table of the guard', () => {
  const guard = openVxlanGuard();
  afterAll(() => guard.close());

  it.each(Object.keys(ADMISSIONS))(
    'means the same after nft(8) listed it and read it again: %s',
    (example) => {
      guard.install(ADMISSIONS[example]!);
      const found = () => {
        const { terms, peers } = guard.observe('flannel.1')!;
        return { terms, peers: peers.map(printAdmittedPeer).sort() };
      };
      const [listed, before] = [sh('nft list ruleset'), found()];
      nft('flush ruleset');
      nft(listed);
      expect(sh('nft list ruleset')).toBe(listed);
      expect(found()).toEqual(before);
    },
  );

  it('is what nft(8) makes of the same rules', () => {
    const admission = ADMISSIONS['subnets of one length']!;
    guard.install(admission);
    const listed = sh('nft list ruleset');
    const ours = sh('nft --debug=netlink list ruleset');
    // nft loads the source once more before it remembers it.
    const its = (text: string) =>
      [...text.matchAll(/^ {2}\[ (.*) \]$/gm)]
        .map(([, expression]) => expression)
        .filter(
          (expression, i, all) => !(all[i + 1]?.startsWith('dynset') && expression?.startsWith('payload')),
        );
    nft('flush ruleset');
    nft(listed);
    expect(its(sh('nft --debug=netlink list ruleset'))).toEqual(its(ours));
    expect(listed).toContain('@th,224,16 0x800 ip saddr . @th,336,32 & 0xffffff00 @sources24 accept');
    expect(listed).toContain('udp dport 8472 @th,96,24 0x1 jump guard');
    expect(listed).toContain('192.168.0.2 . 0xa050200');
  });

  /** Lets two rules of the guard's chain change places, and changes nothing else. */
  function swapRules(one: number, other: number): void {
    const lines = sh('nft list ruleset').split('\n');
    const first = lines.findIndex((line) => line.includes('chain guard {')) + 1;
    const [a, b] = [lines[first + one]!, lines[first + other]!];
    expect([a, b]).toEqual(Array(2).fill(expect.stringMatching(/comment "\d+\/\d+ /)));
    [lines[first + one], lines[first + other]] = [b, a];
    nft('flush ruleset');
    nft(lines.join('\n'));
  }

  it.each([
    ['all rules of a chain are gone', () => nft(`flush chain ${TABLE} input`)],
    ['a rule was added', () => nft(`insert rule ${TABLE} input accept`)],
    ['the first two rules changed places', () => swapRules(0, 1)],
    ['two later rules changed places', () => swapRules(2, 3)],
    ['a host was added', () => nft(`add element ${TABLE} hosts { 192.168.0.77 }`)],
    ['a host was removed', () => nft(`delete element ${TABLE} hosts { 192.168.0.2 }`)],
    ['the table sleeps', () => nft(`add table ${TABLE} { flags dormant; }`)],
  ])('that %s is seen', (_, damage) => {
    guard.install(ADMISSIONS['IPv4 over IPv4']!);
    expect(guard.observe('flannel.1')?.terms).toBeDefined();
    damage();
    expect(guard.observe('flannel.1')?.terms).toBeUndefined();
  });

  it('is looked at before the filters of others', () => {
    guard.install(ADMISSIONS['IPv4 over IPv4']!);
    for (const hook of ['input', 'forward'])
      expect(sh('nft list ruleset')).toContain(
        `type filter hook ${hook} priority filter - 5; policy accept;`,
      );
  });

  it('holds 60 000 peers, and one more is one more element, not a set written anew', async () => {
    const peers = Array.from({ length: 60_000 }, (_, i) => ({
      publicIp: ipAddress(`172.${16 + (i >> 14)}.${(i >> 6) & 255}.${i & 63}`),
      subnet: subnet(`10.${i >> 8}.${i & 255}.0/24`),
    }));
    const admission = { ...ADMISSIONS['subnets of one length']!, network: subnet('10.0.0.0/8'), peers };
    guard.install(admission);
    expect(guard.observe('flannel.1')?.peers).toHaveLength(60_000);
    const joined = { publicIp: ipAddress('192.168.0.8'), subnet: subnet('10.255.8.0/24') };
    // What the kernel tells of a change is what was written: an element in each of two sets, and that it is done.
    const told: Buffer[] = [];
    const monitor = openMonitor(
      { protocol: NETLINK_NETFILTER, groups: [NFNLGRP_NFTABLES], receiveBufferBytes: 16 << 20 },
      (messages) => told.push(messages ?? Buffer.alloc(1 << 20)),
    );
    guard.change(admission, new AdmittedPeers().change([joined], []));
    guard.change(admission, new AdmittedPeers([joined]).change([], [joined]));
    const NEWGEN = '0f0a';
    const count = () => Buffer.concat(told).toString('hex').split(NEWGEN).length - 1;
    await until('both changes', () => count() >= 2);
    monitor.close();
    expect(Buffer.concat(told).length).toBeLessThan(2_000);
  });
});

const PEER = '192.168.0.9';
const STRANGER = '192.168.0.10';
const MACS: Readonly<Record<string, string>> = { '1': '02:00:00:00:00:01', '2': '02:00:00:00:00:02' };

interface Packet extends Partial<InnerPacket> {
  readonly from: string;
  readonly source: string;
}

const PACKETS: Readonly<Record<string, Packet>> = {
  'peer, its own subnet': { from: PEER, source: '10.5.2.2' },
  'peer, its VTEP address': { from: PEER, source: '10.5.2.0' },
  'peer, the subnet of another': { from: PEER, source: '10.5.3.3' },
  'peer, our own subnet': { from: PEER, source: '10.5.1.99' },
  'peer, a source outside of the network': { from: PEER, source: '203.0.113.5' },
  'peer, to a group': { from: PEER, source: '10.5.2.2', destination: '239.1.1.1' },
  'peer, ARP of its own': { from: PEER, source: '10.5.2.0', kind: 'arp' },
  'peer, ARP by an address outside': { from: PEER, source: '192.168.0.9', kind: 'arp' },
  'peer, ARP in the name of another': { from: PEER, source: '10.5.3.0', kind: 'arp' },
  'peer, the subnet of another behind a tag of 802.1Q': { from: PEER, source: '10.5.3.3', kind: 'tagged' },
  'peer, its own subnet behind a tag of 802.1Q': { from: PEER, source: '10.5.2.2', kind: 'tagged' },
  'peer, IPv6 of the link': { from: PEER, source: '', kind: 'ipv6' },
  'stranger, a subnet of a peer': { from: STRANGER, source: '10.5.2.3' },
  'stranger, our own subnet': { from: STRANGER, source: '10.5.1.98' },
  'stranger, his own source': { from: STRANGER, source: '203.0.113.6' },
  'stranger, ARP': { from: STRANGER, source: '10.5.2.0', kind: 'arp' },
  'stranger, IPv6 of the link': { from: STRANGER, source: '', kind: 'ipv6' },
  'stranger, another VXLAN network': { from: STRANGER, source: '10.5.2.4', vni: 2 },
};
const REFUSED = [
  'peer, the subnet of another',
  'peer, our own subnet',
  'peer, ARP in the name of another',
  'peer, the subnet of another behind a tag of 802.1Q',
  'peer, its own subnet behind a tag of 802.1Q',
  'peer, IPv6 of the link',
  'stranger, a subnet of a peer',
  'stranger, our own subnet',
  'stranger, his own source',
  'stranger, ARP',
  'stranger, IPv6 of the link',
];

describe.each([
  ['/24', subnet('10.5.2.0/24')],
  ['/27', subnet('10.5.2.0/27')],
])('the VXLAN port, with a peer that has a %s,', (_, range) => {
  const admission: Admission = {
    link: 'flannel.1',
    port: 8472,
    vni: 1,
    network: subnet('10.5.0.0/16'),
    family: 'ipv4',
    lengths: [24, 27],
    peers: [{ publicIp: ipAddress(PEER), subnet: range }],
  };
  let lab: FirewallLab;
  let guard: RemoteVxlanGuard;

  beforeAll(async () => {
    lab = await FirewallLab.make();
    guard = await RemoteVxlanGuard.start(lab.host);
    await lab.outside.ip('addr', 'add', `${STRANGER}/24`, 'dev', 'eth0');
    await lab.host.configure({ 'ipv4/conf/all/rp_filter': 0, 'ipv4/conf/default/rp_filter': 0 });
    for (const vni of ['1', '2']) {
      const options = ['id', vni, 'local', '192.168.0.1', 'dev', 'eth0', 'dstport', '8472', 'nolearning'];
      await lab.host.ip('link', 'add', `vxlan${vni}`, 'address', MACS[vni]!, 'type', 'vxlan', ...options);
      await lab.host.ip('addr', 'add', `10.5.1.20${vni}/32`, 'dev', `vxlan${vni}`);
      await lab.host.ip('link', 'set', `vxlan${vni}`, 'up');
    }
  });
  afterAll(async () => {
    guard?.end();
    await lab?.remove();
  });
  beforeEach(() => lab.clearRules());

  const bytesOf = ({ vni = 1, source, destination = `10.5.1.20${vni}`, kind }: Packet) =>
    vxlanPacket({ vni, mac: MACS[String(vni)]!, source, destination, kind }).toString('hex');

  async function received(vni: number): Promise<number> {
    const [link] = await lab.host.ipJson<{ stats64: { rx: { packets: number } } }>(
      ...['-s', 'link', 'show', `vxlan${vni}`],
    );
    return link!.stats64.rx.packets;
  }

  /** Whether it comes out of the VXLAN device. One that must is sent behind it, so that we need not wait. */
  async function passes(packet: Packet): Promise<boolean> {
    const { vni = 1 } = packet;
    const before = await received(vni);
    const last: Packet = { from: PEER, source: '10.5.2.30' };
    const packets = [packet, last].map((each) => ({ from: each.from, bytes: bytesOf(each) }));
    await lab.heardOfVxlan(packets, last.source);
    return (await received(vni)) - before - (vni === 1 ? 1 : 0) === 1;
  }

  async function passing(): Promise<string[]> {
    const names: string[] = [];
    for (const [name, packet] of Object.entries(PACKETS)) if (await passes(packet)) names.push(name);
    return names;
  }

  it('is open to anybody without a guard', async () => {
    expect(await passing()).toEqual(Object.keys(PACKETS));
  });

  it('is open to peers only, each in its own name; other networks on the port are not touched', async () => {
    await guard.install(admission);
    expect(await passing()).toEqual(Object.keys(PACKETS).filter((name) => !REFUSED.includes(name)));
    expect((await guard.observe('flannel.1'))?.strangers).toEqual([STRANGER]);
  });

  it('nobody’s other packets are touched, whatever bytes they have where VXLAN has its number', async () => {
    await guard.install(admission);
    // Bytes 12 to 14 of this echo request are 00 00 01.
    const ping = ['-n', '-c', '1', '-W', '2', '-s', '8', '-p', '010000', '-I', STRANGER, '192.168.0.1'];
    expect(await lab.outside.run('ping', ping)).toContain('1 received');
    expect(await lab.seen('ipv4', 'outside', 'pod', { own: STRANGER })).toBe(STRANGER);
  });

  it('opens for who joins, and closes for who leaves', async () => {
    await guard.install(admission);
    const joined = { publicIp: ipAddress(STRANGER), subnet: subnet('10.5.10.0/24') };
    const packet = { from: STRANGER, source: '10.5.10.2' };
    expect(await passes(packet)).toBe(false);
    const peers = new AdmittedPeers(admission.peers);
    await guard.change(admission, peers.change([joined], []));
    expect(await passes(packet)).toBe(true);
    await guard.change(admission, peers.change([], [joined]));
    expect(await passes(packet)).toBe(false);
  });
});
