/** Echo requests between containers. */
import { run } from './command';
import type { Host } from './host';
import type { Namespace } from './namespace';
import { PATIENCE_MILLISECONDS, until } from './until';

export interface RoundTrip {
  readonly from: Host;
  readonly to: Host;
  /** Undefined: no answer came. */
  readonly milliseconds: number | undefined;
}

/** Far more than an answer takes, also where other programs have the processors: an answer that is late is an answer. */
const ANSWER_MILLISECONDS = 10_000;
/** Where one asks again and again until there is an answer. */
export const POLL_MILLISECONDS = 2_000;

/**
 * One echo request from `from` to each address, all at once. Returns the round trip in milliseconds of those that answered
 * within the bound.
 */
export async function ping(
  from: Namespace,
  addresses: readonly string[],
  withinMilliseconds = ANSWER_MILLISECONDS,
): Promise<Map<string, number>> {
  const seconds = withinMilliseconds / 1000;
  const script = addresses.map((address) => `ping -n -c 1 -W ${seconds} ${address} &`).join('\n') + '\nwait';
  const { stdout } = await from.attempt('sh', ['-c', script]);
  const replies = stdout.matchAll(/bytes from ([\d.a-f:]+): .*time=([\d.]+) ms/g);
  return new Map(Array.from(replies, ([, address, time]) => [address!, Number(time)]));
}

/** Resolves as soon as the address has answered all of these; each asks every 20 ms. Throws when the time is up. */
export async function answered(
  from: readonly Namespace[],
  address: string,
  withinMilliseconds = PATIENCE_MILLISECONDS,
): Promise<void> {
  // One process of ours, and one ping for all requests of a place: to spawn them would be most of what is measured. An ICMP
  // error ends ping, and it begins anew.
  const ask = `ping -n -q -c 1 -w ${Math.ceil(withinMilliseconds / 1000)} -i 0.02 ${address}`;
  const asking = from.map(({ path }) => `(until nsenter --net=${path} ${ask}; do :; done) &`);
  const words = [`${withinMilliseconds / 1000}`, 'sh', '-c', [...asking, 'wait'].join('\n')];
  await run('timeout', words, { withinMilliseconds: withinMilliseconds + 10_000 });
}

/** One echo request from the container of each host to that of every other host. */
export async function pingAllPairs(
  hosts: readonly Host[],
  withinMilliseconds?: number,
): Promise<RoundTrip[]> {
  const trips: RoundTrip[] = [];
  for (const from of hosts) {
    const others = hosts.filter((to) => to !== from);
    const answers = await ping(
      from.container,
      others.map((to) => to.containerAddress),
      withinMilliseconds,
    );
    for (const to of others) trips.push({ from, to, milliseconds: answers.get(to.containerAddress) });
  }
  return trips;
}

/** Resolves as soon as the containers of all hosts reach each other. Throws when the time is up, and names who does not. */
export async function allReachAll(hosts: readonly Host[]): Promise<void> {
  let missing: string[] = [];
  await until(
    () => `all reach all; not so: ${missing.join(', ')}`,
    async () => (missing = unanswered(await pingAllPairs(hosts, POLL_MILLISECONDS))).length === 0,
  );
}

/** `host 1 → host 3` for every pair that got no answer. */
export function unanswered(trips: readonly RoundTrip[]): string[] {
  return trips
    .filter(({ milliseconds }) => milliseconds === undefined)
    .map(({ from, to }) => `${from.name} → ${to.name}`);
}
