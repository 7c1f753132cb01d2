/** One host with a real agent and peers that exist in etcd only, tampered with at random. */
import { join } from 'node:path';
import { figure, type Figure } from '../../bench/figures';
import type { Host } from '../../support/lab/host';
import { Lab, PREFIX } from '../../support/lab/lab';
import { compared } from '../../support/lab/netlink-writes';
import { auditsThatRepaired } from '../../support/lab/repairs';
import { until } from '../../support/lab/until';
import { observeQuiet, revisionOf } from '../faults/quiet';
import { leaseValue } from '../scene';
import type { Kind } from './generator';

/** So many that no object is tampered with so often that it looks like a fight. */
const PEERS = 24;
const NETWORK = '10.5.0.0/16';

/** What the program in the namespace prints. */
export interface Tampered {
  readonly kinds: Readonly<Partial<Record<Kind, number>>>;
  /** Milliseconds from the tampering to the first look that showed it repaired. */
  readonly times: Readonly<Partial<Record<Kind, readonly number[]>>>;
  /** Repaired before the first look. */
  readonly unseen: number;
  readonly failures: readonly string[];
}

export interface TamperingReport extends Omit<Tampered, 'times'> {
  readonly count: number;
  readonly seed: number;
  readonly times: Figure;
  readonly allTimes: readonly number[];
  readonly timesByKind: Readonly<Record<string, Figure>>;
  readonly writesAfter: number;
  readonly revisionsAfter: number;
}

/** Tampers, waits for each repair, and then watches the agent compare everything and find nothing to do. */
export async function tamper(seed: number, count: number): Promise<TamperingReport> {
  const lab = await Lab.start({ hosts: 1, agentOptions: ['-v=0'] });
  try {
    const host = lab.host(1);
    await lab.etcd.putAll(Array.from({ length: PEERS }, (_, n) => leaseOf(n)));
    await lab.startAgents();
    await until('all peers are programmed', async () => (await host.fdb()).length === PEERS);
    await addForeign(host);
    const program = join(__dirname, 'program.ts');
    const words = ['--import', 'tsx', program, 'flannel.1', NETWORK, String(seed), String(count)];
    const output = await host.namespace.run(process.execPath, words, {
      withinMilliseconds: 120_000 + count * 200,
      env: { PATH: process.env['PATH'] },
    });
    const tampered = JSON.parse(output) as Tampered;
    const failures = [...tampered.failures, ...(await lostForeign(host))];
    for (const changes of auditsThatRepaired(host.agent.log()))
      failures.push(`nothing told the agent of it, an audit found it: ${String(changes)}`);
    const fight = host.agent.log().find(({ message }) => message.includes('again and again'));
    if (fight) failures.push(`the agent takes it for a fight: ${String(fight['object'])}`);
    const file = join(lab.directory, 'trace');
    const quiet = await observeQuiet(
      host,
      file,
      () => compared(host.agent.pid!, file),
      () => revisionOf({ lab }),
    );
    if (quiet.netlinkWrites.length > 0)
      failures.push(`writes after the last one: ${quiet.netlinkWrites.join(', ')}`);
    const allTimes = Object.values(tampered.times).flat();
    return {
      ...{
        count,
        seed,
        allTimes,
        kinds: tampered.kinds,
        unseen: tampered.unseen,
        failures,
      },
      times: figure('tampering to repair', 'ms', allTimes),
      timesByKind: Object.fromEntries(
        Object.entries(tampered.times).map(([kind, times]) => [kind, figure(kind, 'ms', times)]),
      ),
      writesAfter: quiet.netlinkWrites.length,
      revisionsAfter: quiet.revisions,
    };
  } finally {
    lab.end();
  }
}

function leaseOf(n: number): [string, string] {
  const value = leaseValue({ publicIp: `172.30.88.${n + 1}`, vtepMac: `0e:2a:00:00:00:${hex(n)}` });
  return [`${PREFIX}/subnets/10.5.${200 + n}.0-24`, value];
}

/** What is nobody of ours, and must stay as it is. */
const FOREIGN = [
  'route add 203.0.113.0/24 via 172.30.255.1 dev eth0 proto static',
  'route add blackhole 198.18.0.0/24 proto 85',
  'neigh add 172.30.99.7 lladdr 0e:00:00:00:00:66 dev eth0 nud permanent',
  'address add 192.0.2.1/32 dev eth0',
];

function addForeign(host: Host): Promise<void> {
  return host.namespace.batch(FOREIGN);
}

async function lostForeign({ namespace }: Host): Promise<string[]> {
  const shown = await Promise.all(['route', 'neigh', 'address'].map((what) => namespace.ip(what)));
  return ['203.0.113.0/24', '198.18.0.0/24', '172.30.99.7', '192.0.2.1']
    .filter((mark) => !shown.join('').includes(mark))
    .map((mark) => `${mark} is nobody of ours, and is gone`);
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
