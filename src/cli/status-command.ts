/** `vtepd status`: what the running agent says of itself, for a person or for a program. */
import type { ControlQuestion } from '../model/control';
import type { CheckStatus, Invitation, LeaseStatus, PeerStatus, ProcessStatus } from '../model/status';
import { HostError, describeError } from '../model/errors';
import { presentChecks } from '../model/former-status';
import type { StatusCommand } from './command-line';

/** To one who may not. */
const WHO_MAY_ASK =
  "root and the members of the agent's group may: run it as root, or join it ('usermod -aG vtepd NAME' for the package's), and log in anew";

/** What the command may touch. */
export interface StatusIo {
  /** The answers of the agents that run here. Throws a {@link HostError}. */
  ask(question: ControlQuestion): Promise<readonly string[]>;
  /** To standard output. */
  write(text: string): void;
  /** To standard error. */
  complain(text: string): void;
}

/** The agent answers root and its own group only. */
const NOT_ALLOWED = 4;

/** Returns the exit code: 0 every agent here is ready, 1 one is not, or there is none, 4 we may not ask. */
export async function runStatusCommand({ asJson, withPeers }: StatusCommand, io: StatusIo): Promise<number> {
  let answers: readonly string[];
  try {
    answers = await io.ask(withPeers ? 'peers' : 'status');
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    const isAllowed = error.code !== 'EACCES' && error.code !== 'EPERM';
    io.complain(`${describeError(error)}${isAllowed ? '' : `; ${WHO_MAY_ASK}`}\n`);
    return isAllowed ? 1 : NOT_ALLOWED;
  }
  if (answers.length === 0) {
    io.complain('no vtepd runs in this network namespace\n');
    return 1;
  }
  let areAllReady = true;
  for (const [n, answer] of answers.entries()) {
    const status = statusIn(answer);
    if (!status) io.complain('what one agent answered is cut off, or is no answer of vtepd; ask again\n');
    else io.write(asJson ? `${answer}\n` : `${n > 0 ? '\n' : ''}${printStatus(status)}`);
    areAllReady &&= status?.isReady ?? false;
  }
  return areAllReady ? 0 : 1;
}

/** Undefined for what no agent says as a whole. */
function statusIn(answer: string): ProcessStatus | undefined {
  try {
    const status = JSON.parse(answer) as Partial<ProcessStatus> | null;
    const isWhole = Array.isArray(status?.checks) && status.peers !== undefined && status.work !== undefined;
    return isWhole ? (status as ProcessStatus) : undefined;
  } catch {
    return undefined;
  }
}

/** The page a person reads. */
export function printStatus(status: ProcessStatus): string {
  const { version, processId, runningSeconds, isReady, overlay, lease, peers, work, invitation, checks } =
    status;
  const rows: [string, string][] = [];
  if (overlay) {
    const { network, link, vni, mtu, resolve, underlay, underlayAddress } = overlay;
    rows.push(['network', `${network} on ${link} (VNI ${vni}, MTU ${mtu}), peers ${resolve}`]);
    rows.push(['underlay', `${underlay}, ${underlayAddress}`]);
  }
  if (lease) {
    const { subnet, publicIp, vtepMac } = lease;
    rows.push(['lease', `${subnet} at ${publicIp ?? 'no address'}, VTEP MAC ${vtepMac ?? 'unknown'}`]);
    rows.push(['', printLife(lease)]);
  }
  rows.push([
    'peers',
    `${peers.count}${work.peerChanges ? `, after ${counted(work.peerChanges, 'change')}` : ''}`,
  ]);
  for (const { lease: name, forSeconds } of peers.graced)
    rows.push(['', `${name} is kept, although its lease expired ${printDuration(forSeconds)} ago`]);
  const { kernelOperations, repairs, firewallRepairs, missesAnswered, missesOfNobody } = work;
  rows.push(['kernel', `${counted(kernelOperations, 'change')}, ${repairs} of them repairs`]);
  if (firewallRepairs > 0) rows.push(['firewall', counted(firewallRepairs, 'repair')]);
  if (missesAnswered + missesOfNobody > 0)
    rows.push(['misses', `${missesAnswered} answered, ${missesOfNobody} times nobody has the address`]);
  if (invitation) rows.push(...invitationRows(invitation));
  return [
    `vtepd ${version}, process ${processId}, running for ${printDuration(runningSeconds)}: ${isReady ? 'ready' : 'NOT READY'}`,
    ...rows.map(([name, text]) => `  ${name.padEnd(10)}${text}`),
    '',
    ...presentChecks(checks).map(printCheck),
    ...(peers.list ? ['', ...peerTable(peers.list)] : []),
    '',
  ].join('\n');
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** Each line as it is to be copied. */
function invitationRows({ command, configLines }: Invitation): [string, string][] {
  return [
    ['next host', command],
    ['', 'or, in its /etc/vtepd/vtepd.conf:'],
    ...configLines.map((line): [string, string] => ['', line]),
  ];
}

function printLife({ remainingSeconds, lost }: LeaseStatus): string {
  if (lost !== undefined) return lost;
  if (remainingSeconds === undefined) return 'a reservation: it does not expire';
  return remainingSeconds > 0
    ? `good for ${printDuration(remainingSeconds)}, also without etcd`
    : `expired ${printDuration(-remainingSeconds)} ago`;
}

function printCheck({ name, state, ok, sinceSeconds, reason, advisory }: CheckStatus): string {
  if (state === 'unknown') return `  [?] ${name}: not known yet${reason ? `: ${reason}` : ''}`;
  const mark = ok ? '+' : advisory ? '!' : '-';
  const how = ok ? 'well' : 'not well';
  return `  [${mark}] ${name}: ${how} for ${printDuration(sinceSeconds)}${ok || !reason ? '' : `: ${reason}`}`;
}

function peerTable(peers: readonly PeerStatus[]): string[] {
  const rows = [
    ['subnet', 'PublicIP', 'VTEP MAC'],
    ...peers.map(({ subnet, publicIp, vtepMac }) => [subnet, publicIp, vtepMac]),
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `  ${row[0]!.padEnd(widths[0]!)}  ${row[1]!.padEnd(widths[1]!)}  ${row[2]!}`);
}

/** `3 d 4 h`, `2 min 5 s`: two units say enough. */
export function printDuration(seconds: number): string {
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0 s';
  const [name, size] = units[first]!;
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return `${Math.floor(seconds / size)} ${name}${next && rest > 0 ? ` ${rest} ${next[0]}` : ''}`;
}
