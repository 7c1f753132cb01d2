/** Whether the underlay can carry packets, as far as this host can tell. */
import { contains, familyOf, subnetOf, type IpAddress } from '../model/address';
import type { HostNetwork, NetworkInterface, ResolvedRoute } from '../model/network-interface';
import type { Underlay } from '../model/overlay';
import { OVERLAY_DEVICE } from './underlay-candidates';

/** So many peers are asked for, at as many places as possible; a host has few routes. */
export const ASKED_PEERS = 16;
/** They are chosen from so many: of ten thousand, the choice alone would take milliseconds. */
const CONSIDERED_PEERS = 256;
/** Peers of one such network are reached by one route. */
const PLACE_BITS = { ipv4: 24, ipv6: 64 } as const;

export interface UnderlayState {
  /** No packet of the overlay gets through, because of this; undefined: some may. */
  readonly outage: string | undefined;
  /** Packets for these peers do not. */
  readonly remark: string | undefined;
}

/** The route to a peer; undefined where the kernel has none. */
export interface PeerRoute {
  readonly peer: IpAddress;
  readonly route: ResolvedRoute | undefined;
}

/** Some of these PublicIPs, all of a few: of as many networks as possible, those that are not neighbors of the underlay's address first. */
export function peersToAsk(
  underlay: Underlay,
  interfaces: readonly NetworkInterface[],
  publicIps: Iterable<IpAddress>,
): IpAddress[] {
  const nic = interfaces.find(({ index }) => index === underlay.index);
  const near = nic?.addresses.map(({ address, prefixLength, peer }) =>
    subnetOf(peer ?? address, prefixLength),
  );
  const [far, close] = [new Map<string, IpAddress>(), new Map<string, IpAddress>()];
  const others: IpAddress[] = [];
  let considered = 0;
  for (const publicIp of publicIps) {
    const place = subnetOf(publicIp, PLACE_BITS[familyOf(publicIp)]).address;
    const group = near?.some((subnet) => contains(subnet, publicIp)) ? close : far;
    if (!group.has(place)) group.set(place, publicIp);
    else if (others.length < ASKED_PEERS) others.push(publicIp);
    if (far.size >= ASKED_PEERS || ++considered >= CONSIDERED_PEERS) break;
  }
  return [...far.values(), ...close.values(), ...others].slice(0, ASKED_PEERS);
}

/** `routes` are those to {@link peersToAsk}. */
export function stateOf(
  underlay: Underlay,
  { interfaces }: HostNetwork,
  routes: readonly PeerRoute[],
): UnderlayState {
  const outage = outageOf(underlay, interfaces, routes);
  if (outage !== undefined) return { outage, remark: undefined };
  // No outage: what other hosts write into their leases does not decide how this one is.
  const isOverlay = (index: number) =>
    interfaces.some((nic) => nic.index === index && OVERLAY_DEVICE.test(nic.name));
  const lost = routes.filter(({ route }) => route === undefined);
  const looped = routes.filter(({ route }) => route && isOverlay(route.interfaceIndex));
  const remarks = [
    ...(lost.length > 0 ? [`there is no route to ${printLost(lost, routes)}`] : []),
    ...(looped.length > 0
      ? [
          `the route to ${printLost(looped, routes)} leads into the overlay itself; give ${looped.length > 1 ? 'them' : 'it'} one by ${underlay.name}`,
        ]
      : []),
  ];
  return { outage, remark: remarks.length > 0 ? remarks.join('; ') : undefined };
}

function printLost(lost: readonly PeerRoute[], routes: readonly PeerRoute[]): string {
  const names = lost.slice(0, 3).map(({ peer }) => peer);
  const left = lost.length > 3 ? `, and ${lost.length - 3} more` : '';
  return `${lost.length === routes.length ? 'any peer' : 'some peers'}: ${names.join(', ')}${left}`;
}

function outageOf(
  { name, index, address }: Underlay,
  interfaces: readonly NetworkInterface[],
  routes: readonly PeerRoute[],
): string | undefined {
  const nic = interfaces.find((each) => each.index === index);
  if (!nic) return `${name} is gone`;
  if (!nic.up) return `${name} is down`;
  if (!nic.addresses.some((own) => own.address === address))
    return `${name} does not have its address ${address} any more`;
  // A host that is reached by several interfaces may have the address on one that needs no cable.
  const isPassed = routes.length > 0 && routes.every(({ route }) => route && route.interfaceIndex !== index);
  return nic.carrier || isPassed ? undefined : `${name} has no carrier: nothing answers at its other end`;
}
