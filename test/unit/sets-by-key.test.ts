import fc from 'fast-check';
import { SetsByKey } from '../../src/core/sets-by-key';

const KEYS = ['a', 'b', 'c'];

test('a map of sets holds what was added and not dropped, in that order', () => {
  const step = fc.record({
    isAdded: fc.boolean(),
    key: fc.constantFrom(...KEYS),
    item: fc.constantFrom('1', '2', '3'),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const sets = new SetsByKey<string, string>();
      const pairs = new Set<string>();
      for (const { isAdded, key, item } of steps) {
        if (isAdded) {
          sets.add(key, item);
          pairs.add(key + item);
        } else {
          sets.drop(key, item);
          pairs.delete(key + item);
        }
        for (const of of KEYS) {
          const wanted = [...pairs].filter((pair) => pair.startsWith(of)).map((pair) => pair.slice(1));
          expect([...sets.of(of)]).toEqual(wanted);
          expect(sets.sizeOf(of)).toBe(wanted.length);
          expect(sets.firstOf(of)).toBe(wanted[0]);
        }
      }
    }),
  );
});
