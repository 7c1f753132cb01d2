/** What flannel does to the kernel of its host, by the commands whose netlink messages it sends. */
import type { Host } from '../lab/host';

/**
 * `0.5.5`: neighbors by miss handling. `0.22` (the same as 0.20 in all that is seen from outside) and `0.28`: a neighbor, an FDB
 * entry and a route for each peer.
 */
export type FlannelVersion = '0.5.5' | '0.22' | '0.28';

/** `10.5.7.0-24` in its two parts. */
export function partsOf(subnet: string): { address: string; length: string } {
  const [address, length] = subnet.split('-') as [string, string];
  return { address, length };
}

export interface FlannelPeer {
  readonly subnet: string;
  readonly publicIp: string;
  readonly mac: string;
}

interface LinkDescription {
  readonly address: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: {
      readonly id?: number;
      readonly link?: string;
      readonly local?: string;
      readonly port?: number;
      readonly l2miss?: boolean;
      readonly gbp?: boolean;
    };
  };
}

export class FlannelDevice {
  constructor(
    private readonly host: Host,
    private readonly version: FlannelVersion,
  ) {}

  /**
   * Makes flannel.1, or takes the one that is there, if flannel would. Returns its MAC, and why the one that was there was not
   * good enough.
   */
  async ensure(): Promise<{ mac: string; misfit: string | undefined }> {
    const ensured = await this.#ensureLink();
    // Since 0.13, whether it made the device or found it; an error is ignored.
    if (this.version !== '0.5.5')
      await this.host.namespace.configure({ 'ipv6/conf/flannel.1/accept_ra': 0 }).catch(() => undefined);
    return ensured;
  }

  async #ensureLink(): Promise<{ mac: string; misfit: string | undefined }> {
    const existing = await this.#find();
    const misfit = existing && this.#misfitOf(existing);
    if (existing && misfit === undefined) return { mac: existing.address, misfit };
    if (existing) await this.host.namespace.ip('link', 'del', 'flannel.1');
    // The kernel chooses MAC and MTU for 0.5.5; the others have no queue, by accident.
    const own =
      this.version === '0.5.5'
        ? ''
        : `address ${randomMac()} mtu ${(await this.#underlayMtu()) - 50} txqueuelen 0`;
    await this.host.namespace.batch([
      `link add flannel.1 ${own} type vxlan id 1 local ${this.host.publicIp} dev eth0 dstport 8472 nolearning`,
    ]);
    return { mac: (await this.#find())!.address, misfit };
  }

  /** The address of flannel's device, and what else it wants there before peers. */
  async configure(subnet: string, network: string): Promise<void> {
    const { address } = partsOf(subnet);
    const { namespace } = this.host;
    const [wanted, others] =
      this.version === '0.5.5'
        ? [`${address}/${network.split('/')[1]}`, () => true]
        : [
            `${address}/32`,
            (local: string) => local.startsWith(`${network.split('.').slice(0, 2).join('.')}.`),
          ];
    const present = await this.#addresses();
    for (const text of present)
      if (text !== wanted && others(text)) await namespace.ip('address', 'del', text, 'dev', 'flannel.1');
    if (!present.includes(wanted)) await namespace.ip('address', 'add', wanted, 'dev', 'flannel.1');
    await namespace.ip('link', 'set', 'flannel.1', 'up');
    if (this.version !== '0.5.5') return;
    await namespace.configure({ 'ipv4/neigh/flannel.1/app_solicit': 3 });
    // There already is the one that came with the address, and 0.5.5 takes that for good, too.
    await namespace.attempt('ip', [
      'route',
      'add',
      network,
      'dev',
      'flannel.1',
      'proto',
      'boot',
      'scope',
      'global',
    ]);
  }

  async put(peer: FlannelPeer): Promise<void> {
    const { address, length } = partsOf(peer.subnet);
    const fdb = ['dev', 'flannel.1', 'dst', peer.publicIp, 'self', 'permanent'];
    if (this.version === '0.5.5') {
      // It insists on a new entry: of a peer with the same MAC at another address it hears nothing.
      await this.host.namespace.attempt('bridge', ['fdb', 'add', peer.mac, ...fdb]);
      return;
    }
    await this.host.namespace.batch([
      `neigh replace ${address} lladdr ${peer.mac} dev flannel.1 nud permanent`,
    ]);
    await this.host.namespace.bridgeBatch([`fdb replace ${peer.mac} ${fdb.join(' ')}`]);
    await this.host.namespace.batch([
      `route replace ${address}/${length} via ${address} dev flannel.1 onlink proto boot scope global`,
    ]);
  }

  /** All attempted, whatever fails. */
  async remove(peer: FlannelPeer): Promise<void> {
    const { address, length } = partsOf(peer.subnet);
    const { namespace } = this.host;
    if (this.version !== '0.5.5')
      await namespace.attempt('ip', ['neigh', 'del', address, 'dev', 'flannel.1']);
    await namespace.attempt('bridge', [
      'fdb',
      'del',
      peer.mac,
      'dev',
      'flannel.1',
      'dst',
      peer.publicIp,
      'self',
    ]);
    if (this.version !== '0.5.5')
      await namespace.attempt('ip', [
        'route',
        'del',
        `${address}/${length}`,
        'via',
        address,
        'dev',
        'flannel.1',
      ]);
  }

  /** What 0.5.5 does once, when it knows all peers: FDB entries that lead anywhere else go. */
  async removeAllBut(peers: readonly FlannelPeer[]): Promise<void> {
    const wanted = new Set(peers.map(({ mac, publicIp }) => `${mac} ${publicIp}`));
    const others = (await this.host.fdb()).filter(({ mac, dst }) => dst && !wanted.has(`${mac} ${dst}`));
    await this.host.namespace.bridgeBatch(
      others.map(({ mac, dst }) => `fdb del ${mac} dev flannel.1 dst ${dst} self`),
    );
  }

  /** What flannel compares when there is a flannel.1 already. Not compared: MTU, learning, MAC, state. */
  #misfitOf({ linkinfo }: LinkDescription): string | undefined {
    if (linkinfo?.info_kind !== 'vxlan') return 'link type';
    const { id, link, local, port, l2miss, gbp } = linkinfo.info_data ?? {};
    if (id !== 1) return 'VNI';
    if (link !== undefined && link !== 'eth0') return 'parent';
    if (local !== undefined && local !== this.host.publicIp) return 'local address';
    if (l2miss === true) return 'L2MISS';
    if (port !== undefined && port !== 8472) return 'port';
    return gbp === true ? 'GBP' : undefined;
  }

  async #find(): Promise<LinkDescription | undefined> {
    const links = await this.host.namespace.ipJson<LinkDescription & { ifname: string }>('link', 'show');
    return links.find(({ ifname }) => ifname === 'flannel.1');
  }

  async #addresses(): Promise<string[]> {
    const [row] = await this.host.namespace.ipJson<{ addr_info: { local: string; prefixlen: number }[] }>(
      '-4',
      ...['address', 'show', 'dev', 'flannel.1'],
    );
    return (row?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  }

  async #underlayMtu(): Promise<number> {
    const [link] = await this.host.namespace.ipJson<{ mtu: number }>('link', 'show', 'dev', 'eth0');
    return link!.mtu;
  }
}

/** Local and of one station, as flannel makes them. */
function randomMac(): string {
  const bytes = Array.from({ length: 6 }, () => Math.floor(Math.random() * 256));
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
