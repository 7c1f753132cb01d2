/** Random tampering with what a real agent wrote: always back to what it should be, fast, and quiet afterwards. */
import { tamper, type TamperingReport } from '../chaos/tampering/session';
import { isLong, seedElse } from '../support/long';

const COUNT = isLong ? 10_000 : 500;
/** Fixed, so that a failure can be repeated: scripts/chaos --only tampering --tamperings 500 --seed 20260715 */
const SEED = seedElse(20260715, 'tampering');

let report: TamperingReport;

beforeAll(
  async () => {
    report = await tamper(SEED, COUNT, 8_000);
  },
  60_000 + COUNT * 240,
);

test('every one of many random tamperings is repaired, and what is not ours is left alone', () => {
  expect(report.failures).toEqual([]);
  expect(report.times.runs).toBe(COUNT);
});

test('every kind of tampering was among them', () => {
  expect(Object.keys(report.kinds).sort()).toEqual(
    ['alter', 'base', 'delete', 'device', 'flush', 'lookalike', 'several'].sort(),
  );
});

test('repairs take milliseconds, not audits', () => {
  // The bench asks for 20 and 100 on a quiet machine; tests run on busy ones.
  expect(report.times.median).toBeLessThan(100);
  expect(report.times.p99).toBeLessThan(1_000);
});

test('after the last one the agent writes nothing, neither to the kernel nor to etcd', () => {
  expect(report).toMatchObject({ writesAfter: 0, revisionsAfter: 0 });
});
