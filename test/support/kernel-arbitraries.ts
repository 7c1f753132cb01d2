/** Random kernel objects, as fast-check makes them. */
import fc from 'fast-check';
import { bytesToAddress, subnetOf, type Family, type IpAddress, type Subnet } from '../../src/model/address';
import {
  ROUTE_PROTOCOL,
  BLACKHOLE_METRIC,
  UNREACHABLE_METRIC,
  type FdbEntry,
  type LinkAddress,
  type Neighbor,
  type Route,
} from '../../src/model/kernel-state';
import { bytesToMac, localMacOf } from '../../src/model/mac';

export const LINK_NAME = 'flannel.1';

export const family = fc.constantFrom<Family>('ipv4', 'ipv6');

/** A unicast address: 10.x.x.x, or fd… */
export function unicastAddress(of: Family): fc.Arbitrary<IpAddress> {
  const length = of === 'ipv4' ? 3 : 15;
  const first = of === 'ipv4' ? 10 : 0xfd;
  return fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((bytes) => bytesToAddress(Uint8Array.of(first, ...bytes)));
}

export function subnetIn(of: Family): fc.Arbitrary<Subnet> {
  const [min, max] = of === 'ipv4' ? [9, 32] : [9, 128];
  return fc
    .tuple(unicastAddress(of), fc.integer({ min, max }))
    .map(([address, prefixLength]) => subnetOf(address, prefixLength));
}

export const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .map((bytes) => bytesToMac(Uint8Array.from(localMacOf(bytes).split(':'), (octet) => parseInt(octet, 16))));

export const fdbEntry: fc.Arbitrary<FdbEntry> = fc
  .tuple(mac, family.chain(unicastAddress))
  .map(([of, destination]) => ({ kind: 'fdb-entry', link: LINK_NAME, mac: of, destination }));

export const neighbor: fc.Arbitrary<Neighbor> = fc
  .tuple(family.chain(unicastAddress), mac, fc.constantFrom('permanent', 'learned', 'failed'))
  .map(([address, of, state]) => ({
    kind: 'neighbor',
    link: LINK_NAME,
    address,
    mac: state === 'failed' ? undefined : of,
    state,
  }));

export const linkAddress: fc.Arbitrary<LinkAddress> = family.chain(unicastAddress).map((address) => ({
  kind: 'address',
  link: LINK_NAME,
  address,
  prefixLength: address.includes(':') ? 128 : 32,
}));

const METRICS = { unreachable: UNREACHABLE_METRIC, blackhole: BLACKHOLE_METRIC } as const;

/** A network route, a peer's, or one that leads nowhere. `source`: one that may be named as preferred. */
export function route(source: IpAddress | undefined): fc.Arbitrary<Route> {
  return fc
    .tuple(
      family.chain(subnetIn),
      fc.constantFrom('network', 'peer', 'unreachable', 'blackhole'),
      fc.integer({ min: 1, max: 70_000 }),
    )
    .map(([destination, what, metric]) => ({
      kind: 'route',
      type: what === 'unreachable' || what === 'blackhole' ? what : 'unicast',
      destination,
      link: what === 'unreachable' || what === 'blackhole' ? undefined : LINK_NAME,
      gateway: what === 'peer' ? destination.address : undefined,
      source: what === 'network' && !destination.address.includes(':') ? source : undefined,
      metric: METRICS[what as keyof typeof METRICS] ?? metric,
      protocol: ROUTE_PROTOCOL,
    }));
}
