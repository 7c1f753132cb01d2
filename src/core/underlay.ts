/** Which interface carries the overlay: flannel's rules, and an explanation for a person. */
import { parseIpAddress, type Family, type IpAddress } from '../model/address';
import type { NetworkInterface, ResolvedRoute } from '../model/network-interface';
import type { Underlay } from '../model/overlay';
import {
  bestOf,
  candidatesOf,
  homesAmong,
  isFoundBySearch,
  whyNeverUnderlay,
  whyUnusable,
  type Candidate,
  type Preferences,
  type UnderlayPast,
} from './underlay-candidates';

const ETHERNET_MTU = 1_500;

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
  | {
      readonly kind: 'chosen';
      readonly underlay: Underlay;
      readonly because: string;
      /** The interface that carried the overlay before; it is there, and has nothing to be chosen by yet. */
      readonly missing?: string;
    }
  /** `reason` names what was looked for and what there is. */
  | { readonly kind: 'none'; readonly reason: string };

interface View extends Preferences {
  readonly family: Family;
}

/**
 * Chooses as flannel does: each `--iface`, each `--iface-regex`, `--iface-can-reach`; with none given, by PublicIP, then the
 * default route. What the host was before decides only between candidates that the wish does not tell apart.
 */
export function chooseUnderlay(
  wish: UnderlayWish,
  interfaces: readonly NetworkInterface[],
  defaultRoutes: readonly ResolvedRoute[],
  family: Family = 'ipv4',
  past: UnderlayPast = {},
): UnderlayChoice {
  const view: View = { hostNetwork: { interfaces, defaultRoutes }, past, family };
  const isAsked = wish.iface.length + wish.ifaceRegex.length > 0 || wish.canReach;
  const found = isAsked ? byWish(wish, view) : byDefault(wish, view);
  if (typeof found === 'string') return { kind: 'none', reason: `${found}; there are: ${list(interfaces)}` };
  const { nic, address, because } = found;
  if (nic.mtu === 0) return { kind: 'none', reason: `interface ${nic.name} has an MTU of 0` };
  const publicIp = wish.publicIp ?? address;
  const underlay = { name: nic.name, index: nic.index, mtu: mtuOf(nic, view), address, publicIp };
  const missing = found.isNamed ? undefined : missingHome(wish, nic, view);
  return { kind: 'chosen', underlay, because, ...(missing ? { missing } : {}) };
}

/** Routes lead what has the loopback's address out by other interfaces: by those of the default route, or by any that could be the underlay. */
function mtuOf({ loopback, mtu }: NetworkInterface, { hostNetwork, past, family }: View): number {
  if (!loopback) return mtu;
  const outward = hostNetwork.interfaces.filter(
    (nic) => isFoundBySearch(nic) && candidatesOf(nic, family, past).length > 0,
  );
  const byDefault = outward.filter(({ index }) =>
    hostNetwork.defaultRoutes.some(({ interfaceIndex }) => interfaceIndex === index),
  );
  const carriers = byDefault.length > 0 ? byDefault : outward;
  return Math.min(mtu, ...(carriers.length > 0 ? carriers.map((nic) => nic.mtu) : [ETHERNET_MTU]));
}

interface Found {
  readonly nic: NetworkInterface;
  readonly address: IpAddress;
  readonly because: string;
  /** The user named this very interface or address. */
  readonly isNamed?: true;
}

function byWish(wish: UnderlayWish, view: View): Found | string {
  const missed: string[] = [];
  for (const text of wish.iface) {
    const found = byNameOrAddress(text, view);
    if (typeof found !== 'string') return { ...found, isNamed: true };
    missed.push(found);
  }
  for (const text of wish.ifaceRegex) {
    const found = byRegex(new RegExp(text), view);
    if (found) return found;
    missed.push(`no interface has an address or a name that matches '${text}'`);
  }
  if (wish.canReach) {
    const found = byRoute(wish.canReach, view);
    if (typeof found !== 'string') return found;
    missed.push(found);
  }
  return missed.join('; ');
}

function byDefault(wish: UnderlayWish, view: View): Found | string {
  const { interfaces, defaultRoutes } = view.hostNetwork;
  if (wish.publicIp) {
    const found = byAddress(wish.publicIp, view, `it has the public IP ${wish.publicIp}`);
    if (typeof found !== 'string') return { ...found, isNamed: true };
    return `${found} (--public-ip); name the interface with --iface if it is behind NAT`;
  }
  const nics = defaultRoutes.flatMap(
    ({ interfaceIndex }) => interfaces.find((nic) => nic.index === interfaceIndex) ?? [],
  );
  const candidates = [...new Set(nics)].flatMap((nic) =>
    isFoundBySearch(nic) ? candidatesOf(nic, view.family, view.past) : [],
  );
  return (
    best(candidates, view, 'it has the default route') ??
    `no default route leads through an interface with an ${nameOf(view.family)} address; choose with --iface`
  );
}

function byNameOrAddress(text: string, view: View): Found | string {
  const address = parseIpAddress(text);
  if (address) return byAddress(address, view, `it has the address ${address}`);
  const nic = view.hostNetwork.interfaces.find(({ name }) => name === text);
  if (!nic) return `there is no interface '${text}'`;
  const never = whyNeverUnderlay(nic, view.past);
  if (never) return `interface ${text} is ${never}, and cannot carry it`;
  return (
    best(candidatesOf(nic, view.family, view.past), view, `--iface names it`) ??
    `interface ${text} has no ${nameOf(view.family)} address${nic.loopback ? ' that other hosts can reach' : ''}`
  );
}

function byAddress(address: IpAddress, { hostNetwork, past }: View, because: string): Found | string {
  const nic = hostNetwork.interfaces.find(({ addresses }) =>
    addresses.some((own) => own.address === address),
  );
  if (!nic) return `no interface has the address ${address}`;
  const never = whyNeverUnderlay(nic, past);
  if (never) return `${address} is the address of ${nic.name}, ${never}`;
  const own = nic.addresses.find((each) => each.address === address)!;
  const unusable = whyUnusable(own, past);
  return unusable ? `${address} is ${unusable}` : { nic, address, because };
}

function byRegex(regex: RegExp, view: View): Found | undefined {
  const candidates = view.hostNetwork.interfaces
    .filter(isFoundBySearch)
    .flatMap((nic) => candidatesOf(nic, view.family, view.past));
  const matching = candidates.filter(({ own }) => regex.test(own.address));
  const named = candidates.filter(({ nic }) => regex.test(nic.name));
  return (
    best(matching, view, `its address matches ${regex.source}`) ??
    best(named, view, `its name matches ${regex.source}`)
  );
}

function byRoute({ address, route }: NonNullable<UnderlayWish['canReach']>, view: View): Found | string {
  const { interfaces } = view.hostNetwork;
  const nic = interfaces.find(({ index }) => index === route?.interfaceIndex);
  const because = `it is the way to ${address}`;
  if (!route || !nic) return `there is no route to ${address}`;
  // To an address of this host the kernel goes by the loopback.
  if (nic.loopback && route.source) return byAddress(route.source, view, because);
  const candidates = isFoundBySearch(nic) ? candidatesOf(nic, view.family, view.past) : [];
  return (
    best(candidates, { ...view, source: route.source }, because) ??
    `the way to ${address} leads through ${nic.name}, which ${whyNot(nic, view)}`
  );
}

function whyNot(nic: NetworkInterface, view: View): string {
  const never = whyNeverUnderlay(nic, view.past);
  if (never) return `is ${never}`;
  if (!isFoundBySearch(nic)) return nic.loopback ? 'is the loopback' : 'is for containers alone';
  return `has no ${nameOf(view.family)} address`;
}

function best(candidates: readonly Candidate[], view: View, because: string): Found | undefined {
  const found = bestOf(candidates, view);
  return found && { nic: found.nic, address: found.own.address, because };
}

/** The interface that carried the overlay before, if it is there but has nothing to be chosen by yet. */
function missingHome(wish: UnderlayWish, chosen: NetworkInterface, view: View): string | undefined {
  const homes = homesAmong(view.hostNetwork.interfaces, view.past);
  const [home] = homes;
  if (!home || homes.includes(chosen)) return undefined;
  // A wish that would not have found it then does not wait for it now.
  const { addresses = [] } = view.past;
  const wasWished = (text: string) =>
    new RegExp(text).test(home.name) || addresses.some((address) => new RegExp(text).test(address));
  if (wish.ifaceRegex.length > 0 && !wish.ifaceRegex.some(wasWished)) return undefined;
  return home.name;
}

function nameOf(family: Family): string {
  return family === 'ipv4' ? 'IPv4' : 'IPv6';
}

function list(interfaces: readonly NetworkInterface[]): string {
  return interfaces
    .map((nic) => `${nic.name} (${nic.addresses.map(({ address }) => address).join(' ') || 'no address'})`)
    .join(', ');
}
