/**
 * program.ts LINK NETWORK SEED COUNT: tampers with what the agent of this namespace wrote, waits each time until it is
 * repaired, and prints {@link Tampered} as JSON. The same seed gives the same tamperings.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openRequestSocket } from '../../../native';
import { FlagsNew, Protocol } from '../../../src/kernel/constants';
import { openKernel } from '../../../src/kernel/linux-kernel';
import { writeRoute } from '../../../src/kernel/routes';
import { Rtnetlink } from '../../../src/kernel/rtnetlink';
import { subnet } from '../../../src/model/address';
import { printKernelObject, type Route } from '../../../src/model/kernel-state';
import { printOperation, type FailedOperation, type Operation } from '../../../src/model/operation';
import { randomOf } from '../random';
import { Generator, type Kind, type Tampering } from './generator';
import type { Tampered } from './session';

/** The agent slows down what looks like a fight: 20 repairs of one object in 2 s. Tampering stays below that. */
const MOST_REPAIRS = 13;
const WINDOW_MILLISECONDS = 2_500;
/** What is not repaired after this long counts as never. */
const PATIENCE_MILLISECONDS = 60_000;
const PAUSE_MILLISECONDS = 0.5;
const SHOWN_FAILURES = 5;
/** Where the flags of the first message of a batch are. */
const FLAGS_OFFSET = 6;

const [link, network, seed, count] = process.argv.slice(2) as [string, string, string, string];
const kernel = openKernel();
const netlink = new Rtnetlink(
  openRequestSocket({ protocol: Protocol.ROUTE, receiveBufferBytes: 1 << 20, timeoutMilliseconds: 5_000 }),
);
const scope = { link, networks: [subnet(network)] };
const forever = new AbortController().signal;
/** When the agent had to repair an object, by its key. */
const repairs = new Map<string, number[]>();

async function see(): Promise<string> {
  return [...(await kernel.observe(scope, forever)).values()].map(printKernelObject).sort().join('\n');
}

function isBearable({ affects }: Tampering, now: number): boolean {
  return affects.every((key) => {
    const recent = (repairs.get(key) ?? []).filter((at) => now - at < WINDOW_MILLISECONDS);
    repairs.set(key, recent);
    return recent.length < MOST_REPAIRS;
  });
}

async function main(): Promise<Tampered> {
  const state = await kernel.observe(scope, forever);
  const wanted = await see();
  const generator = new Generator(state, randomOf(Number(seed)));
  const kinds: Partial<Record<Kind, number>> = {};
  const times: Partial<Record<Kind, number[]>> = {};
  const failures: string[] = [];
  let unseen = 0;
  for (let done = 0; done < Number(count) && failures.length < SHOWN_FAILURES;) {
    const tampering = generator.next();
    while (!isBearable(tampering, performance.now())) await sleep(20);
    const start = performance.now();
    const refused = apply(tampering.operations);
    for (const key of tampering.affects) repairs.get(key)!.push(start);
    for (const { operation, error } of refused)
      failures.push(`could not tamper: ${printOperation(operation)}: ${error.message}`);
    const looks = await repaired(wanted, start);
    const milliseconds = performance.now() - start;
    if (looks === undefined) {
      const words = tampering.operations.slice(0, 3).map(printOperation).join('; ');
      failures.push(`number ${done} (${words}) was not repaired: ${difference(wanted, await see())}`);
    }
    if (looks === 1) unseen++;
    kinds[tampering.kind] = (kinds[tampering.kind] ?? 0) + 1;
    (times[tampering.kind] ??= []).push(milliseconds);
    done++;
  }
  return { kinds, times, unseen, failures };
}

/**
 * A route is replaced in one step, as `ip route replace` does. The kernel port would append it and then remove what is before it: that
 * is what the agent puts back meanwhile, and they would do this to each other until one of them gives up.
 */
function apply(operations: readonly Operation[]): readonly FailedOperation[] {
  const isReplacement = ({ verb, object }: Operation) => verb === 'put' && object.kind === 'route';
  for (const { object } of operations.filter(isReplacement)) replace(object as Route);
  return kernel.applyNow(operations.filter((operation) => !isReplacement(operation)));
}

function replace(route: Route): void {
  const index = route.link === undefined ? undefined : netlink.indexOf(route.link);
  netlink.execute((writer) => {
    writeRoute(writer, route, index, 'alone');
    const flags = writer.messages.readUInt16LE(FLAGS_OFFSET);
    writer.messages.writeUInt16LE((flags & ~FlagsNew.EXCL) | FlagsNew.REPLACE, FLAGS_OFFSET);
  });
}

/** How many looks it took; undefined when it was not repaired in time. */
async function repaired(wanted: string, start: number): Promise<number | undefined> {
  for (let looks = 1; performance.now() - start < PATIENCE_MILLISECONDS; looks++) {
    const seen = await see().catch(() => '');
    if (seen === wanted) return looks;
    await sleep(PAUSE_MILLISECONDS);
  }
  return undefined;
}

function difference(wanted: string, seen: string): string {
  const want = wanted.split('\n');
  const have = seen.split('\n');
  const missing = want.filter((object) => !have.includes(object)).slice(0, 3);
  const surplus = have.filter((object) => !want.includes(object)).slice(0, 3);
  return `missing ${missing.join(', ') || 'nothing'}; too much ${surplus.join(', ') || 'nothing'}`;
}

main().then(
  (tampered) => {
    process.stdout.write(JSON.stringify(tampered) + '\n', () => process.exit(0));
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  },
);
