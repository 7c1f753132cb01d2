import fc from 'fast-check';
import { PriorityQueue } from '../../src/core/priority-queue';

test('what is put in comes out in order, whatever comes and goes between', () => {
  // More come than go, and in the end all go: only a large queue has an order to lose.
  const item = { arbitrary: fc.integer({ min: 0, max: 50 }), weight: 4 };
  const step = fc.oneof(item, { arbitrary: fc.constant(undefined), weight: 1 });
  const steps = fc
    .array(step, { maxLength: 100 })
    .map((some) => [...some, ...some.map(() => undefined), undefined]);
  fc.assert(
    fc.property(steps, (steps) => {
      const queue = new PriorityQueue<number>((a, b) => a - b);
      const waiting: number[] = [];
      for (const item of steps) {
        if (item === undefined) {
          waiting.sort((a, b) => a - b);
          expect(queue.pop()).toBe(waiting.shift());
        } else {
          queue.push(item);
          waiting.push(item);
        }
        expect(queue.size).toBe(waiting.length);
      }
    }),
  );
});
