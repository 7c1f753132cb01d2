/** The Kernel port on Linux. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openRequestSocket } from '../../native';
import type { IpAddress, Subnet } from '../model/address';
import type { KernelSettings } from '../model/kernel-settings';
import type { KernelObject, KernelState, ObjectName } from '../model/kernel-state';
import type { Miss } from '../model/miss';
import type { NetworkInterface, NetworkRoute, ResolvedRoute } from '../model/network-interface';
import type { FailedOperation, Operation } from '../model/operation';
import type { RouteAnswer, RouteQuestion, Routing } from '../model/routing';
import type { Kernel, KernelNotice, Scope, StandingAnswers } from '../ports';
import { Protocol } from './constants';
import { Changes } from './changes';
import { Listening } from './listening';
import { look } from './look';
import type { Message } from './message';
import { getNeighbors, parseNeighbor } from './neighbors';
import { dumpAll, findLink, observe } from './observation';
import { Overtaken } from './overtaken';
import { systemErrorOf } from './refusal';
import { readRouting, routeAsker } from './routing';
import { Rtnetlink } from './rtnetlink';
import { readSettings } from './settings';
import { LinuxStandingAnswers } from './standing-answers';
import { readDefaultRoutes, readInterfaces, readNetworkRoutes, readOwnLinks, resolveRoute } from './underlay';
import { FAMILIES, StateBit } from './wire';

/** Carried out without others having their turn: a millisecond or so. */
const OPERATIONS_AT_ONCE = 128;
const NAMES_AT_ONCE = 48;
const REQUEST_BUFFER_BYTES = 4 << 20;
/** The kernel answers before the request returns; without an answer something is broken. */
const ANSWER_MILLISECONDS = 5_000;

/** Opens the network namespace this process is in. Throws a KernelError; any user may open it, and read. */
export function openKernel(): Kernel {
  return new LinuxKernel();
}

class LinuxKernel implements Kernel {
  /** Changes and short questions: never between the parts of a dump, because that is asked by the other socket. */
  readonly #requests = openRtnetlink();
  #dumps = openRtnetlink();
  #lastDump: Promise<unknown> = Promise.resolve();
  readonly #listenings = new Set<Listening>();
  readonly #standing = new Set<LinuxStandingAnswers>();
  readonly #overtaken = new Overtaken();
  readonly #changes = new Changes(this.#requests, this.#listenings);
  readonly #closing = new AbortController();

  observe(scope: Scope, signal: AbortSignal): Promise<KernelState> {
    for (const listening of this.#listenings) listening.networks = scope.networks;
    this.#changes.places = scope;
    return this.#dumping(async (netlink) => {
      const { state, crowded } = await observe(netlink, scope, signal);
      this.#changes.crowded = crowded;
      return state;
    }, signal);
  }

  async look(
    names: readonly ObjectName[],
    scope: Scope,
    signal: AbortSignal,
  ): Promise<KernelState | undefined> {
    this.#changes.places = scope;
    const found = new Map<string, KernelObject>();
    for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
      if (at > 0) await nextTurn();
      signal.throwIfAborted();
      const index = this.#requests.indexOf(scope.link);
      const some = names.slice(at, at + NAMES_AT_ONCE);
      const part = index !== undefined && look(this.#requests, some, scope, index, this.#changes.crowded);
      if (!part) return undefined;
      for (const [key, object] of part) found.set(key, object);
    }
    return found;
  }

  async apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly FailedOperation[]> {
    signal.throwIfAborted();
    // Of a peer that goes the route is first, so that the kernel asks for it again: an answer would lose what it rests on.
    const isPeerGoing = operations.some(
      ({ verb, object }) => verb === 'remove' && object.kind === 'fdb-entry',
    );
    const paused = isPeerGoing ? [...this.#standing] : [];
    for (const answers of paused) answers.pause();
    try {
      return await this.#overtaken.during(async (due) => {
        const failed: FailedOperation[] = [];
        for (let at = 0; at < operations.length; at += OPERATIONS_AT_ONCE) {
          if (at > 0) await nextTurn();
          signal.throwIfAborted();
          failed.push(...this.#changes.apply(due(operations.slice(at, at + OPERATIONS_AT_ONCE))));
        }
        return failed;
      });
    } finally {
      for (const answers of paused) answers.resume();
    }
  }

  applyNow(operations: readonly Operation[]): readonly FailedOperation[] {
    this.#overtaken.note(operations);
    return this.#changes.apply(operations);
  }

  listen(scope: Scope, listener: (notices: readonly KernelNotice[]) => void, signal: AbortSignal): void {
    signal.throwIfAborted();
    let isOpen = false;
    const lookUp = (link: string | number) => {
      try {
        return findLink(this.#requests, link);
      } catch (error) {
        if (!isOpen) throw error;
        // Whoever hears of a link that cannot be read any more hears soon that it is gone.
        return undefined;
      }
    };
    const listening = new Listening(scope, this.#requests.portId, lookUp, this.#standing, listener);
    isOpen = true;
    this.#during(signal, this.#listenings, listening);
  }

  standingAnswers(linkName: string, signal: AbortSignal): StandingAnswers {
    signal.throwIfAborted();
    const answers = new LinuxStandingAnswers(linkName);
    this.#during(signal, this.#standing, answers);
    return answers;
  }

  pendingMisses(linkName: string, signal: AbortSignal): Promise<readonly Miss[]> {
    return this.#dumping(async (netlink) => {
      const link = findLink(netlink, linkName);
      const misses: Miss[] = [];
      const parse = (message: Message): Miss | undefined => {
        const record = parseNeighbor(message);
        if (record?.index !== link?.index || !record?.address) return undefined;
        return record.state & StateBit.INCOMPLETE ? { layer: 'l3', address: record.address } : undefined;
      };
      for (const family of link ? FAMILIES : [])
        misses.push(...(await dumpAll(netlink, getNeighbors(family, link!.index), parse, signal)));
      return misses;
    }, signal);
  }

  interfaces(signal: AbortSignal): Promise<readonly NetworkInterface[]> {
    return this.#dumping((netlink) => readInterfaces(netlink, signal), signal);
  }

  async routeTo(
    destination: IpAddress,
    signal: AbortSignal,
    source?: IpAddress,
  ): Promise<ResolvedRoute | undefined> {
    signal.throwIfAborted();
    return Promise.resolve(resolveRoute(this.#requests, destination, source));
  }

  defaultRoutes(signal: AbortSignal): Promise<readonly ResolvedRoute[]> {
    return this.#dumping((netlink) => readDefaultRoutes(netlink, signal), signal);
  }

  routing(scope: Scope, signal: AbortSignal): Promise<Routing> {
    return this.#dumping((netlink) => readRouting(netlink, scope, signal), signal);
  }

  async routesOf(questions: readonly RouteQuestion[], signal: AbortSignal): Promise<RouteAnswer[]> {
    signal.throwIfAborted();
    const answers: RouteAnswer[] = [];
    const ask = routeAsker(this.#requests);
    for (let at = 0; at < questions.length; at += NAMES_AT_ONCE) {
      if (at > 0) await nextTurn();
      signal.throwIfAborted();
      for (const answer of ask(questions.slice(at, at + NAMES_AT_ONCE))) answers.push(answer);
    }
    return answers;
  }

  networkRoutes(network: Subnet, signal: AbortSignal): Promise<readonly NetworkRoute[]> {
    return this.#dumping((netlink) => readNetworkRoutes(netlink, network, signal), signal);
  }

  settings(links: readonly string[]): KernelSettings {
    return readSettings(links);
  }

  ownLinks(signal: AbortSignal): Promise<readonly string[]> {
    return this.#dumping((netlink) => readOwnLinks(netlink, signal), signal);
  }

  close(): void {
    this.#closing.abort();
    this.#requests.close();
    this.#dumps.close();
  }

  /** What is open until the signal aborts, or we are closed. */
  #during<T extends { close(): void }>(signal: AbortSignal, all: Set<T>, one: T): void {
    all.add(one);
    const stop = () => {
      all.delete(one);
      one.close();
    };
    AbortSignal.any([signal, this.#closing.signal]).addEventListener('abort', stop, { once: true });
  }

  /** One at a time: the kernel keeps one dump per socket. After a failure the socket may be in the midst of one. */
  async #dumping<T>(read: (netlink: Rtnetlink) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const turn = this.#lastDump.then(() => {
      signal.throwIfAborted();
      return read(this.#dumps);
    });
    this.#lastDump = turn.catch(() => {
      if (this.#closing.signal.aborted) return;
      this.#dumps.close();
      this.#dumps = openRtnetlink();
    });
    return turn;
  }
}

function openRtnetlink(): Rtnetlink {
  try {
    return new Rtnetlink(
      openRequestSocket({
        protocol: Protocol.ROUTE,
        receiveBufferBytes: REQUEST_BUFFER_BYTES,
        timeoutMilliseconds: ANSWER_MILLISECONDS,
      }),
    );
  } catch (error) {
    throw systemErrorOf('cannot open a netlink socket', error);
  }
}
