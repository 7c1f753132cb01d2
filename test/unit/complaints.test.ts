/** What is wrong with leases: said once each, sparingly where there is much, and kept for who asks. */
import { Complaints, printComplaints, printSome, type Complaint } from '../../src/engine/complaints';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const complaint = (lease: string, reason = 'odd', isUsed = false): Complaint => ({ lease, reason, isUsed });

function complaining() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const complaints = new Complaints(clock);
  /** What is logged when so much is wrong by the judge. */
  const said = (...some: Complaint[]) => {
    const before = log.lines.length;
    for (const each of some) complaints.put('judge', each);
    complaints.log(log);
    return log.lines.slice(before);
  };
  return { clock, log, complaints, said };
}

const many = (count: number, reason?: string) =>
  Array.from({ length: count }, (_, n) => complaint(`lease-${n}`, reason));

it('complaints are told by the names of the leases, those of one lease in the order they came', () => {
  const { complaints } = complaining();
  complaints.put('rivals', complaint('b', 'first'));
  complaints.put('codec', complaint('c'));
  complaints.put('judge', complaint('b', 'second'));
  complaints.put('codec', complaint('a'));
  expect(complaints.all.map(({ lease }) => lease)).toEqual(['a', 'b', 'b', 'c']);
});

it('one is withdrawn by who put it, and not by another', () => {
  const { complaints } = complaining();
  complaints.put('judge', complaint('a'));
  complaints.withdraw('codec', 'a');
  complaints.withdraw('judge', 'b');
  expect(complaints.all).toEqual([complaint('a')]);
  complaints.withdraw('judge', 'a');
  expect(complaints.all).toEqual([]);
});

it('each is logged once, as doubtful where the lease is used all the same', async () => {
  const { clock, said } = complaining();
  expect(said(complaint('a'), complaint('b', 'odd', true))).toEqual([
    { level: 'warn', message: 'lease ignored', fields: { lease: 'a', reason: 'odd' } },
    { level: 'warn', message: 'lease doubtful', fields: { lease: 'b', reason: 'odd' } },
  ]);
  await clock.advance(3_600_000);
  expect(said(complaint('a'))).toEqual([]);
});

it('what was withdrawn before it was logged is not', () => {
  const { complaints, said } = complaining();
  complaints.put('judge', complaint('a'));
  complaints.withdraw('judge', 'a');
  expect(said()).toEqual([]);
});

it.each([
  [59_999, 0],
  [60_000, 1],
])(
  'a lease that changes again and again is said once a minute: %i ms later %i times',
  async (pause, times) => {
    const { clock, complaints, said } = complaining();
    said(complaint('a', 'first'));
    await clock.advance(pause);
    expect(said(complaint('a', 'second'))).toHaveLength(times);
    // Known it is at once, and said as soon as it may be.
    expect(complaints.all).toEqual([complaint('a', 'second')]);
    await clock.advance(60_000);
    expect(said()).toHaveLength(1 - times);
  },
);

it('eight are logged one by one, more as one line that names some', () => {
  expect(complaining().said(...many(8))).toHaveLength(8);
  expect(complaining().said(...many(9))).toEqual([
    {
      level: 'warn',
      message: 'many leases ignored or doubtful',
      fields: { leases: 9, among: 'lease-0 (odd); lease-1 (odd); lease-2 (odd); and 6 more' },
    },
  ]);
});

it('after a line that stood for many there is none for ten seconds, and then what came meanwhile', async () => {
  const { clock, said } = complaining();
  said(...many(9));
  await clock.advance(9_999);
  expect(said(complaint('new'))).toEqual([]);
  await clock.advance(1);
  expect(said()).toMatchObject([{ fields: { lease: 'new' } }]);
});

it('nothing is remembered of leases that were complained about more than a minute ago', async () => {
  const { clock, complaints, said } = complaining();
  said(...many(5, 'first'));
  await clock.advance(30_000);
  said(complaint('late', 'first'));
  await clock.advance(30_000);
  for (const each of many(5, 'second')) complaints.put('judge', each);
  expect(said(complaint('late', 'second')).map(({ fields }) => fields['lease'])).toEqual([
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

it('of a few complaints a person is told the leases and the reasons', () => {
  expect(printComplaints([complaint('a', 'x'), complaint('b', 'y')])).toBe('a (x); b (y)');
});
