import fc from 'fast-check';
import { addTo, dropFrom } from '../../src/core/sets-by-key';

test('a map of sets holds what was added and not dropped, and no empty set', () => {
  const step = fc.record({
    isAdded: fc.boolean(),
    key: fc.constantFrom('a', 'b', 'c'),
    item: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const sets = new Map<string, Set<number>>();
      const pairs = new Set<string>();
      for (const { isAdded, key, item } of steps) {
        if (isAdded) {
          addTo(sets, key, item);
          pairs.add(key + item);
        } else {
          dropFrom(sets, key, item);
          pairs.delete(key + item);
        }
        const held = [...sets].flatMap(([of, items]) => [...items].map((each) => of + each));
        expect(held.sort()).toEqual([...pairs].sort());
        for (const items of sets.values()) expect(items.size).toBeGreaterThan(0);
      }
    }),
  );
});
