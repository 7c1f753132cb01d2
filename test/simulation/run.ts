/** `npx tsx test/simulation/run.ts --hosts 5 --seed 7`: one run, or several seeds, with the trace of what went wrong. */
import { parseArgs } from 'node:util';
import { MISTAKES } from './planted-bugs';
import { simulate, type SimulationOptions } from './simulation';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      hosts: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      faults: { type: 'string', default: '60' },
      spare: { type: 'string' },
      flannel: { type: 'string', default: '0' },
      long: { type: 'boolean', default: false },
      'on-demand': { type: 'boolean', default: false },
      only: { type: 'string' },
      pace: { type: 'string' },
      bug: { type: 'string' },
      trace: { type: 'boolean', default: false },
    },
  });
  const mistake = values.bug === undefined ? undefined : MISTAKES[Number(values.bug)];
  let failed = 0;
  for (let seed = Number(values.seed); seed < Number(values.seed) + Number(values.seeds); seed++) {
    const options: SimulationOptions = {
      seed,
      hosts: Number(values.hosts),
      faults: Number(values.faults),
      flannelHosts: Number(values.flannel),
      hasLongFaults: values.long,
      spareSubnets: values.spare === undefined ? undefined : Number(values.spare),
      onDemand: values['on-demand'],
      only: values.only?.split(','),
      bug: mistake?.plant,
      ...mistake?.scene,
      traceLength: values.trace ? 100_000 : 0,
      pace: values.pace === undefined ? undefined : Number(values.pace),
    };
    const start = performance.now();
    const { violations, steps, virtualSeconds, convergedAfterSeconds, peaks, fingerprint, trace } =
      await simulate(options);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const verdict = violations.length > 0 ? 'VIOLATED' : `converged after ${convergedAfterSeconds} s`;
    if (violations.length > 0 || Number(values.seeds) <= 20)
      console.log(
        `seed ${seed}: ${verdict}, ${steps} steps, ${virtualSeconds} virtual s, ${seconds} s, ` +
          `at most ${peaks.fleetPerSecond} requests a second and ${peaks.hostPerMinute} a minute and host, fingerprint ${fingerprint}`,
      );
    for (const { invariant, what, at, step } of violations)
      console.log(`  at ${(at / 1000).toFixed(3)} s, step ${step}: ${invariant}: ${what}`);
    if (violations.length > 0) failed++;
    if (values.trace) for (const line of trace) console.log(`    ${line}`);
  }
  return failed > 0 ? 1 : 0;
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 2;
  },
);
