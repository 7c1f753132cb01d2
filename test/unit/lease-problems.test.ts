/** What is wrong with leases: said once each, sparingly where there is much, and kept for who asks. */
import {
  LeaseProblems,
  printLeaseProblems,
  printSome,
  type LeaseProblem,
} from '../../src/engine/lease-problems';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const problem = (lease: string, reason = 'odd', isUsed = false): LeaseProblem => ({ lease, reason, isUsed });

function reporting() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const problems = new LeaseProblems(clock);
  /** What is logged when so much is wrong by the judge. */
  const said = (...some: LeaseProblem[]) => {
    const before = log.lines.length;
    for (const each of some) problems.put('judge', each);
    problems.log(log);
    return log.lines.slice(before);
  };
  return { clock, log, problems, said };
}

const many = (count: number, reason?: string) =>
  Array.from({ length: count }, (_, n) => problem(`lease-${n}`, reason));

it('problems are told by the names of the leases, those of one lease in the order they came', () => {
  const { problems } = reporting();
  problems.put('conflicts', problem('b', 'first'));
  problems.put('codec', problem('c'));
  problems.put('judge', problem('b', 'second'));
  problems.put('codec', problem('a'));
  expect(problems.all.map(({ lease }) => lease)).toEqual(['a', 'b', 'b', 'c']);
});

it('one is withdrawn by who put it, and not by another', () => {
  const { problems } = reporting();
  problems.put('judge', problem('a'));
  problems.withdraw('codec', 'a');
  problems.withdraw('judge', 'b');
  expect(problems.all).toEqual([problem('a')]);
  problems.withdraw('judge', 'a');
  expect(problems.all).toEqual([]);
});

it('each is logged once, as doubtful where the lease is used all the same', async () => {
  const { clock, said } = reporting();
  expect(said(problem('a'), problem('b', 'odd', true))).toEqual([
    { level: 'warn', message: 'lease ignored', fields: { lease: 'a', reason: 'odd' } },
    { level: 'warn', message: 'lease doubtful', fields: { lease: 'b', reason: 'odd' } },
  ]);
  await clock.advance(3_600_000);
  expect(said(problem('a'))).toEqual([]);
});

it('what was withdrawn before it was logged is not', () => {
  const { problems, said } = reporting();
  problems.put('judge', problem('a'));
  problems.withdraw('judge', 'a');
  expect(said()).toEqual([]);
});

it.each([
  [59_999, 0],
  [60_000, 1],
])(
  'a lease that changes again and again is said once a minute: %i ms later %i times',
  async (pause, times) => {
    const { clock, problems, said } = reporting();
    said(problem('a', 'first'));
    await clock.advance(pause);
    expect(said(problem('a', 'second'))).toHaveLength(times);
    // Known it is at once, and said as soon as it may be.
    expect(problems.all).toEqual([problem('a', 'second')]);
    await clock.advance(60_000);
    expect(said()).toHaveLength(1 - times);
  },
);

it('eight are logged one by one, more as one line that names some', () => {
  expect(reporting().said(...many(8))).toHaveLength(8);
  expect(reporting().said(...many(9))).toEqual([
    {
      level: 'warn',
      message: 'many leases ignored or doubtful',
      fields: { leases: 9, among: 'lease-0 (odd); lease-1 (odd); lease-2 (odd); and 6 more' },
    },
  ]);
});

it('after a line that stood for many there is none for ten seconds, and then what came meanwhile', async () => {
  const { clock, said } = reporting();
  said(...many(9));
  await clock.advance(9_999);
  expect(said(problem('new'))).toEqual([]);
  await clock.advance(1);
  expect(said()).toMatchObject([{ fields: { lease: 'new' } }]);
});

it('nothing is remembered of leases that were complained about more than a minute ago', async () => {
  const { clock, problems, said } = reporting();
  said(...many(5, 'first'));
  await clock.advance(30_000);
  said(problem('late', 'first'));
  await clock.advance(30_000);
  for (const each of many(5, 'second')) problems.put('judge', each);
  expect(said(problem('late', 'second')).map(({ fields }) => fields['lease'])).toEqual([
    'lease-0',
    'lease-1',
    'lease-2',
    'lease-3',
    'lease-4',
  ]);
  await clock.advance(30_000);
  expect(said()).toMatchObject([{ fields: { lease: 'late' } }]);
});

it.each([
  [[], ''],
  [['a', 'b', 'c'], 'a; b; c'],
  [['a', 'b', 'c', 'd'], 'a; b; c; and 1 more'],
])('of %j a person is told %j', (texts, told) => {
  expect(printSome(texts)).toBe(told);
});

it('of a few problems a person is told the leases and the reasons', () => {
  expect(printLeaseProblems([problem('a', 'x'), problem('b', 'y')])).toBe('a (x); b (y)');
});

it('a reason that changes is shown as it is, and logged again only when it is put again', () => {
  const { problems, log } = reporting();
  let reason = 'first';
  const changing = {
    lease: 'a',
    get reason() {
      return reason;
    },
    isUsed: false,
  };
  problems.put('conflicts', changing);
  reason = 'second';
  expect(problems.all).toMatchObject([{ lease: 'a', reason: 'second' }]);
  problems.log(log);
  expect(log.lines).toMatchObject([{ message: 'lease ignored', fields: { lease: 'a', reason: 'second' } }]);
});
