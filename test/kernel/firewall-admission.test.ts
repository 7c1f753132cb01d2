/** Who gets into the overlay through the VXLAN port of a real kernel. */
import { ipAddress, subnet } from '../../src/model/address';
import { printAdmittedPeer, type Admission } from '../../src/model/admission';
import { executeWith } from '../../src/kernel/firewall/execute';
import { NftVxlanGuard } from '../../src/kernel/firewall/vxlan-guard';
import { FirewallLab } from '../support/firewall-lab';
import { describeVxlanGuardContract } from '../support/vxlan-guard-contract';

const SIGNAL = new AbortController().signal;
const guardIn = (lab: FirewallLab) => new NftVxlanGuard(executeWith(['nsenter', `--net=${lab.host.path}`]));

describeVxlanGuardContract('Linux', async () => {
  const lab = await FirewallLab.bare();
  return { guard: guardIn(lab), close: () => lab.remove() };
});

const PEER = '192.168.0.9';
const STRANGER = '192.168.0.10';
const ADMISSION: Admission = {
  link: 'flannel.1',
  port: 8472,
  vni: 1,
  network: subnet('10.5.0.0/16'),
  family: 'ipv4',
  prefixLength: undefined,
  peers: [{ publicIp: ipAddress(PEER), subnet: subnet('10.5.2.0/24') }],
};

describe.each([
  ['subnets of one length', 24],
  ['subnets of any length', undefined],
])('the VXLAN port, with %s,', (_, prefixLength) => {
  const admission = { ...ADMISSION, prefixLength };
  let lab: FirewallLab;
  let guard: NftVxlanGuard;

  beforeAll(async () => {
    lab = await FirewallLab.make();
    guard = guardIn(lab);
    await lab.outside.ip('addr', 'add', `${STRANGER}/24`, 'dev', 'eth0');
    await lab.host.configure({ 'ipv4/conf/all/rp_filter': 0, 'ipv4/conf/default/rp_filter': 0 });
    for (const vni of ['1', '2']) {
      const options = ['id', vni, 'local', '192.168.0.1', 'dev', 'eth0', 'dstport', '8472', 'nolearning'];
      await lab.host.ip('link', 'add', `vxlan${vni}`, 'address', MACS[vni]!, 'type', 'vxlan', ...options);
      await lab.host.ip('addr', 'add', `10.5.1.20${vni}/32`, 'dev', `vxlan${vni}`);
      await lab.host.ip('link', 'set', `vxlan${vni}`, 'up');
    }
  });
  afterAll(() => lab.remove());
  beforeEach(() => lab.clearRules());

  /** Which of these packets reach the host's own overlay address. One that must reach it is sent last, so that we need not wait. */
  async function arrive(packets: readonly Packet[]): Promise<string[]> {
    const last = { from: PEER, source: '10.5.2.254', vni: 1 };
    const heard = await lab.heardOfVxlan(
      [...packets, last].map((packet) => ({ from: packet.from, bytes: vxlanPacket(packet).toString('hex') })),
      last.source,
    );
    return packets.filter(({ source }) => heard.includes(source)).map(({ name }) => name!);
  }

  const PACKETS: readonly Packet[] = [
    { name: 'peer, its own subnet', from: PEER, source: '10.5.2.2', vni: 1 },
    { name: 'peer, the subnet of another', from: PEER, source: '10.5.3.3', vni: 1 },
    { name: 'peer, our own subnet', from: PEER, source: '10.5.1.99', vni: 1 },
    { name: 'peer, a source outside of the network', from: PEER, source: '203.0.113.5', vni: 1 },
    { name: 'stranger, a subnet of a peer', from: STRANGER, source: '10.5.2.3', vni: 1 },
    { name: 'stranger, his own source', from: STRANGER, source: '203.0.113.6', vni: 1 },
    { name: 'stranger, another VXLAN network', from: STRANGER, source: '10.5.2.4', vni: 2 },
  ];

  it('is open to anybody without a guard', async () => {
    expect(await arrive(PACKETS)).toEqual(PACKETS.map(({ name }) => name));
  });

  it('is open to peers only, each with its own sources; other networks on the port are not touched', async () => {
    await guard.install(admission, SIGNAL);
    expect(await arrive(PACKETS)).toEqual([
      'peer, its own subnet',
      'peer, a source outside of the network',
      'stranger, another VXLAN network',
    ]);
  });

  it('nobody’s other packets are touched, whatever bytes they have where VXLAN has its number', async () => {
    await guard.install(admission, SIGNAL);
    // Bytes 12 to 14 of this echo request are 00 00 01.
    const ping = ['-n', '-c', '1', '-W', '2', '-s', '8', '-p', '010000', '-I', STRANGER, '192.168.0.1'];
    expect(await lab.outside.run('ping', ping)).toContain('1 received');
    expect(await lab.seen('ipv4', 'outside', 'pod', { own: STRANGER })).toBe(STRANGER);
  });

  it('opens for who joins, and closes for who leaves', async () => {
    await guard.install(admission, SIGNAL);
    const joined = { publicIp: ipAddress(STRANGER), subnet: subnet('10.5.10.0/24') };
    const packet = { name: 'joined', from: STRANGER, source: '10.5.10.2', vni: 1 };
    expect(await arrive([packet])).toEqual([]);
    const larger = { ...admission, peers: [...admission.peers, joined] };
    await guard.change(larger, [joined], [], SIGNAL);
    expect(await arrive([packet])).toEqual(['joined']);
    await guard.change(admission, [], [printAdmittedPeer(joined)], SIGNAL);
    expect(await arrive([packet])).toEqual([]);
  });

  it('a rule that somebody removed, added or moved is seen', async () => {
    const nft = (script: string) => lab.host.run('nft', ['-f', '-'], { input: `${script}\n` });
    const terms = async () => (await guard.observe('flannel.1', SIGNAL))?.terms;
    const table = 'inet vtepd-admission-flannel.1';
    for (const damage of [
      `flush chain ${table} input`,
      `insert rule ${table} input accept`,
      `add element ${table} peers { 192.168.0.77 }`,
      `delete element ${table} peers { ${PEER} }`,
    ]) {
      await guard.install(admission, SIGNAL);
      expect(await terms()).toBeDefined();
      await nft(damage);
      expect(await terms()).toBeUndefined();
    }
  });
});

interface Packet {
  readonly name?: string;
  readonly from: string;
  /** Of the inner packet. */
  readonly source: string;
  readonly vni: number;
}

const MACS: Readonly<Record<string, string>> = { '1': '02:00:00:00:00:01', '2': '02:00:00:00:00:02' };

/** VXLAN (RFC 7348), Ethernet, IPv4, and UDP without a checksum, that says 'group' to the host's station. */
function vxlanPacket({ source, vni }: Packet): Buffer {
  const text = Buffer.from('group');
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(40_000, 0);
  udp.writeUInt16BE(7_000, 2);
  udp.writeUInt16BE(8 + text.length, 4);
  const ip = Buffer.from([
    0x45,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    ...source.split('.').map(Number),
    10,
    5,
    1,
    200 + vni,
  ]);
  ip.writeUInt16BE(20 + 8 + text.length, 2);
  ip.writeUInt16BE(checksum(ip), 10);
  const mac = Buffer.from(MACS[String(vni)]!.replaceAll(':', ''), 'hex');
  const ethernet = Buffer.concat([mac, Buffer.from('020000000099', 'hex'), Buffer.from('0800', 'hex')]);
  const vxlan = Buffer.alloc(8);
  vxlan[0] = 8;
  vxlan.writeUInt32BE(vni << 8, 4);
  return Buffer.concat([vxlan, ethernet, ip, udp, text]);
}

function checksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
