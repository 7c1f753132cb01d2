/** VXLAN packets, byte by byte (RFC 7348): what a stranger would forge. */

export interface InnerPacket {
  readonly vni: number;
  /** The VTEP's MAC, where the outer packet goes. */
  readonly mac: string;
  /** The sender that the inner packet names. */
  readonly source: string;
  readonly destination: string;
  /** `udp`: to port 7000, and says 'group'; `arp`: a request for the destination; `ipv6`: to all nodes of the link; `tagged`: as `udp`, behind a tag of 802.1Q with VID 0. */
  readonly kind?: 'udp' | 'arp' | 'ipv6' | 'tagged' | undefined;
}

export function vxlanPacket(packet: InnerPacket): Buffer {
  const { vni, mac, kind = 'udp' } = packet;
  const vxlan = Buffer.alloc(8);
  vxlan[0] = 8;
  vxlan.writeUInt32BE(vni << 8, 4);
  const [protocol, content] = CONTENTS[kind](packet);
  const ethernet = Buffer.concat([bytesOf(mac), bytesOf(SENDER_MAC), Buffer.from(protocol, 'hex')]);
  return Buffer.concat([vxlan, ethernet, content]);
}

const SENDER_MAC = '02:00:00:00:00:99';
const CONTENTS: Readonly<
  Record<'udp' | 'arp' | 'ipv6' | 'tagged', (packet: InnerPacket) => [string, Buffer]>
> = {
  udp: (packet) => ['0800', ipv4(packet)],
  tagged: (packet) => ['8100', Buffer.concat([Buffer.from('00000800', 'hex'), ipv4(packet)])],
  arp: ({ source, destination }) => [
    '0806',
    Buffer.concat([
      Buffer.from('0001080006040001', 'hex'),
      bytesOf(SENDER_MAC),
      addressOf(source),
      Buffer.alloc(6),
      addressOf(destination),
    ]),
  ],
  ipv6: () => [
    '86dd',
    Buffer.from(
      `6000000000003bff${'fe80000000000000'}00000000000000ff${'ff02000000000000'}0000000000000001`,
      'hex',
    ),
  ],
};

/** UDP without a checksum. */
function ipv4({ source, destination }: InnerPacket): Buffer {
  const text = Buffer.from('group');
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(40_000, 0);
  udp.writeUInt16BE(7_000, 2);
  udp.writeUInt16BE(8 + text.length, 4);
  const ip = Buffer.concat([
    Buffer.from('450000000000000040110000', 'hex'),
    addressOf(source),
    addressOf(destination),
  ]);
  ip.writeUInt16BE(20 + 8 + text.length, 2);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([ip, udp, text]);
}

function addressOf(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number));
}

function bytesOf(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function checksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
