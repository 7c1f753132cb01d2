/** Which interface carries the overlay: flannel's rules, and an explanation for a person. */
import { familyOf, parseIpAddress, type Family, type IpAddress } from '../model/address';
import type { Underlay } from '../model/overlay';
import type { InterfaceAddress, NetworkInterface, ResolvedRoute } from '../model/network-interface';

export interface UnderlayWish {
  /** Names or addresses, in order of preference. */
  readonly iface: readonly string[];
  /** Regular expressions on addresses, then names; after all of `iface`. */
  readonly ifaceRegex: readonly string[];
  /** The route to `--iface-can-reach`, if that was given: its address, and the kernel's answer. */
  readonly canReach: { readonly address: IpAddress; readonly route: ResolvedRoute | undefined } | undefined;
  readonly publicIp: IpAddress | undefined;
}

export type UnderlayChoice =
  | { readonly kind: 'chosen'; readonly underlay: Underlay; readonly because: string }
  /** `reason` names what was looked for and what there is. */
  | { readonly kind: 'none'; readonly reason: string };

/** Chooses as flannel does: each `--iface`, each `--iface-regex`, `--iface-can-reach`; with none given, by PublicIP, then the default route. */
export function chooseUnderlay(
  wish: UnderlayWish,
  interfaces: readonly NetworkInterface[],
  defaultRoutes: readonly ResolvedRoute[],
  family: Family = 'ipv4',
): UnderlayChoice {
  const found =
    wish.iface.length + wish.ifaceRegex.length > 0 || wish.canReach
      ? byWish(wish, interfaces, family)
      : byDefault(wish, interfaces, defaultRoutes, family);
  if (typeof found === 'string') return { kind: 'none', reason: `${found}; there are: ${list(interfaces)}` };
  const { nic, address, because } = found;
  if (nic.mtu === 0) return { kind: 'none', reason: `interface ${nic.name} has an MTU of 0` };
  const underlay = {
    name: nic.name,
    index: nic.index,
    mtu: nic.mtu,
    address,
    publicIp: wish.publicIp ?? address,
  };
  return { kind: 'chosen', underlay, because };
}

interface Found {
  readonly nic: NetworkInterface;
  readonly address: IpAddress;
  readonly because: string;
}

function byWish(wish: UnderlayWish, interfaces: readonly NetworkInterface[], family: Family): Found | string {
  const missed: string[] = [];
  for (const text of wish.iface) {
    const found = byNameOrAddress(text, interfaces, family);
    if (typeof found !== 'string') return found;
    missed.push(found);
  }
  for (const text of wish.ifaceRegex) {
    const found = byRegex(new RegExp(text), interfaces, family);
    if (found) return found;
    missed.push(`no interface has an address or a name that matches '${text}'`);
  }
  if (wish.canReach) {
    const { address: target, route } = wish.canReach;
    const nic = interfaces.find(({ index }) => index === route?.interfaceIndex);
    const address = route?.source ?? (nic && bestAddress(nic, family)?.address);
    if (nic && address) return { nic, address, because: `it is the way to ${target}` };
    missed.push(`there is no route to ${target}`);
  }
  return missed.join('; ');
}

function byDefault(
  wish: UnderlayWish,
  interfaces: readonly NetworkInterface[],
  defaultRoutes: readonly ResolvedRoute[],
  family: Family,
): Found | string {
  if (wish.publicIp) {
    const nic = holderOf(wish.publicIp, interfaces);
    if (nic) return { nic, address: wish.publicIp, because: `it has the public IP ${wish.publicIp}` };
    return `no interface has the address ${wish.publicIp} (--public-ip); name the interface with --iface if it is behind NAT`;
  }
  const byIndex = (index: number) => interfaces.find((nic) => nic.index === index);
  for (const route of defaultRoutes) {
    const nic = byIndex(route.interfaceIndex);
    const address = nic && bestAddress(nic, family)?.address;
    if (nic && address) return { nic, address, because: 'it has the default route' };
  }
  return `no default route leads through an interface with an ${family === 'ipv4' ? 'IPv4' : 'IPv6'} address; choose with --iface`;
}

function byNameOrAddress(
  text: string,
  interfaces: readonly NetworkInterface[],
  family: Family,
): Found | string {
  const address = parseIpAddress(text);
  if (address) {
    const nic = holderOf(address, interfaces);
    return nic
      ? { nic, address, because: `it has the address ${address}` }
      : `no interface has the address ${address}`;
  }
  const nic = interfaces.find(({ name }) => name === text);
  if (!nic) return `there is no interface '${text}'`;
  const best = bestAddress(nic, family);
  if (!best) return `interface ${text} has no ${family === 'ipv4' ? 'IPv4' : 'IPv6'} address`;
  return { nic, address: best.address, because: `--iface names it` };
}

function byRegex(regex: RegExp, interfaces: readonly NetworkInterface[], family: Family): Found | undefined {
  for (const nic of interfaces) {
    const match = nic.addresses.find(({ address }) => familyOf(address) === family && regex.test(address));
    if (match) return { nic, address: match.address, because: `its address matches ${regex.source}` };
  }
  for (const nic of interfaces) {
    const best = regex.test(nic.name) ? bestAddress(nic, family) : undefined;
    if (best) return { nic, address: best.address, because: `its name matches ${regex.source}` };
  }
  return undefined;
}

function holderOf(address: IpAddress, interfaces: readonly NetworkInterface[]): NetworkInterface | undefined {
  return interfaces.find((nic) => nic.addresses.some((own) => own.address === address));
}

/** Global before link-local, configured before dynamic, lasting before temporary; never a deprecated one. */
function bestAddress(nic: NetworkInterface, family: Family): InterfaceAddress | undefined {
  const penalty = (own: InterfaceAddress) =>
    (own.scope === 'global' ? 0 : 4) + (own.permanent ? 0 : 2) + (own.temporary ? 1 : 0);
  return nic.addresses
    .filter((own) => familyOf(own.address) === family && !own.deprecated)
    .sort((a, b) => penalty(a) - penalty(b))[0];
}

function list(interfaces: readonly NetworkInterface[]): string {
  return interfaces
    .map((nic) => `${nic.name} (${nic.addresses.map(({ address }) => address).join(' ') || 'no address'})`)
    .join(', ');
}
