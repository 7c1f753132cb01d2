/** Leases as flannel keeps them in etcd: who holds which subnet, and how the holder is reached. */
import type { IpAddress, Subnet } from './address';

/** How long a lease lives without being kept alive: flannel's constant of 24 hours. */
export const LEASE_TTL_SECONDS = 86_400;

/**
 * What a host says of itself (the JSON value of its key). `backendData` and `backendV6Data` are whatever the backend wrote;
 * for vxlan see {@link vxlanDataOf}. Source: flannel's `LeaseAttrs`.
 */
export interface LeaseAttributes {
  readonly publicIp: IpAddress | undefined;
  readonly publicIpv6: IpAddress | undefined;
  /** `vxlan`, `host-gw`, …; empty when the holder wrote none (flannel's udp, alloc). */
  readonly backendType: string;
  readonly backendData: unknown;
  readonly backendV6Data: unknown;
}

/** The subnets one lease gives: `ipv6Subnet` only in a dual-stack network. */
export interface LeaseSubnets {
  readonly subnet: Subnet;
  readonly ipv6Subnet: Subnet | undefined;
}

/** A lease as read from the registry. */
export interface Lease extends LeaseSubnets {
  /** The last part of its key: `10.5.52.0-24` or `10.5.52.0-24&fd00::-64`. Identifies the lease. */
  readonly name: string;
  readonly attributes: LeaseAttributes;
  /** The etcd lease its key is attached to, a decimal number; undefined for a reservation, which never expires. */
  readonly etcdLeaseId: string | undefined;
  /** The registry's revision of its last change, a decimal number; changes with every write of the key. */
  readonly modRevision: string;
  /** The registry's revision when its key came to be, a decimal number: of two leases, the older one. */
  readonly createRevision: string;
}

/** A key below `<prefix>/subnets` that is not a lease we can read. */
export interface MalformedLease {
  readonly name: string;
  /** What is wrong, for a person: `value is not JSON`, `key names no subnet`. */
  readonly reason: string;
  /** As for a {@link Lease}: lets the owner of the key write over it by compare-and-swap. */
  readonly etcdLeaseId: string | undefined;
  readonly modRevision: string;
}

/** True if both say the same of their host, whatever the order of fields in their backend data. */
export function sameAttributes(a: LeaseAttributes, b: LeaseAttributes): boolean {
  return (
    a.publicIp === b.publicIp &&
    a.publicIpv6 === b.publicIpv6 &&
    a.backendType === b.backendType &&
    canonicalJson(a.backendData) === canonicalJson(b.backendData) &&
    canonicalJson(a.backendV6Data) === canonicalJson(b.backendV6Data)
  );
}

/** JSON with the fields of every object in one order; undefined and null are the same nothing. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(',')}}`;
}
