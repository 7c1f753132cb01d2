/** Provokes the faults that the environment names (see scripts/chaos), prints a line for each, and writes the reports. */
import { writeFileSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAULTS } from '../test/chaos/catalogue';
import type { Fault, Line } from '../test/chaos/fault';
import { randomOf } from '../test/chaos/random';
import { HEADING, printLine, printPage, printTampering, type Report } from '../test/chaos/report';
import { tamper, type TamperingReport } from '../test/chaos/tampering/session';
import { tryFaults } from '../test/chaos/trial';
import { faint, print } from './print';

const TAMPERING = 'tampering';

function given(name: string): string | undefined {
  return process.env[`CHAOS_${name}`] || undefined;
}

/** The faults to provoke, and whether to tamper. */
function chosen(): { faults: readonly Fault[]; tampers: boolean } {
  const only = given('ONLY')?.split(',');
  const isShort = given('SHORT') !== undefined;
  if (!only) {
    const faults = FAULTS.filter(({ short, onlyWhenNamed }) => (isShort ? short : !onlyWhenNamed));
    return { faults, tampers: true };
  }
  for (const name of only)
    if (name !== TAMPERING && !FAULTS.some((fault) => [fault.name, fault.group as string].includes(name)))
      throw new Error(`there is no fault or group '${name}'; see --list`);
  const faults = FAULTS.filter(
    ({ name, group, onlyWhenNamed }) => only.includes(name) || (only.includes(group) && !onlyWhenNamed),
  );
  return { faults, tampers: only.includes(TAMPERING) };
}

function list(): void {
  for (const { name, group, what, short, onlyWhenNamed } of FAULTS) {
    const remarks = [short ? 'short' : '', onlyWhenNamed ? `only when named: ${onlyWhenNamed}` : ''];
    const remark = remarks.filter((each) => each !== '').join(', ');
    print(`${group.padEnd(9)} ${name.padEnd(27)} ${what}${remark ? faint(` (${remark})`) : ''}`);
  }
  print(`${TAMPERING.padEnd(9)} ${TAMPERING.padEnd(27)} thousands of random tamperings, each repaired`);
}

async function main(): Promise<boolean> {
  if (given('LIST')) {
    list();
    return true;
  }
  const { faults, tampers } = chosen();
  const seed = Number(given('SEED') ?? randomInt(1, 1_000_000));
  print(`chaos: ${faults.length} faults${tampers ? ' and random tampering' : ''}, seed ${seed}`);
  print(`packets lost of sent: 'untouched' between hosts nobody damages, 'through' the damaged one`);
  print(faint(HEADING));
  const count = Number(given('TAMPERINGS') ?? (given('SHORT') ? 500 : 10_000));
  const machine = `${cpus().length} processors, Linux ${release()}, Node ${process.version}`;
  const options = [given('SHORT') ? '--short' : '', given('ONLY') ? `--only ${given('ONLY')}` : ''];
  const command = ['scripts/chaos', ...options.filter((option) => option !== ''), `--seed ${seed}`].join(' ');
  const json = given('JSON') ?? join(tmpdir(), `vtepd-chaos-${seed}.json`);
  const page = given('PAGE');
  const lines: Line[] = [];
  // After each line, so that a run that is ended has a report, too.
  const write = (tampering?: TamperingReport) => {
    const date = new Date().toISOString().slice(0, 10);
    const report: Report = { machine, date, command, seed, lines, ...(tampering ? { tampering } : {}) };
    writeFileSync(json, JSON.stringify(report, undefined, 2) + '\n');
    if (page) writeFileSync(page, printPage(report));
  };
  await tryFaults(faults, randomOf(seed), 'time', (line) => {
    lines.push(line);
    print(printLine(line));
    write();
  });
  const tampering = tampers ? await tamper(seed, count) : undefined;
  for (const line of tampering ? printTampering(tampering).slice(2) : []) print(line);
  write(tampering);
  const bad = lines.filter(({ isGood }) => !isGood);
  const lost = lines.reduce((sum, { untouched }) => sum + untouched.lost, 0);
  print();
  print(
    `${lines.length - bad.length} of ${lines.length} good; untouched peers lost ${lost} packets; all of it in ${json}`,
  );
  return bad.length === 0 && (tampering?.failures.length ?? 0) === 0;
}

main().then(
  (isGood) => process.exit(isGood ? 0 : 1),
  (error: unknown) => {
    print(`chaos: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  },
);
