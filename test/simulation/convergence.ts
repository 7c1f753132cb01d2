/** Whether every host is where it should be. */
import { setMaxListeners } from 'node:events';
import { baseObjects, peerObjects } from '../../src/core/desired';
import { fits } from '../../src/core/plan';
import { judgeLease } from '../../src/core/peers';
import { contains, printSubnet, sameSubnet, type IpAddress, type Subnet } from '../../src/model/address';
import { keyOf, printKernelObject, type KernelObject } from '../../src/model/kernel-state';
import type { Lease } from '../../src/model/lease';
import { parseLease, vxlanDataOf } from '../../src/model/lease-codec';
import type { VxlanBackend } from '../../src/model/network-config';
import { linkNameOf, type Overlay, type ResolveMode } from '../../src/model/overlay';
import { MutablePeerTable, type PeerTable } from '../../src/model/peer';
import { parsePreviousSubnets } from '../../src/model/subnet-env-codec';
import { SUBNETS, type ObservedStore } from './observed-store';
import type { SimulatedHost } from './simulated-host';

export interface Expectation {
  readonly network: Subnet;
  readonly backend: VxlanBackend;
  readonly resolve: ResolveMode;
}

const NEVER = new AbortController().signal;
// A thousand hosts may wait by it, and Node takes more than ten listeners for a leak.
setMaxListeners(0, NEVER);

/** All leases that can be read, by the store itself. */
export function leasesOf(store: ObservedStore): Lease[] {
  return [...store.entries].flatMap(([key, entry]) => {
    if (!key.startsWith(SUBNETS)) return [];
    const name = key.slice(SUBNETS.length);
    const { value, etcdLeaseId } = entry;
    const modRevision = String(entry.modRevision);
    const createRevision = String(entry.createRevision);
    const parsed = parseLease({ name, value, etcdLeaseId, modRevision, createRevision });
    return parsed.kind === 'lease' ? [parsed.lease] : [];
  });
}

/**
 * What is not yet as it should be, of the first host where something is not; undefined when all that are in service have a
 * subnet of their own, a lease and files that say so, and a kernel that holds what follows from all other leases, and nothing
 * else.
 */
export async function findUnconverged(
  hosts: readonly SimulatedHost[],
  store: ObservedStore,
  expectation: Expectation,
): Promise<string | undefined> {
  const leases = leasesOf(store);
  const bySubnet = new Map(leases.map((lease) => [lease.subnet.address, lease]));
  const living = new Set(store.etcdLeaseIds);
  const owners = new Map<Lease, SimulatedHost>();
  for (const host of hosts) {
    if (host.isRetired) continue;
    const own = ownLease(host, bySubnet);
    if (typeof own === 'string') return own;
    if (own.etcdLeaseId !== undefined && !living.has(own.etcdLeaseId))
      return `${host.name}'s lease ${own.name} hangs on an etcd lease that is gone`;
    const other = owners.get(own);
    if (other) return `${host.name} and ${other.name} both have ${own.name}`;
    owners.set(own, host);
    if (!contains(expectation.network, own.subnet))
      return `${host.name} has ${own.name}, which is of no network here`;
    const problem = fileProblem(host, own);
    if (problem) return problem;
  }
  for (const [own, host] of owners) {
    const problem = await kernelProblem(host, own, leases, expectation);
    if (problem) return problem;
  }
  return undefined;
}

/** The lease of the subnet that the host uses. */
function ownLease(host: SimulatedHost, leases: ReadonlyMap<IpAddress, Lease>): Lease | string {
  if (!host.isRunning || host.isPaused) return `${host.name} is not running`;
  const [address, ...more] = host.overlayAddresses;
  if (!address || more.length > 0)
    return `${host.name} has the overlay addresses [${host.overlayAddresses.join()}]`;
  const lease = leases.get(address);
  if (!lease) return `${host.name} uses ${address}, and no lease says so`;
  if (lease.attributes.publicIp !== host.address)
    return `${host.name} uses ${address}, and its lease names ${lease.attributes.publicIp} instead of ${host.address}`;
  return lease;
}

/** What is wrong with what its files say of the lease that it has. */
function fileProblem({ name, files }: SimulatedHost, own: Lease): string | undefined {
  const { ipv4 } = parsePreviousSubnets(files.subnetFile ?? '');
  if (!ipv4 || !sameSubnet(own.subnet, ipv4))
    return `${name} has ${own.name}, and its subnet file says ${ipv4 ? printSubnet(ipv4) : 'nothing'}`;
  // Not parsed: a thousand hosts may remember a thousand leases each.
  if (!files.memory?.includes(`"ownLease":${JSON.stringify(own.name)}`))
    return `${name} has ${own.name}, and does not remember it`;
  return undefined;
}

async function kernelProblem(
  host: SimulatedHost,
  own: Lease,
  leases: readonly Lease[],
  { network, backend, resolve }: Expectation,
): Promise<string | undefined> {
  const vtepMac = vxlanDataOf(own.attributes.backendData)?.vtepMac;
  if (!vtepMac) return `${host.name}'s lease names no VTEP`;
  const { address } = host;
  const { subnet } = own;
  const overlay: Overlay = {
    network,
    subnet,
    backend,
    underlay: { name: 'eth0', index: 2, mtu: 1500, address, publicIp: address },
    vtepMac,
    resolve,
    hasNetworkRoute: true,
    hasBlackholeRoute: false,
  };
  const self = {
    ...{ leaseName: own.name, publicIp: address, vtepMac, vni: 1, network, subnet },
    ...{ guarded: [], isNetworkRouted: true, occupied: {} },
  };
  const peers = leases.flatMap((lease) => {
    const verdict = host.isShown(lease.name) ? judgeLease(lease, self) : undefined;
    return verdict?.kind === 'peer' ? [verdict.peer] : [];
  });
  const table = new MutablePeerTable(peers);
  const isPreload = resolve.kind === 'preload';
  const due = [
    ...baseObjects(overlay),
    ...(isPreload ? peers.flatMap((peer) => peerObjects(overlay, peer)) : []),
  ];
  const actual = await host.kernel.observe({ link: linkNameOf(backend), networks: [network] }, NEVER);
  const desired = new Set<string>();
  for (const object of due) {
    const key = keyOf(object);
    desired.add(key);
    const found = actual.get(key);
    if (!found) return `${host.name} lacks ${printKernelObject(object)}`;
    if (!fits(object, found))
      return `${host.name} has ${printKernelObject(found)} instead of ${printKernelObject(object)}`;
  }
  for (const [key, found] of actual) {
    if (desired.has(key) || (!isPreload && isAnswer(found, table))) continue;
    return `${host.name} should not have ${printKernelObject(found)}`;
  }
  return undefined;
}

/** What is there on demand only because the kernel asked: it must be true all the same. */
function isAnswer(object: KernelObject, peers: PeerTable): boolean {
  switch (object.kind) {
    case 'fdb-entry':
      return peers.byMac(object.mac)?.publicIp === object.destination;
    case 'neighbor':
      return peers.byAddress(object.address)?.vtepMac === object.mac;
    case 'route': {
      const peer = peers.bySubnet(object.destination);
      return object.gateway === undefined ? peer === undefined : peer?.subnet.address === object.gateway;
    }
    case 'link':
    case 'neighbor-parameters':
    case 'address':
      return false;
  }
}
