/** What must be known before the loops can turn: waited for, however long it takes. */
import { backoffMilliseconds } from '../core/backoff';
import { chooseUnderlay, type UnderlayChoice, type UnderlayWish } from '../core/underlay';
import { pastOf, type KnownPast } from '../core/underlay-past';
import type { IpAddress, Subnet } from '../model/address';
import { ConfigError, KernelError, RegistryError } from '../model/errors';
import type { KernelState } from '../model/kernel-state';
import type { HostNetwork } from '../model/network-interface';
import type { Clock, Kernel, LeaseRegistry, Log, Scope } from '../ports';
import { Trouble } from './trouble';

const BACKOFF = { minMilliseconds: 250, maxMilliseconds: 5_000 };

/** Where a wait has its time and its words from; while it lasts, what it waits for is among `waits`. */
export interface Waiting {
  readonly clock: Clock;
  readonly log: Log;
  readonly waits: Set<Trouble>;
}

/** What a user wants of the underlay; `canReach` is resolved anew for each try. */
export type UnderlayOptions = Omit<UnderlayWish, 'canReach'> & { readonly canReach: IpAddress | undefined };

/**
 * The network configuration, as soon as there is a good one: a missing or malformed one is said once, reminded of sparingly,
 * and waited for. Rejects only when the signal aborts, or with what `read` throws that is no {@link ConfigError}.
 */
export function awaitNetworkConfig<Config>(
  registry: LeaseRegistry,
  waiting: Waiting,
  place: string,
  read: (text: string) => Config | Promise<Config>,
  signal: AbortSignal,
): Promise<Config> {
  return untilItWorks('waiting for the network configuration', waiting, signal, async () => {
    const stored = await registry.readConfig(signal);
    if (!stored) {
      throw new ConfigError(
        `there is none at ${place} in etcd; write one with 'vtepd config set FILE' (or etcdctl, API version 3)`,
      );
    }
    try {
      return await read(stored.text);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new ConfigError(`what is at ${place} cannot be used`, { cause: error });
    }
  });
}

/** What a question to the kernel gives, as soon as it is answered: the kernel may be short of memory for a moment. */
export function awaitKernel<T>(waiting: Waiting, signal: AbortSignal, ask: () => T | Promise<T>): Promise<T> {
  return untilItWorks('waiting for the kernel to tell what it holds', waiting, signal, async () => ask());
}

/** What the kernel holds, as soon as it can be read. */
export function awaitKernelState(
  kernel: Kernel,
  waiting: Waiting,
  scope: Scope,
  signal: AbortSignal,
): Promise<KernelState> {
  return awaitKernel(waiting, signal, () => kernel.observe(scope, signal));
}

/** A choice, the network that it was made from, and the interface that carried the overlay before, if that is known. */
export interface UnderlayLook {
  readonly choice: UnderlayChoice;
  readonly hostNetwork: HostNetwork;
  readonly home: KnownPast['home'];
}

/** Chooses the underlay from what the kernel has now. */
export async function lookForUnderlay(
  kernel: Kernel,
  options: UnderlayOptions,
  signal: AbortSignal,
  known: KnownPast & { readonly network?: Subnet | undefined } = {},
): Promise<UnderlayLook> {
  const [interfaces, defaultRoutes, networkRoutes, route] = await Promise.all([
    kernel.interfaces(signal),
    kernel.defaultRoutes(signal),
    known.network && kernel.networkRoutes(known.network, signal),
    options.canReach && kernel.routeTo(options.canReach, signal),
  ]);
  const canReach = options.canReach ? { address: options.canReach, route: route || undefined } : undefined;
  const past = pastOf(known, interfaces);
  const choice = chooseUnderlay({ ...options, canReach }, interfaces, defaultRoutes, 'ipv4', past);
  const hostNetwork = { interfaces, defaultRoutes, ...(networkRoutes ? { networkRoutes } : {}) };
  return { choice, hostNetwork, home: past.home };
}

/** What `attempt` gives, as soon as it gives something; what is in the way is said once, and reminded of sparingly. */
export async function untilItWorks<T>(
  what: string,
  { clock, log, waits }: Waiting,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> {
  const trouble = new Trouble(clock, log);
  waits.add(trouble);
  try {
    for (let failures = 0; ; failures++) {
      try {
        const value = await attempt();
        trouble.clear(`no more ${what}`);
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ConfigError || error instanceof RegistryError || error instanceof KernelError))
          throw error;
        trouble.report(what, error);
        await clock.sleep(backoffMilliseconds(failures, BACKOFF, clock.random()), signal);
      }
    }
  } finally {
    waits.delete(trouble);
  }
}
