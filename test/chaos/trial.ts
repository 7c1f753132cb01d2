/** Provokes faults, one after the other, and tells what became of each. */
import { auditsThatRepaired } from '../support/lab/repairs';
import type { Fault, Line, Loss } from './fault';
import { NotRun } from './faults/machine';
import { Scene } from './scene';

const NOTHING: Loss = { sent: 0, sentMeanwhile: 0, lost: 0, silenceMilliseconds: 0 };
/** What the damaged host said, at most so many lines of it. */
const SAID_LINES = 6;

/**
 * How repairs are judged: by the time they took, which is for a machine that has nothing else to do; or by what the agent says made it
 * look, for it must not have been that a minute had gone by.
 */
export type Judge = 'time' | 'step';

/** Provokes the faults in this order, with one lab for as many as can share it; calls back after each. */
export async function tryFaults(
  faults: readonly Fault[],
  random: () => number,
  judge: Judge,
  onLine: (line: Line) => void,
): Promise<Line[]> {
  const lines: Line[] = [];
  let scene: Scene | undefined;
  let plan = '';
  try {
    for (const fault of faults) {
      const wanted = JSON.stringify(fault.plan ?? {});
      if (scene && wanted !== plan) {
        scene.end();
        scene = undefined;
      }
      plan = wanted;
      scene ??= await Scene.make(fault.plan ?? {}, random);
      const { line, isIntact } = await tryFault(fault, scene, judge);
      lines.push(line);
      onLine(line);
      if (fault.spoilsLab || !isIntact) {
        scene.end();
        scene = undefined;
      }
    }
    return lines;
  } finally {
    scene?.end();
  }
}

async function tryFault(
  fault: Fault,
  scene: Scene,
  judge: Judge,
): Promise<{ line: Line; isIntact: boolean }> {
  const complaints: string[] = [];
  const attempt = async (what: () => Promise<unknown>) => {
    try {
      return await what();
    } catch (error) {
      complaints.push(error instanceof NotRun ? `not run: ${error.message}` : describe(error));
      return undefined;
    }
  };
  await scene.begin();
  const repairMilliseconds = (await attempt(() => fault.provoke(scene))) as number | undefined;
  await attempt(() => scene.undo());
  if (!fault.spoilsLab) await attempt(() => scene.settle());
  const isIntact = complaints.length === 0;
  const { untouched, through } = (await attempt(() => scene.count())) as { untouched: Loss; through: Loss };
  const said = [...new Set(scene.log().filter(isGrave).map(printed))].slice(0, SAID_LINES);
  const line = {
    ...{ name: fault.name, group: fault.group, what: fault.what, throughLoss: fault.throughLoss },
    ...{ untouched: untouched ?? NOTHING, through: through ?? NOTHING, said },
    ...{ repairMilliseconds, withinMilliseconds: fault.withinMilliseconds },
  };
  complaints.push(...lossesOf(line));
  complaints.push(...(judge === 'time' ? delaysOf(line) : auditsOf(fault, scene)));
  const verdict = complaints.join('; ') || 'good';
  return { line: { ...line, isGood: complaints.length === 0, verdict }, isIntact };
}

type Unjudged = Omit<Line, 'isGood' | 'verdict'>;

function lossesOf({ untouched, through, throughLoss }: Unjudged): string[] {
  return [
    [untouched, through].some(({ sentMeanwhile }) => sentMeanwhile === 0)
      ? 'nothing was sent meanwhile, so nothing is known of losses'
      : undefined,
    untouched.lost > 0 ? `untouched peers lost ${untouched.lost} packets` : undefined,
    throughLoss === 'none' && through.lost > 0 ? `the damaged host lost ${through.lost} packets` : undefined,
  ].filter((complaint) => complaint !== undefined);
}

function delaysOf({ repairMilliseconds, withinMilliseconds }: Unjudged): string[] {
  return repairMilliseconds !== undefined && repairMilliseconds > withinMilliseconds
    ? [`repaired after ${Math.round(repairMilliseconds)} ms only, not within ${withinMilliseconds}`]
    : [];
}

function auditsOf({ isLeftToAudits }: Fault, scene: Scene): string[] {
  return isLeftToAudits
    ? []
    : auditsThatRepaired(scene.log()).map((changes) => `repaired by an audit only: ${String(changes)}`);
}

function isGrave({ level }: { level: string }): boolean {
  return level === 'warn' || level === 'error';
}

function printed({
  level,
  message,
  error,
}: {
  level: string;
  message: string;
  [field: string]: unknown;
}): string {
  return `${level}: ${message}${typeof error === 'string' ? `: ${error}` : ''}`;
}

/** The gist of an error: a whole log may hang on it. */
function describe(error: unknown): string {
  const words = (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, ' ');
  return words.length <= 400 ? words : `${words.slice(0, 200)} … ${words.slice(-200)}`;
}
