/** kill -9 at every kind of point of a start, and while system calls fail: the next start puts everything in order. */
import { CRASH_KINDS, crashOf, survive, type Crash, type Death } from '../chaos/crashes';
import type { Loss } from '../chaos/fault';
import { randomOf } from '../chaos/random';
import { Scene } from '../chaos/scene';
import { seedElse } from '../support/long';

/** Hundreds, and by any seed: scripts/chaos --only agent-crashes */
const COUNT = 27;
const SEED = seedElse(20261127, 'crashes');

const deaths: (Death & Pick<Crash, 'kind'>)[] = [];
let failure: string | undefined;
let loss: { untouched: Loss; through: Loss };

beforeAll(async () => {
  const random = randomOf(SEED);
  const scene = await Scene.make({}, random);
  try {
    await scene.begin();
    for (let round = 0; round < COUNT && failure === undefined; round++) {
      const crash = crashOf(random, round);
      await survive(scene, crash, round % 2 === 0).then(
        (death) => deaths.push({ kind: crash.kind, ...death }),
        (error: unknown) => {
          failure = `${crash.what} (round ${round}, seed ${SEED}): ${String(error)}`;
        },
      );
    }
    await scene.undo();
    loss = await scene.count();
  } finally {
    scene.end();
  }
});

test(`after each of ${COUNT} deaths (seed ${SEED}) the next start puts everything in order`, () => {
  expect(failure).toBeUndefined();
  expect(deaths).toHaveLength(COUNT);
});

test.each(CRASH_KINDS)('a third of them: %s', (kind) => {
  expect(deaths.filter((death) => death.kind === kind)).toHaveLength(COUNT / 3);
});

test('whoever was killed by a system call had not written subnet.env yet', () => {
  const killed = deaths.filter(({ kind }) => kind === 'killed by a system call');
  expect(killed).toEqual(killed.map((death) => ({ ...death, isOfItself: true, wasReady: false })));
});

test('flows that are established through the host, and those of others, lose no packet', () => {
  for (const flow of [loss.through, loss.untouched]) {
    expect(flow.lost).toBe(0);
    // So many while each of them was dead.
    expect(flow.sentMeanwhile).toBeGreaterThanOrEqual(COUNT * 200);
  }
});
