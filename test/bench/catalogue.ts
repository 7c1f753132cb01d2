/** The benches by name, and how much of each is measured. */
import { benchAdmission } from './admission';
import type { Figure } from './figures';
import { benchForeign } from './foreign';
import { benchIdle } from './idle';
import { benchJoin } from './join';
import { benchMiss } from './miss';
import { benchRepair } from './repair';
import { benchSize } from './size';
import { benchStart } from './start';

export interface Bench {
  /** Measures so much: of most, so many runs of one thing. */
  measure(runs: number): Promise<Figure[]>;
  /** The runs of one measurement when two builds are compared; undefined: of no use there. */
  readonly inPairs?: {
    readonly runs: number;
    /** Undefined: not part of the quick selection. */
    readonly quickRuns?: number;
    /** It hardly uses the machine: both builds are measured at the same time. */
    readonly together?: boolean;
  };
}

export const BENCHES: Readonly<Record<string, Bench>> = {
  'start-1': { measure: (runs) => benchStart(1, runs), inPairs: { runs: 3, quickRuns: 1 } },
  'start-1000': { measure: (runs) => benchStart(1000, runs), inPairs: { runs: 3, quickRuns: 1 } },
  'start-4000': { measure: (runs) => benchStart(4000, runs), inPairs: { runs: 3 } },
  'start-25000': { measure: (runs) => benchStart(25_000, runs) },
  'join-1': {
    measure: (runs) => benchJoin(1, runs * 40, runs),
    inPairs: { runs: 5, quickRuns: 2 },
  },
  'join-4000': { measure: (runs) => benchJoin(4000, runs * 40, 0), inPairs: { runs: 5 } },
  miss: { measure: (runs) => benchMiss(Math.min(runs * 100, 2_000)), inPairs: { runs: 5, quickRuns: 3 } },
  repair: { measure: (runs) => benchRepair(runs * 200), inPairs: { runs: 5, quickRuns: 1 } },
  idle: {
    measure: (runs) => benchIdle(runs * 10),
    inPairs: { runs: 6, quickRuns: 1, together: true },
  },
  // A build without an eye for foreign routes has nothing to compare.
  foreign: { measure: (runs) => benchForeign(runs * 5) },
  size: { measure: benchSize, inPairs: { runs: 1, quickRuns: 1, together: true } },
  // The kernel does all of it: both builds would measure the same.
  admission: { measure: (runs) => benchAdmission(runs, runs * 2) },
};

/** The bench of that name; throws an Error that lists the names there are. */
export function benchNamed(name: string): Bench {
  const bench = BENCHES[name];
  if (!bench) throw new Error(`there is no bench '${name}'; there are: ${Object.keys(BENCHES).join(', ')}`);
  return bench;
}
