/** Measures two builds by turns: old, new, old, new, …, old. */
import { benchNamed } from './catalogue';
import { judgedOf, type Figure } from './figures';
import { compare, type Comparison, type Pair } from './pairs';

/** A build of the agent: `folder` holds dist/ and native/. */
export interface Build {
  readonly name: string;
  readonly folder: string;
}

export interface Plan {
  readonly old: Build;
  readonly new: Build;
  readonly pairs: number;
  readonly isQuick: boolean;
  /** Measures a bench with the agent of that folder. */
  readonly measure: (name: string, runs: number, folder: string) => Promise<Figure[]>;
  /** Hears what is done, for a person who waits. */
  readonly say: (text: string) => void;
}

/** One measurement of a bench: its figures by name. */
type Measurement = ReadonlyMap<string, Figure>;

interface Round {
  readonly before: Measurement;
  readonly new: Measurement;
  readonly after: Measurement;
}

/** How often a measurement is tried: on a busy machine one may fail that would not fail again. */
const TRIES = 2;

/**
 * So many pairs of that bench; where a figure looks worse, as many again, and all of them are judged together. Of figures that
 * are the same one in twenty looks worse in seven pairs, and one in a hundred still does after that.
 */
export async function comparePairs(name: string, plan: Plan): Promise<Comparison[]> {
  const rounds = await roundsOf(name, plan);
  const comparisons = comparisonsOf(rounds);
  const worse = comparisons.filter(({ verdict }) => verdict === 'worse');
  if (worse.length === 0) return comparisons;
  const names = worse.map((each) => `'${each.name}'`).join(', ');
  plan.say(`${name}: ${names} look${worse.length === 1 ? 's' : ''} worse; ${plan.pairs} more pairs`);
  return comparisonsOf([...rounds, ...(await roundsOf(name, plan, rounds.at(-1)!.after))]);
}

/** `first`: the old build was measured just now. */
async function roundsOf(name: string, plan: Plan, first?: Measurement): Promise<Round[]> {
  const { together = false } = benchNamed(name).inPairs!;
  const rounds: Round[] = [];
  let before = first;
  for (let pair = 1; pair <= plan.pairs; pair++) {
    plan.say(`${name}: pair ${pair} of ${plan.pairs}`);
    if (together) {
      const builds = [plan.old, plan.new, plan.old];
      const [one, now, other] = await Promise.all(builds.map((build) => measure(name, build, plan)));
      rounds.push({ before: one!, new: now!, after: other! });
      continue;
    }
    before ??= await measure(name, plan.old, plan);
    const now = await measure(name, plan.new, plan);
    const after = await measure(name, plan.old, plan);
    rounds.push({ before, new: now, after });
    before = after;
  }
  return rounds;
}

async function measure(name: string, build: Build, plan: Plan): Promise<Measurement> {
  const { isQuick, say } = plan;
  const { runs, quickRuns = runs } = benchNamed(name).inPairs!;
  for (let attempt = 1; ; attempt++) {
    try {
      const figures = await plan.measure(name, isQuick ? quickRuns : runs, build.folder);
      return new Map(figures.filter(({ aside }) => !aside).map((figure) => [figure.name, figure]));
    } catch (error) {
      if (attempt === TRIES) throw new Error(`${build.name} could not be measured`, { cause: error });
      say(`${name}: ${build.name} could not be measured, once more: ${String(error)}`);
    }
  }
}

function comparisonsOf(rounds: readonly Round[]): Comparison[] {
  return [...rounds[0]!.new.values()].map((figure) => {
    const valueIn = (measurement: Measurement) => {
      const found = measurement.get(figure.name);
      if (!found) throw new Error(`'${figure.name}' was measured in one run and not in another`);
      return found[judgedOf(found)];
    };
    const pairs = rounds.map((round): Pair => ({
      before: valueIn(round.before),
      after: valueIn(round.after),
      new: valueIn(round.new),
    }));
    return compare(figure, pairs);
  });
}
