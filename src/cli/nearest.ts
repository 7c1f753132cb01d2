/** What somebody may have meant. */

/** Twice as long as any name: what is longer was not meant as one. */
const LONGEST_WORD = 80;

/** The candidate most like `word`, or undefined when none is like it. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > LONGEST_WORD) return undefined;
  const tolerance = Math.floor(word.length / 3);
  let best: string | undefined;
  let bestDistance = tolerance + 0.5;
  for (const candidate of candidates) {
    const distance = distanceOf(word, candidate);
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  // Part of a name, as `endpoints` is of `etcd-endpoints`, if it is part of no other.
  const containing = word.length < 3 ? [] : candidates.filter((candidate) => candidate.includes(word));
  return best ?? (containing.length === 1 ? containing[0] : undefined);
}

/** How many letters must be inserted, removed, replaced or swapped with their neighbor (optimal string alignment). */
export function distanceOf(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (isSame ? 0 : 1),
        isSwapped ? beforeLast[column - 2]! + 1 : Infinity,
      );
    }
    [beforeLast, last] = [last, current];
  }
  return last[b.length]!;
}
