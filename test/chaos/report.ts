/** The lines of a run, for a person at a terminal, for a page, and for a program. */
import type { Line } from './fault';
import type { TamperingReport } from './tampering/session';

export interface Report {
  readonly machine: string;
  readonly date: string;
  /** What was run, to run it again. */
  readonly command: string;
  readonly seed: number;
  readonly lines: readonly Line[];
  readonly tampering?: TamperingReport;
}

/** One line, in columns. */
export function printLine(line: Line): string {
  const cells = [
    line.isGood ? 'ok  ' : 'FAIL',
    line.name.padEnd(26),
    lossOf(line.untouched).padStart(8),
    lossOf(line.through).padStart(10),
    repairOf(line).padStart(10),
  ];
  return `${cells.join('  ')}  ${line.isGood ? '' : line.verdict}`.trimEnd();
}

export const HEADING = `      ${'fault'.padEnd(26)}  ${'untouched'.padStart(8)} ${'through'.padStart(10)}  ${'repair'.padStart(10)}`;

/** A page of Markdown. */
export function printPage({ machine, date, command, lines, tampering }: Report): string {
  const good = lines.filter(({ isGood }) => isGood).length;
  const packets = lines.reduce((sum, { untouched }) => sum + untouched.sent, 0);
  const lost = lines.reduce((sum, { untouched }) => sum + untouched.lost, 0);
  const groups = [...new Set(lines.map(({ group }) => group))];
  return [
    '# Chaos',
    '',
    `What becomes of the overlay when something breaks: made by \`${command}\` on ${date} (${machine}).`,
    '',
    'Three hosts, each with the agent and a container, and etcd, all in network namespaces. While each fault is provoked, numbered UDP',
    'packets flow at 1000 a second: from host 2 to host 3, which nobody touches, and through the damaged host 1, to host 2 and from host 3.',
    'Of the former none may be lost, ever. Of the latter none may be lost where the fault takes nothing from the kernel (0 required);',
    'elsewhere they are counted. The time to repair runs from the last look at the kernel before the damage to the first look after the',
    "repair; for faults of etcd, from etcd's return until the damaged host hears of changes again.",
    '',
    `**${good} of ${lines.length} good; untouched peers lost ${lost} of ${packets} packets.**`,
    ...groups.flatMap((group) => [
      '',
      `## ${TITLES[group]}`,
      '',
      '| fault | what is done | untouched: lost | through: lost | longest silence | repaired in | verdict |',
      '|---|---|--:|--:|--:|--:|---|',
      ...lines.filter((line) => line.group === group).map(row),
    ]),
    ...(tampering ? ['', ...printTampering(tampering)] : []),
    '',
  ].join('\n');
}

const TITLES: Record<Line['group'], string> = {
  entries: 'Entries of the kernel',
  device: 'The device',
  underlay: 'The underlay',
  others: 'What is not ours',
  agent: 'The agent',
  etcd: 'etcd',
  leases: 'Leases',
  machine: 'The machine',
};

function row(line: Line): string {
  const required = line.throughLoss === 'none' ? ' (0 required)' : '';
  const cells = [
    `\`${line.name}\``,
    line.what,
    lossOf(line.untouched),
    `${lossOf(line.through)}${required}`,
    `${line.through.silenceMilliseconds} ms`,
    repairOf(line),
    line.verdict,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}

/** The lines about random tampering. */
export function printTampering(report: TamperingReport): string[] {
  const { count, seed, unseen, times, kinds, writesAfter, failures } = report;
  const verdict =
    failures.length === 0 ? 'always back to what it should be' : `NOT good: ${failures.join('; ')}`;
  return [
    '## Random tampering',
    '',
    `${count} tamperings by seed ${seed} (${Object.entries(kinds)
      .map(([kind, number]) => `${kind} ${number}`)
      .join(', ')}): ${verdict}.`,
    '',
    `Time to repair: median ${times.median.toFixed(1)} ms, p99 ${times.p99.toFixed(1)} ms, max ${times.max.toFixed(1)} ms` +
      `${unseen > 0 ? ` (${unseen} were repaired before the first look)` : ''}. ` +
      `When the agent compared everything after the last one: ${writesAfter} netlink writes.`,
  ];
}

function lossOf({ sent, lost }: Line['through']): string {
  return sent === 0 ? '–' : `${lost}/${sent}`;
}

function repairOf({ repairMilliseconds }: Line): string {
  if (repairMilliseconds === undefined) return '–';
  return repairMilliseconds < 10_000
    ? `${Math.round(repairMilliseconds)} ms`
    : `${(repairMilliseconds / 1000).toFixed(1)} s`;
}
