import { backoffMilliseconds } from '../../src/core/backoff';

const LIMITS = { minMilliseconds: 100, maxMilliseconds: 1_000 };

describe('the wait before the next try', () => {
  test.each([
    [0, 100],
    [1, 200],
    [2, 400],
    [3, 800],
    [4, 1_000],
    [5, 1_000],
    [1_000_000, 1_000],
  ])('of number %s is up to %s ms: it doubles until it is the longest', (attempt, longest) => {
    expect(backoffMilliseconds(attempt, LIMITS, 1)).toBe(longest);
    expect(backoffMilliseconds(attempt, LIMITS, 0)).toBe(longest / 2);
    expect(backoffMilliseconds(attempt, LIMITS, 0.5)).toBe(longest * 0.75);
  });

  test('is doubled thirty times at most', () => {
    const boundless = { minMilliseconds: 1, maxMilliseconds: Infinity };
    expect(backoffMilliseconds(29, boundless, 1)).toBe(2 ** 29);
    expect(backoffMilliseconds(31, boundless, 1)).toBe(2 ** 30);
  });
});
