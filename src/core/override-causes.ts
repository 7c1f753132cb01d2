/** What leads packets elsewhere than our routes do, in words, and what to do about it. */
import { bitsOf, contains, familyOf, printSubnet, type IpAddress, type Subnet } from '../model/address';
import type { Overlay } from '../model/overlay';
import {
  LOCAL_TABLE,
  MAIN_TABLE,
  printRouteEntry,
  type RouteAnswer,
  type RouteEntry,
  type Routing,
  type RoutingRule,
} from '../model/routing';
import type { Steps } from '../model/steps';
import type { Inquiry, Override, Sender } from './effective-routes';
import type { RouteIndex } from './route-index';
import { DOCKER_BRIDGE, remedyFor } from './surroundings';

const KERNEL_PROTOCOL = 2;
/** A sender, by its name. */
export const THIS_HOST = 'this host';
export const ANY_PEER = 'other hosts';
/** Where every host has the rule for the main table. */
const MAIN_RULE_PRIORITY = 32_766;
/** Peers that are named one by one. */
const NAMED_PEERS = 3;
/** Senders that are named one by one. */
const NAMED_SENDERS = 3;
/** Causes that are told of one by one. */
const NAMED_CAUSES = 3;

export interface Cause {
  /** What becomes of the packets: `go by route 10.5.7.0/24 via 192.168.0.254 dev eth0`. */
  readonly what: string;
  readonly remedy: string;
  /** How much it takes: the shorter, the more. */
  readonly prefixLength: number;
}

/** The prefix that our route to a peer has, whether the peer is in use or not. */
export function oursFor({ resolve, network }: Overlay, target: Subnet): Subnet {
  return resolve.kind === 'preload' ? target : network;
}

/** Undefined where nothing of others explains it. */
export function causeOf(
  { target, sender, question }: Inquiry,
  answer: RouteAnswer,
  rules: Routing['rules'],
  routes: RouteIndex,
  overlay: Overlay,
  bridges: ReadonlySet<string>,
): Cause | undefined {
  const { destination } = question;
  const place = { overlay, bridges };
  const steps = stepsOf(
    rules,
    sender,
    destination,
    sender.kind === 'peers' ? target : oursFor(overlay, target),
  );
  if (answer.kind === 'route') {
    const { route } = answer;
    if (route.table === MAIN_TABLE || route.table === LOCAL_TABLE) return causeOfRoute(route, place);
    let passing: RoutingRule | undefined;
    for (const { rule, passesOurs } of steps) {
      if (passesOurs) passing ??= rule;
      if (rule.action === 'lookup' && rule.table === route.table)
        return causeOfRule('go by', route, passing ?? rule);
    }
    return causeOfVrf(route, sender);
  }
  return obstacleTo(destination, steps, routes, place);
}

/** A rule that takes a packet, and whether our routes are passed over by it. */
interface RuleStep {
  readonly rule: RoutingRule;
  readonly passesOurs: boolean;
}

/** The rules that take such a packet, in the order in which the kernel comes to them. `ours` is the prefix of our route. */
function* stepsOf(
  rules: Routing['rules'],
  sender: Sender,
  destination: IpAddress,
  ours: Subnet,
): Iterable<RuleStep> {
  for (let at = 0; at < rules.length; at++) {
    const rule = rules[at]!;
    if (!takes(rule, sender, destination)) continue;
    // What leads to a rule that is not there is passed over.
    const target = rule.action === 'goto' ? rules.findIndex(({ priority }) => priority === rule.target) : -1;
    const skipped = target > at ? rules.slice(at + 1, target) : [];
    const isSkipping = skipped.some(({ action, table }) => action === 'lookup' && table === MAIN_TABLE);
    const isSuppressing =
      rule.action === 'lookup' && rule.table === MAIN_TABLE && isSuppressed(rule, ours.prefixLength);
    yield { rule, passesOurs: isSkipping || isSuppressing };
    if (target > at) at = target - 1;
  }
}

/** True where a rule passes over what it finds of that length. Of interfaces that it passes over we know no more. */
function isSuppressed(
  { suppressedLength = -1, suppressesGroup }: RoutingRule,
  prefixLength: number,
): boolean {
  return prefixLength <= suppressedLength || suppressesGroup === true;
}

/** Our links beside the VTEP: what is advised must not take them away. */
interface Place {
  readonly overlay: Overlay;
  readonly bridges: ReadonlySet<string>;
}

function causeOfRoute(route: RouteEntry, { overlay, bridges }: Place): Cause {
  const { destination, type, hops, protocol } = route;
  const { prefixLength } = destination;
  const network = printSubnet(overlay.network);
  const link = hops[0]?.link ?? 'an interface';
  // An address has a route of its own; a prefix is somebody's route: ip-route(8), `local`.
  if (type === 'local' && prefixLength === bitsOf(familyOf(destination.address)))
    return {
      what: `stay on this host: ${printSubnet(destination)} is an address of it (${link})`,
      remedy: `give ${link} an address outside of ${network}`,
      prefixLength,
    };
  const isConnected = protocol === KERNEL_PROTOCOL && hops.length === 1 && hops[0]!.gateway === undefined;
  if (isConnected)
    return {
      what: `go to ${link}, which has the network ${printSubnet(destination)}`,
      remedy:
        link === overlay.underlay.name || bridges.has(link)
          ? `remove its address of that network: ip address del … dev ${link}`
          : link === DOCKER_BRIDGE
            ? remedyFor(link, overlay.subnet)
            : `remove ${link}, or give it a subnet outside of ${network}`,
      prefixLength,
    };
  return {
    what: `${hops.length > 0 ? 'go by' : 'end at'} the route '${printRouteEntry(route)}'`,
    remedy: `remove it, if it is not meant: ip route del ${printRouteEntry(route)}`,
    prefixLength,
  };
}

/** No rule that we know of leads to its table. */
function causeOfVrf(route: RouteEntry, sender: Sender): Cause {
  return {
    what: `go by the route '${printRouteEntry(route)}'`,
    remedy: `take ${sender.inputName} out of its VRF, or exempt the network from what leads there (ip rule)`,
    prefixLength: route.destination.prefixLength,
  };
}

function causeOfRule(verb: 'go by' | 'end at', route: RouteEntry, rule: RoutingRule): Cause {
  return {
    what: `${verb} the route '${printRouteEntry(route)}', because of the rule '${printRule(rule)}'`,
    remedy: `remove the rule, if it is not meant: ip rule del pref ${rule.priority}; or put one for the network before it`,
    prefixLength: route.destination.prefixLength,
  };
}

/** The first rule or route of others that takes such packets, and lets them go nowhere. */
function obstacleTo(
  destination: IpAddress,
  steps: Iterable<RuleStep>,
  routes: RouteIndex,
  place: Place,
): Cause | undefined {
  let thrown: RouteEntry | undefined;
  let passing: RoutingRule | undefined;
  let isMainAsked = false;
  for (const { rule, passesOurs } of steps) {
    if (isRefusal(rule.action))
      return {
        what: `end at the rule '${printRule(rule)}'`,
        remedy: `remove it, if it is not meant: ip rule del pref ${rule.priority}`,
        prefixLength: rule.destination?.prefixLength ?? 0,
      };
    if (passesOurs) passing ??= rule;
    if (rule.action !== 'lookup') continue;
    isMainAsked ||= rule.table === MAIN_TABLE && !passesOurs;
    const longest = routes.longest(rule.table, destination);
    if (!longest || isSuppressed(rule, longest.destination.prefixLength)) continue;
    if (longest.type === 'throw') {
      // What our routes say is not looked at; what comes after them may say nothing.
      if (rule.table === MAIN_TABLE) thrown = longest;
      continue;
    }
    if (!isRefusal(longest.type)) return undefined;
    return rule.table === MAIN_TABLE ? causeOfRoute(longest, place) : causeOfRule('end at', longest, rule);
  }
  if (thrown) return causeOfRoute(thrown, place);
  if (isMainAsked) return undefined;
  if (passing)
    return {
      what: `find no route: the rule '${printRule(passing)}' passes over ours`,
      remedy: `remove it, if it is not meant: ip rule del pref ${passing.priority}`,
      prefixLength: passing.destination?.prefixLength ?? 0,
    };
  return {
    what: 'find no route: no rule leads them to the table main, where ours are',
    remedy: `add one: ip rule add pref ${MAIN_RULE_PRIORITY} lookup main`,
    prefixLength: 0,
  };
}

function isRefusal(name: string): boolean {
  return name === 'blackhole' || name === 'unreachable' || name === 'prohibit';
}

/** True for a rule that takes the packet, as far as we can tell: it has no mark, and its sender is not bound to an interface. */
function takes(rule: RoutingRule, { source, inputName }: Sender, destination: IpAddress): boolean {
  const isFor = (prefix: Subnet | undefined, address: IpAddress) => !prefix || contains(prefix, address);
  const takesAll =
    !rule.isNarrow &&
    !rule.isForVrfs &&
    rule.output === undefined &&
    (rule.input === undefined || rule.input === inputName) &&
    isFor(rule.source, source) &&
    isFor(rule.destination, destination);
  return rule.isInverted !== takesAll;
}

/** As `ip rule` shows it: `1000: from all to 10.5.0.0/16 lookup 100`. */
export function printRule(rule: RoutingRule): string {
  const { priority, source, destination, input, isInverted, isNarrow, isForVrfs } = rule;
  return [
    `${priority}:${isInverted ? ' not' : ''} from ${source ? printSubnet(source) : 'all'}`,
    destination ? ` to ${printSubnet(destination)}` : '',
    input === undefined ? '' : ` iif ${input}`,
    isNarrow ? ' …' : '',
    isForVrfs ? ' [l3mdev]' : '',
    ` ${printAction(rule)}`,
  ].join('');
}

function printAction({ action, table, target, suppressedLength, suppressesGroup }: RoutingRule): string {
  if (action === 'goto') return `goto ${target ?? 0}`;
  if (action !== 'lookup') return action;
  return [
    `lookup ${table === MAIN_TABLE ? 'main' : table}`,
    suppressedLength === undefined ? '' : ` suppress_prefixlength ${suppressedLength}`,
    suppressesGroup ? ' suppress_ifgroup …' : '',
  ].join('');
}

/** All of it as a few sentences, those first that concern most; undefined where there is nothing to tell. */
export function* printOverridesInSteps(
  overrides: readonly Override[],
  overlay: Overlay,
): Steps<string | undefined> {
  const groups = new Map<string, Group>();
  for (const { target, sender, cause } of overrides) {
    yield;
    const group = groups.get(cause.what) ?? {
      cause,
      peers: new Set(),
      senders: new Set(),
      origins: new Set(),
    };
    groups.set(cause.what, group);
    if (sender.kind === 'peers') group.origins.add(sender.name);
    else {
      group.peers.add(printSubnet(target));
      group.senders.add(sender.name);
    }
  }
  if (groups.size === 0) return undefined;
  const sentences = [...groups.values()]
    .sort((a, b) => b.peers.size - a.peers.size)
    .map((group) => printGroup(group, printSubnet(overlay.subnet)));
  const left = sentences.length - NAMED_CAUSES;
  return [...sentences.slice(0, NAMED_CAUSES), ...(left > 0 ? [`and ${left} more`] : [])].join('. ');
}

/** What one cause takes. */
interface Group {
  readonly cause: Cause;
  readonly peers: Set<string>;
  readonly senders: Set<string>;
  /** Whose packets for our own subnet are among it. */
  readonly origins: Set<string>;
}

function printGroup({ cause, peers, senders, origins }: Group, own: string): string {
  // Where containers' packets alone go elsewhere, a ping of this host would not show it.
  const whose = senders.has(THIS_HOST) ? '' : ` of ${printSome([...senders])}`;
  const subjects = [
    ...(peers.size > 0 ? [`packets${whose} for ${printPeers([...peers])}`] : []),
    ...(origins.size > 0 ? [`packets of ${printOrigins([...origins])} for our subnet ${own}`] : []),
  ];
  return `${subjects.join(', and ')} take another way than ours: they ${cause.what}; ${cause.remedy}`;
}

function printOrigins(origins: readonly string[]): string {
  return origins.includes(ANY_PEER) ? ANY_PEER : printSome(origins);
}

function printSome(senders: readonly string[]): string {
  const left = senders.length - NAMED_SENDERS;
  return `${senders.slice(0, NAMED_SENDERS).join(' and ')}${left > 0 ? ` and ${left} more` : ''}`;
}

function printPeers(peers: readonly string[]): string {
  if (peers.length === 1) return `peer ${peers[0]}`;
  const left = peers.length - NAMED_PEERS;
  return `${peers.length} peers (${peers.slice(0, NAMED_PEERS).join(', ')}${left > 0 ? ` and ${left} more` : ''})`;
}
