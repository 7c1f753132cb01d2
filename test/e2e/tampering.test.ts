/** Random tampering with what a real agent wrote: always back to what it should be, and quiet afterwards. */
import { tamper, type TamperingReport } from '../chaos/tampering/session';
import { isLong, seedElse } from '../support/long';

const COUNT = isLong ? 10_000 : 500;
/** To repeat a failure: scripts/chaos --only tampering --tamperings 500 --seed 20260715 */
const SEED = seedElse(20260715, 'tampering');

let report: TamperingReport;

beforeAll(
  async () => {
    report = await tamper(SEED, COUNT);
  },
  900_000 + COUNT * 240,
);

test(`each of ${COUNT} random tamperings is repaired before any audit, and what is not ours is left alone (seed ${SEED})`, () => {
  expect(report.failures).toEqual([]);
  expect(report.times.runs).toBe(COUNT);
});

test('every kind of tampering was among them', () => {
  expect(Object.keys(report.kinds).sort()).toEqual(
    ['alter', 'base', 'delete', 'device', 'flush', 'lookalike', 'several'].sort(),
  );
});

test('after the last one the agent compares everything, and writes neither to the kernel nor to etcd', () => {
  expect(report).toMatchObject({ writesAfter: 0, revisionsAfter: 0 });
});
