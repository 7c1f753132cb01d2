/** Reading which way packets take, and what leads them there. */
import { addressToBytes, familyOf, type Subnet } from '../model/address';
import {
  LOCAL_TABLE,
  MAIN_TABLE,
  type RouteAnswer,
  type RouteEntry,
  type RouteQuestion,
  type Routing,
} from '../model/routing';
import type { Scope } from '../ports';
import type { Message } from './message';
import { dumpAll, findLink } from './observation';
import { ownRoute } from './ownership';
import { errnoName } from './refusal';
import { destinationOf, getRouteOf, getRoutes, hopsOf, isMarkedOver, parseRoute, typeNameOf } from './routes';
import type { Rtnetlink } from './rtnetlink';
import { getRules, parseRule } from './rules';
import { FAMILIES, FAMILY_NUMBERS } from './wire';

/** See `Kernel.routing`. */
export async function readRouting(netlink: Rtnetlink, scope: Scope, signal: AbortSignal): Promise<Routing> {
  const { link, networks } = scope;
  const index = findLink(netlink, link)?.index;
  const nameOf = linkNames(netlink);
  const [rules, routes]: [Routing['rules'][number][], RouteEntry[]] = [[], []];
  for (const family of FAMILIES) {
    const shared = networks.filter(({ address }) => familyOf(address) === family);
    if (shared.length === 0) continue;
    // Without IPv6, a kernel answers for all families.
    const parse = (message: Message) =>
      message.buffer[message.start] === FAMILY_NUMBERS[family] ? parseRule(message) : undefined;
    rules.push(...(await dumpAll(netlink, getRules(family), parse, signal)));
    const isNear = nearnessTo(shared);
    const near = (message: Message) => {
      if ((index !== undefined && isMarkedOver(message, index)) || !isNear(message)) return undefined;
      const record = parseRoute(message);
      return record?.family === family ? { record, hops: hopsOf(message) } : undefined;
    };
    for (const { record, hops } of await dumpAll(
      netlink,
      getRoutes({ family, table: 'all' }),
      near,
      signal,
    )) {
      // The links are asked for when the dump is over.
      if (!isOurs(record, index, scope, nameOf)) routes.push(entryOf(record, hops, nameOf));
    }
  }
  return { rules: rules.sort((a, b) => a.priority - b.priority), routes };
}

type Record = NonNullable<ReturnType<typeof parseRoute>>;
type Hops = ReturnType<typeof hopsOf>;

function isOurs(
  record: Record,
  linkIndex: number | undefined,
  scope: Scope,
  nameOf: (index: number) => string | undefined,
): boolean {
  const isOnLink = linkIndex !== undefined && record.interfaceIndex === linkIndex;
  return (isOnLink && record.table === LOCAL_TABLE) || ownRoute(record, scope, nameOf) !== undefined;
}

/** True for a route that shares an address with one of the networks; of the main table, for one that is no shorter. */
function nearnessTo(networks: readonly Subnet[]): (message: Message) => boolean {
  const wanted = networks.map(({ address, prefixLength }) => ({
    bytes: addressToBytes(address),
    prefixLength,
  }));
  return (message) => {
    const { bytes, prefixLength } = destinationOf(message);
    const isOfMain = message.buffer[message.start + 4] === MAIN_TABLE;
    return wanted.some((network) => {
      if (prefixLength < network.prefixLength && isOfMain) return false;
      return startsAlike(bytes, network.bytes, Math.min(prefixLength, network.prefixLength));
    });
  };
}

function startsAlike(a: Uint8Array | undefined, b: Uint8Array, bits: number): boolean {
  if (bits === 0) return true;
  if (a?.length !== b.length) return false;
  const whole = bits >> 3;
  for (let at = 0; at < whole; at++) if (a[at] !== b[at]) return false;
  const rest = bits & 7;
  return rest === 0 || (a[whole]! ^ b[whole]!) >> (8 - rest) === 0;
}

/** Asks about some packets at a time: see `Kernel.routesOf`. */
export function routeAsker(netlink: Rtnetlink): (questions: readonly RouteQuestion[]) => RouteAnswer[] {
  const nameOf = linkNames(netlink);
  return (questions) => {
    const found: ({ record: Record; hops: Hops } | undefined)[] = questions.map(() => undefined);
    const refusals = netlink.askAll(
      (writer) => {
        for (const question of questions) getRouteOf(question)(writer, 0);
      },
      (index, message) => {
        const record = parseRoute(message);
        if (record) found[index] = { record, hops: hopsOf(message) };
      },
    );
    return found.map((each, index) => {
      if (each) return { kind: 'route', route: entryOf(each.record, each.hops, nameOf) };
      const refusal = refusals.get(index);
      return { kind: 'refused', code: refusal ? errnoName(refusal.errno) : 'ENETUNREACH' };
    });
  };
}

function entryOf(record: Record, hops: Hops, nameOf: (index: number) => string | undefined): RouteEntry {
  const { destination, table, protocol, metric } = record;
  const type = typeNameOf(record.type);
  return {
    ...{ destination, table, type, protocol, metric },
    hops: leadsNowhere(type)
      ? []
      : waysOf(record, hops).map(({ interfaceIndex, gateway, nexthopId }) => ({
          link: interfaceIndex === undefined ? undefined : nameOf(interfaceIndex),
          gateway,
          ...(nexthopId === undefined ? {} : { nexthopId }),
        })),
  };
}

/** What the kernel tells of a nexthop object is enough; where it tells nothing, its number has to do. */
function waysOf(record: Record, hops: Hops): Pick<Record, 'interfaceIndex' | 'gateway' | 'nexthopId'>[] {
  const { interfaceIndex, gateway, nexthopId } = record;
  if (hops.length > 0) return hops;
  if (interfaceIndex !== undefined) return [{ interfaceIndex, gateway }];
  return nexthopId === undefined ? [] : [{ interfaceIndex, gateway, nexthopId }];
}

/** The kernel hangs such an IPv6 route on lo. */
function leadsNowhere(type: RouteEntry['type']): boolean {
  return type === 'blackhole' || type === 'unreachable' || type === 'prohibit' || type === 'throw';
}

/** The name of each interface is asked for once. */
function linkNames(netlink: Rtnetlink): (index: number) => string | undefined {
  const names = new Map<number, string | undefined>();
  return (index) => {
    if (!names.has(index)) names.set(index, findLink(netlink, index)?.name);
    return names.get(index);
  };
}
