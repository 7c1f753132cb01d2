/** Reading what the kernel holds of ours. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { familyOf, type Family } from '../model/address';
import { KernelError } from '../model/errors';
import {
  ROUTE_PROTOCOL,
  keyOf,
  printKernelObject,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type LinkAddress,
  type Neighbor,
  type NeighborParameters,
  type Route,
} from '../model/kernel-state';
import type { Scope } from '../ports';
import { getAddresses, parseAddress } from './addresses';
import { getLink, linkOf, parseLink, type LinkRecord } from './links';
import type { Message } from './message';
import { getFdbEntries, getNeighbors, parseNeighbor } from './neighbors';
import { getNeighborParameters, parseNeighborParameters } from './neighbor-parameters';
import { BOOT_PROTOCOL } from '../model/ownership';
import { candidateRoute, ownAddress, ownFdbEntry, ownNeighbor, ownRoute, unfitting } from './ownership';
import { errnoName, kernelErrorOf } from './refusal';
import { getRoutes, parseRoute } from './routes';
import type { RequestWriter, Rtnetlink } from './rtnetlink';
import { AF_BRIDGE, FAMILIES } from './wire';

const OBJECTS_AT_ONCE = 512;
/** A link that is re-created again and again is not observed for ever. */
const ATTEMPTS = 10;

/** The link of this name or index, or undefined. Asks the kernel each time: an index is never remembered. */
export function findLink(netlink: Rtnetlink, link: string | number): LinkRecord | undefined {
  const found = findLinkByAnyName(netlink, link);
  // The kernel finds a link by its alternative names, too; that would be somebody else's.
  return found && typeof link === 'string' && found.name !== link ? undefined : found;
}

/** {@link findLink}, also by an alternative name: `ip link property add dev LINK altname NAME`. */
export function findLinkByAnyName(netlink: Rtnetlink, link: string | number): LinkRecord | undefined {
  let found: LinkRecord | undefined;
  const refusal = netlink.ask(getLink(link), (message) => (found = parseLink(message) ?? found));
  if (refusal && !['ENODEV', 'ERANGE'].includes(errnoName(refusal.errno)))
    throw kernelErrorOf(`cannot read link ${link}`, refusal);
  return found;
}

/** Dumps one kind of record. What the kernel does not know at all (a family that is disabled) counts as none. */
export async function dumpAll<T>(
  netlink: Rtnetlink,
  request: RequestWriter,
  parse: (message: Message) => T | undefined,
  signal: AbortSignal,
): Promise<T[]> {
  let found: T[] = [];
  const refusal = await netlink.dump(
    request,
    {
      restart: () => (found = []),
      take: (message) => {
        const record = parse(message);
        if (record !== undefined) found.push(record);
      },
    },
    signal,
  );
  if (refusal && !NOTHING_THERE.has(errnoName(refusal.errno)))
    throw kernelErrorOf('cannot dump kernel tables', refusal);
  return found;
}

/** No table, no link, no such family: nothing to be read there. */
const NOTHING_THERE: ReadonlySet<string> = new Set(['ENOENT', 'ENODEV', 'EOPNOTSUPP', 'EAFNOSUPPORT']);

/** What was observed. */
export interface Observation {
  readonly state: KernelState;
  /**
   * Keys that several routes have, because somebody appended one, and how many: a put in the midst of them changes one only.
   * (An FDB entry has a second destination only if its MAC is multicast or zero: none of those is ever put.)
   */
  readonly crowded: Map<string, number>;
}

/** See `Kernel.observe`. */
export async function observe(netlink: Rtnetlink, scope: Scope, signal: AbortSignal): Promise<Observation> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const link = findLink(netlink, scope.link);
    const objects = await readObjects(netlink, scope, link, signal);
    if (findLink(netlink, scope.link)?.index === link?.index) return await observationOf(objects);
    await nextTurn();
  }
  throw new KernelError(
    'EAGAIN',
    `link ${scope.link} was re-created during each of ${ATTEMPTS} observations`,
  );
}

/** Lets others have their turn: thirty thousand keys take ten milliseconds or more. */
async function observationOf(objects: readonly KernelObject[]): Promise<Observation> {
  const state = new Map<string, KernelObject>();
  const crowded = new Map<string, number>();
  for (let at = 0; at < objects.length; at += OBJECTS_AT_ONCE) {
    if (at > 0) await nextTurn();
    for (const object of objects.slice(at, at + OBJECTS_AT_ONCE)) {
      const key = keyOf(object);
      const other = state.get(key);
      // A dump may name the same object twice when the table grows meanwhile.
      const isCrowded =
        object.kind === 'route' &&
        other?.kind === 'route' &&
        printKernelObject(other) !== printKernelObject(object);
      if (isCrowded) crowded.set(key, (crowded.get(key) ?? 1) + 1);
      state.set(key, isCrowded ? unfitting(object) : object);
    }
  }
  return { state, crowded };
}

async function readObjects(
  netlink: Rtnetlink,
  scope: Scope,
  link: LinkRecord | undefined,
  signal: AbortSignal,
): Promise<KernelObject[]> {
  if (!link) return readRoutes(netlink, scope, link, signal);
  const parts: KernelObject[][] = [[linkOf(link)]];
  for (const family of FAMILIES) {
    if (!scope.networks.some(({ address }) => familyOf(address) === family)) continue;
    parts.push(await readParameters(netlink, link, family, signal));
    parts.push(await readAddresses(netlink, scope, link, family, signal));
  }
  for (const request of [
    ...FAMILIES.map((family) => getNeighbors(family, link.index)),
    getFdbEntries(link.index),
  ])
    parts.push(await readNeighbors(netlink, link, request, signal));
  parts.push(await readRoutes(netlink, scope, link, signal));
  return parts.flat();
}

async function readParameters(
  netlink: Rtnetlink,
  link: LinkRecord,
  family: Family,
  signal: AbortSignal,
): Promise<NeighborParameters[]> {
  const parse = (message: Message) => {
    const parameters = parseNeighborParameters(message, family);
    return parameters?.index === link.index ? parameters : undefined;
  };
  const found = await dumpAll(netlink, getNeighborParameters(family), parse, signal);
  return found.map(({ appSolicit, queueBytes }) => {
    return { kind: 'neighbor-parameters', link: link.name, family, appSolicit, queueBytes };
  });
}

function readAddresses(
  netlink: Rtnetlink,
  { networks }: Scope,
  { index, name }: LinkRecord,
  family: Family,
  signal: AbortSignal,
): Promise<LinkAddress[]> {
  const parse = (message: Message) => {
    const record = parseAddress(message);
    return record?.index === index && familyOf(record.address) === family
      ? ownAddress(record, name, networks)
      : undefined;
  };
  return dumpAll(netlink, getAddresses(family, index), parse, signal);
}

function readNeighbors(
  netlink: Rtnetlink,
  { index, name }: LinkRecord,
  request: RequestWriter,
  signal: AbortSignal,
): Promise<(FdbEntry | Neighbor)[]> {
  const parse = (message: Message) => {
    const record = parseNeighbor(message);
    if (record?.index !== index) return undefined;
    return record.family === AF_BRIDGE ? ownFdbEntry(record, name) : ownNeighbor(record, name);
  };
  return dumpAll(netlink, request, parse, signal);
}

async function readRoutes(
  netlink: Rtnetlink,
  scope: Scope,
  link: LinkRecord | undefined,
  signal: AbortSignal,
): Promise<Route[]> {
  const names = new Map<number, string | undefined>(link ? [[link.index, link.name]] : []);
  const nameOf = (index: number) => {
    if (!names.has(index)) names.set(index, findLink(netlink, index)?.name);
    return names.get(index);
  };
  const routes: Route[] = [];
  for (const family of FAMILIES) {
    for (const protocol of [ROUTE_PROTOCOL, BOOT_PROTOCOL]) {
      // Without IPv6, a kernel answers for all families; and one that does not filter, for all protocols.
      const parse = (message: Message) => {
        const record = parseRoute(message);
        const isWanted = record?.family === family && record.protocol === protocol;
        return isWanted && candidateRoute(record) ? record : undefined;
      };
      const records = await dumpAll(netlink, getRoutes({ family, protocol }), parse, signal);
      routes.push(...records.flatMap((record) => ownRoute(record, scope, nameOf) ?? []));
    }
  }
  return routes;
}
