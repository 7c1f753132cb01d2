/** What this host remembers of itself across restarts, reboots and changes of its address. */
import { isOfAnotherHost, type RememberedLease } from '../core/acquisition';
import { linkNameOf } from '../model/overlay';
import type { Subnet } from '../model/address';
import { describeError } from '../model/errors';
import { shorten } from '../model/json-fields';
import type { Lease } from '../model/lease';
import { vtepMacOf } from '../model/lease-codec';
import type { MacAddress } from '../model/mac';
import { isMemoryOf, parseMemory, type Memory } from '../model/memory-codec';
import { parseSavedLease, printSavedHost, type SavedLease } from '../model/saved-host';
import { parsePreviousSubnets } from '../model/subnet-env-codec';
import type { Clock, Host, LeaseRegistry, Log } from '../ports';
import type { OwnHostFacts } from './own-host-state';

/** Of a file that anybody may have written, so much is said. */
const MOST_PROBLEMS = 5;
const LONGEST_PROBLEM = 200;

export interface Past {
  /** The subnet of subnet.env. */
  readonly previous: Subnet | undefined;
  /** The lease of the state file. */
  readonly saved: SavedLease | undefined;
}

/** Reads subnet.env and the state file. `place` is where the configuration is: another network's state is of no use. */
export async function readPast(host: Host, log: Pick<Log, 'warn'>, place: string): Promise<Past> {
  const [previous, saved] = await Promise.all([
    readPreviousSubnet(host, log),
    // A start without etcd needs more of the file, and says what is wrong with it.
    host.readMemory().then(
      (text) => (text === undefined ? undefined : parseSavedLease(text, place)),
      () => undefined,
    ),
  ]);
  return { previous, saved };
}

async function readPreviousSubnet(host: Host, log: Pick<Log, 'warn'>): Promise<Subnet | undefined> {
  const text = await host.readSubnetFile().catch((error: unknown) => {
    log.warn('cannot read the subnet file; our previous subnet is unknown', { error: describeError(error) });
    return undefined;
  });
  if (text === undefined) return undefined;
  const { ipv4, problems } = parsePreviousSubnets(text);
  for (const problem of problems.slice(0, MOST_PROBLEMS))
    log.warn('the subnet file is not quite readable', { problem: shorten(problem, LONGEST_PROBLEM) });
  if (problems.length > MOST_PROBLEMS)
    log.warn('the subnet file has more that is not readable', { lines: problems.length - MOST_PROBLEMS });
  return ipv4;
}

/**
 * The leases of other hosts that the state file has, and that `isKnown` does not know by their names; none from a file that cannot be read,
 * or was written so long ago that the lease of this host has run out since.
 */
export async function readLeasesMissed(
  host: Pick<Host, 'readMemory'>,
  clock: Pick<Clock, 'wallTime'>,
  place: string,
  isKnown: (leaseName: string) => boolean,
): Promise<readonly Lease[]> {
  const text = await host.readMemory().catch(() => undefined);
  const memory = text === undefined ? undefined : parseMemory(text, (name) => !isKnown(name));
  if (!memory || !isMemoryOf(memory, place) || memory.expiresAt <= clock.wallTime()) return [];
  return memory.leases.filter(({ name }) => name !== memory.ownLease);
}

/** The lease of the state file, and whether it is this host's: a copied file was written on another machine, or over another interface. */
export function rememberedLease(
  { saved }: Past,
  host: Pick<Host, 'machineId'>,
  facts: Partial<OwnHostFacts>,
): RememberedLease | undefined {
  if (!saved) return undefined;
  const { subnet, publicIp, vtepMac } = saved;
  const machineId = host.machineId();
  const isThisHosts =
    saved.host !== undefined &&
    machineId !== undefined &&
    saved.host.machineId === machineId &&
    saved.host.hardwareAddress === hardwareAddressOf(facts);
  return { subnet, publicIp, vtepMac, isThisHosts };
}

/** True for a lease that names our PublicIP but is another host's. `deviceMacs` are those of the overlay devices that are there. */
export function isLeaseOfAnother(
  lease: Lease,
  { previous, saved }: Past,
  deviceMacs: readonly (MacAddress | undefined)[],
  registry: Pick<LeaseRegistry, 'isGrantedToUs'>,
): boolean {
  return isOfAnotherHost(lease, {
    subnets: [previous, saved?.subnet],
    macs: [...deviceMacs, saved?.vtepMac],
    isGrantedToUs: (id) => registry.isGrantedToUs(id),
  });
}

/** What a later start needs to know; undefined while too little is known. */
export function memoryOf(
  place: string,
  host: Pick<Host, 'machineId'>,
  facts: Partial<OwnHostFacts>,
  lease: Lease,
  leases: readonly Lease[],
  expiresAt: number,
): Memory | undefined {
  const { network, underlay } = facts;
  if (!network || !underlay) return undefined;
  const saved = {
    machineId: host.machineId(),
    link: linkNameOf(network.backend),
    interface: underlay.name,
    hardwareAddress: hardwareAddressOf(facts),
    address: underlay.address,
  };
  const own = { publicIp: lease.attributes.publicIp, vtepMac: vtepMacOf(lease) };
  return {
    place,
    config: network.text,
    ownLease: lease.name,
    expiresAt,
    // Ours as we hold it: the watch may not have told of it yet, and does not tell us of it again.
    leases: [...leases.filter(({ name }) => name !== lease.name), lease],
    host: printSavedHost(saved, own),
  };
}

/** Of the underlay interface; undefined for one that has none. */
export function hardwareAddressOf({ underlay, hostNetwork }: Partial<OwnHostFacts>): MacAddress | undefined {
  return hostNetwork?.interfaces.find(({ index }) => index === underlay?.index)?.mac;
}
