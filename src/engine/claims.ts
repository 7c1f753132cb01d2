/** What this host brings forward when it looks for a lease, and what it says of the leases it finds. */
import {
  oddLeases,
  type Acquisition,
  type Claim,
  type RememberedLease,
  type ReservedSubnet,
} from '../core/acquisition';
import { printSubnet, type IpAddress, type Subnet } from '../model/address';
import type { Lease } from '../model/lease';
import type { MacAddress } from '../model/mac';
import type { SubnetRange } from '../model/network-config';
import type { Clock, Log } from '../ports';
import { printSome } from './complaints';

export interface ClaimOptions {
  readonly range: SubnetRange;
  /** Who we are at the moment: it changes when the underlay's address does. */
  readonly publicIp: () => IpAddress;
  /** The subnet of subnet.env. */
  readonly previous: Subnet | undefined;
  /** The lease that this host held before it was started; asked anew for each try. */
  readonly remembered?: () => RememberedLease | undefined;
  /** VTEP MACs of this host, now and before. */
  readonly ownMacs?: () => readonly (MacAddress | undefined)[];
  /** What of the network cannot be leased; asked anew for each try. */
  readonly reserved?: () => readonly ReservedSubnet[];
  /** False: rather none than another subnet than the one we have or had. */
  readonly mayRenumber: boolean;
}

/** Owns which leases we conceded to other hosts, and what was said. */
export class Claims {
  readonly #conceded = new Set<string>();
  readonly #said = new Set<string>();

  constructor(
    private readonly clock: Pick<Clock, 'random'>,
    private readonly log: Log,
    private readonly options: ClaimOptions,
  ) {}

  /** Says what is odd about these leases, each oddity once. `held`: the lease that we hold or have lost. */
  next(
    held: Lease | undefined,
    leases: readonly Lease[],
    avoid: readonly Subnet[],
    isGrantedToUs: (etcdLeaseId: string) => boolean,
  ): Claim {
    const { range, mayRenumber, publicIp, previous, remembered, ownMacs, reserved } = this.options;
    const claim: Claim = {
      ...{ range, mayRenumber, avoid, isGrantedToUs },
      publicIp: publicIp(),
      previous: held?.subnet ?? previous,
      // What we hold now is newer.
      remembered: held ? undefined : remembered?.(),
      ownMacs: ownMacs?.() ?? [],
      conceded: this.#conceded,
      reserved: reserved?.() ?? [],
      random: this.clock.random(),
    };
    for (const { lease, reason } of oddLeases(claim, leases)) {
      const key = `${lease.name} ${reason}`;
      if (this.#said.has(key)) continue;
      this.#said.add(key);
      this.log.warn('a lease with our PublicIP is not ours to use', { lease: lease.name, reason });
    }
    return claim;
  }

  /** Another host lives and keeps the lease that we remember. */
  concede({ name }: Lease): void {
    this.#conceded.add(name);
    this.log.warn('the lease that this host remembers is held by another host, which lives; taking another', {
      lease: name,
      advice: 'one of the two is a copy of the other: give it a machine ID and a state file of its own',
    });
  }
}

/** Why there is no subnet, and what to do. */
export function describeExhaustion(
  network: Subnet,
  { blocked = [], oversized = [] }: Extract<Acquisition, { kind: 'exhausted' }>,
  /** Keys that cannot be read count as taken. */
  unreadable: readonly string[] = [],
): string {
  const name = printSubnet(network);
  if (oversized.length > 0) {
    const keys = oversized.map(
      (lease) => `${lease.name} (PublicIP ${lease.attributes.publicIp ?? 'unknown'})`,
    );
    return (
      `larger leases than this network gives to a host take the subnets of ${name}: ${printSome(keys)}; ` +
      'delete such a key in etcd if no host uses it (it may be of an earlier configuration)'
    );
  }
  if (blocked.length === 0 && unreadable.length > 0)
    return (
      `every subnet of ${name} is leased, or has a key that cannot be read (${printSome(unreadable)}); ` +
      'delete such keys in etcd, free another subnet, or enlarge the network'
    );
  if (blocked.length === 0) return `every subnet of ${name} is leased; free one, or enlarge the network`;
  const whats = [...new Set(blocked.map(({ what }) => what))];
  return (
    `every subnet of ${name} that is not leased holds what this host reaches otherwise (${printSome(whats)}); ` +
    'free another, or choose a network apart from those of the hosts'
  );
}
