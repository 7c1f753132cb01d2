/**
 * `node scripts/mutation/main.mjs PATH…` mutates files of src/ (files, folders, or lines of a file as FILE:FROM-TO), runs the unit
 * tests against each mutant, and prints the mutants that survived and the score of each file. Ends with 1 where the score of a
 * folder is below its floor.
 */
import { readFileSync, statSync } from 'node:fs';
import { relative } from 'node:path';
import { Stryker } from '@stryker-mutator/core';

/** Percent of the mutants that the unit tests have to kill. */
const FLOORS = { 'src/core/': 90, 'src/model/': 90, 'src/engine/': 85 };

const KILLED = ['Killed', 'Timeout'];
const ALIVE = ['Survived', 'NoCoverage'];

async function main(paths) {
  const mutate = paths.map(patternOf);
  const started = Date.now();
  const results = await new Stryker({ mutate }).runMutationTest();
  const mutants = results
    .filter(({ status }) => [...KILLED, ...ALIVE].includes(status))
    .map((mutant) => ({ ...mutant, file: relative(process.cwd(), mutant.fileName) }));
  if (mutants.length === 0) throw new Error(`there is nothing to mutate in ${paths.join(' ')}`);
  for (const mutant of mutants) if (ALIVE.includes(mutant.status)) console.log(describe(mutant));
  console.log('\n score  killed     of');
  for (const file of [...new Set(mutants.map(({ file }) => file))].sort())
    console.log(
      row(
        file,
        mutants.filter((mutant) => mutant.file === file),
      ),
    );
  console.log(row('in all', mutants));
  const ignored = results.filter(({ status }) => status === 'Ignored').length;
  console.log(`${ignored} more were left out. ${Math.round((Date.now() - started) / 1000)} s`);
  const low = Object.entries(FLOORS).filter(([folder, floor]) => {
    const inside = mutants.filter(({ file }) => file.startsWith(folder));
    return inside.length > 0 && scoreOf(inside) < floor;
  });
  for (const [folder, floor] of low) console.log(`${folder} is below its ${floor} %`);
  process.exitCode = low.length > 0 ? 1 : 0;
}

function patternOf(path) {
  const [, name, lines = ''] = /^(.*?)\/*(:\d+-\d+)?$/.exec(path);
  const found = statSync(name, { throwIfNoEntry: false });
  if (found === undefined) throw new Error(`there is no file or folder '${name}' to mutate`);
  return found.isDirectory() ? `${name}/**/*.ts` : `${name}${lines}`;
}

/** One line: where, and what was written instead of what. */
function describe({ file, location: { start, end }, status, replacement }) {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .slice(start.line - 1, end.line);
  lines[lines.length - 1] = lines.at(-1).slice(0, end.column - 1);
  lines[0] = lines[0].slice(start.column - 1);
  const why = status === 'NoCoverage' ? ' (no test runs it)' : '';
  return `${file}:${start.line}:${start.column}${why}: ${short(lines.join(' '))} → ${short(replacement)}`;
}

function short(code) {
  const line = code.replace(/\s+/g, ' ');
  return line.length > 70 ? `${line.slice(0, 67)}…` : line;
}

function row(name, mutants) {
  const killed = mutants.filter(({ status }) => KILLED.includes(status)).length;
  const score = scoreOf(mutants).toFixed(1);
  return `${score.padStart(6)}  ${String(killed).padStart(6)}  ${String(mutants.length).padStart(5)}  ${name}`;
}

function scoreOf(mutants) {
  return (100 * mutants.filter(({ status }) => KILLED.includes(status)).length) / mutants.length;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`mutation: ${error.message}`);
  process.exitCode = 2;
});
