import fc from 'fast-check';
import { PriorityQueue } from '../../src/core/priority-queue';

test('what is put in comes out in order, whatever comes and goes between', () => {
  const step = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constant(undefined));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
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
