/** Whether every host is where it should be. */
import { desiredState } from '../../src/core/desired';
import { fits } from '../../src/core/plan';
import { judgeLease } from '../../src/core/peers';
import { overlap, printSubnet } from '../../src/model/address';
import { printKernelObject } from '../../src/model/kernel-state';
import type { Lease } from '../../src/model/lease';
import { parseLease, vxlanDataOf } from '../../src/model/lease-codec';
import type { VxlanBackend } from '../../src/model/network-config';
import type { Overlay, ResolveMode } from '../../src/model/overlay';
import type { Subnet } from '../../src/model/address';
import { SUBNETS, type ObservedStore } from './observed-store';
import type { SimulatedHost, World } from './simulated-host';

export interface Expectation {
  readonly network: Subnet;
  readonly backend: VxlanBackend;
  readonly resolve: ResolveMode;
  /** Which keys a host is shown, by its number; undefined: all. */
  readonly viewOf: World['viewOf'];
}

const NEVER = new AbortController().signal;

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
 * What is not yet as it should be, of the first host where something is not; undefined when all have a subnet of their own,
 * a lease that says so, and a kernel that holds what follows from all other leases, and nothing else.
 */
export async function findUnconverged(
  hosts: readonly SimulatedHost[],
  store: ObservedStore,
  expectation: Expectation,
): Promise<string | undefined> {
  const leases = leasesOf(store);
  const living = new Set(store.etcdLeaseIds);
  const taken: { host: SimulatedHost; subnet: Subnet }[] = [];
  const bySubnet = new Map<string, SimulatedHost>();
  for (const host of hosts) {
    const own = ownLease(host, leases);
    if (typeof own === 'string') return own;
    if (own.etcdLeaseId !== undefined && !living.has(own.etcdLeaseId))
      return `${host.name}'s lease ${own.name} hangs on an etcd lease that is gone`;
    const other = bySubnet.get(printSubnet(own.subnet));
    if (other) return `${host.name} and ${other.name} both have ${own.name}`;
    bySubnet.set(printSubnet(own.subnet), host);
    taken.push({ host, subnet: own.subnet });
  }
  const network = expectation.network;
  for (const { host, subnet } of taken) {
    if (!overlap(network, subnet))
      return `${host.name} has ${printSubnet(subnet)}, which is of no network here`;
    const problem = await kernelProblem(host, leases, expectation);
    if (problem) return problem;
  }
  return undefined;
}

/** The lease of the subnet that the host uses. */
function ownLease(host: SimulatedHost, leases: readonly Lease[]): Lease | string {
  if (!host.isRunning) return `${host.name} is not running`;
  const [address, ...more] = host.overlayAddresses;
  if (!address || more.length > 0)
    return `${host.name} has the overlay addresses [${host.overlayAddresses.join()}]`;
  const lease = leases.find(({ subnet }) => subnet.address === address);
  if (!lease) return `${host.name} uses ${address}, and no lease says so`;
  if (lease.attributes.publicIp !== host.address)
    return `${host.name} uses ${address}, and its lease names ${lease.attributes.publicIp} instead of ${host.address}`;
  return lease;
}

async function kernelProblem(
  host: SimulatedHost,
  leases: readonly Lease[],
  { network, backend, resolve, viewOf }: Expectation,
): Promise<string | undefined> {
  const own = ownLease(host, leases) as Lease;
  const vtepMac = vxlanDataOf(own.attributes.backendData)?.vtepMac;
  if (!vtepMac) return `${host.name}'s lease names no VTEP`;
  const underlay = { name: 'eth0', index: 2, mtu: 1500, address: host.address, publicIp: host.address };
  const overlay: Overlay = {
    network,
    subnet: own.subnet,
    backend,
    underlay,
    vtepMac,
    resolve,
    hasNetworkRoute: true,
  };
  const self = {
    leaseName: own.name,
    publicIp: host.address,
    vtepMac,
    vni: 1,
    network,
    subnet: own.subnet,
    guarded: [],
  };
  const view = viewOf(host.number);
  const peers = leases.flatMap((lease) => {
    const isShown = !view || view(lease.name) || host.ownKeys.has(lease.name);
    const verdict = isShown ? judgeLease(lease, self) : undefined;
    return verdict?.kind === 'peer' ? [verdict.peer] : [];
  });
  const link = `flannel.${backend.vni}`;
  const actual = await host.kernel.observe({ link, networks: [network] }, NEVER);
  const desired = desiredState(overlay, resolve.kind === 'preload' ? peers : [], []);
  for (const [key, object] of desired) {
    const found = actual.get(key);
    if (!found) return `${host.name} lacks ${printKernelObject(object)}`;
    if (!fits(object, found))
      return `${host.name} has ${printKernelObject(found)} instead of ${printKernelObject(object)}`;
  }
  if (actual.size === desired.size || resolve.kind !== 'preload') return undefined;
  const stranger = [...actual].find(([key]) => !desired.has(key))!;
  return `${host.name} should not have ${printKernelObject(stranger[1])}`;
}
