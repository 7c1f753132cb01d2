/** Chance that can be repeated. */
import { randomInt } from 'node:crypto';

/** This seed, always the same, as long as nobody asks for the long tests: these try another one each time. Say it when red. */
export function seedOf(usual: number): number {
  return process.env['VTEPD_LONG'] === '1' ? randomInt(1, 1_000_000_000) : usual;
}

/** Numbers from 0 up to, not including, 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
