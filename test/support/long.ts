/** `scripts/test --long` (VTEPD_LONG=1): complete suites in place of short ones, and chance in place of fixed seeds. */
import { randomInt } from 'node:crypto';

export const isLong = process.env['VTEPD_LONG'] === '1';

/** The seed of the normal run; in a long one another each time, which is printed, so that the run can be repeated. */
export function seedElse(normal: number, what: string): number {
  if (!isLong) return normal;
  const seed = randomInt(1, 1_000_000);
  process.stderr.write(`${what}: seed ${seed}\n`);
  return seed;
}
