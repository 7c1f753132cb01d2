/** When a lease that is not in etcd as we hold it is a problem, and in which words; registration.test.ts is about a whole agent. */
import { Registration, type Deviation } from '../../src/engine/registration';
import { ipAddress } from '../../src/model/address';
import { FakeClock } from '../support/fake-clock';

function registered() {
  const clock = new FakeClock();
  const registration = new Registration(clock);
  return { clock, registration, problem: (hasFailed = false) => registration.problem(hasFailed) };
}

it('a lease that is in etcd as we hold it is no problem, whatever failed', async () => {
  const { clock, registration, problem } = registered();
  expect([registration.isLost, problem(), problem(true)]).toEqual([false, undefined, undefined]);
  registration.lose({ kind: 'missing' });
  await clock.advance(60_000);
  registration.restore();
  expect([registration.isLost, problem(), problem(true)]).toEqual([false, undefined, undefined]);
});

it('what is put right within the two seconds for which peers keep a host is none, unless a write has failed', async () => {
  const { clock, registration, problem } = registered();
  registration.lose({ kind: 'missing' });
  expect(registration.isLost).toBe(true);
  expect(problem()).toBeUndefined();
  expect(problem(true)).toMatchObject({ forMilliseconds: 0 });
  await clock.advance(2_000);
  expect(problem()).toBeUndefined();
  await clock.advance(1);
  expect(problem()).toMatchObject({ forMilliseconds: 2_001 });
  expect(problem(true)).toMatchObject({ forMilliseconds: 2_001 });
});

it('since when it has been so stays, whatever etcd has in its place meanwhile', async () => {
  const { clock, registration, problem } = registered();
  await clock.advance(500);
  registration.lose({ kind: 'missing' });
  await clock.advance(60_000);
  registration.lose({ kind: 'spoiled' });
  await clock.advance(5_000);
  expect(problem()).toEqual({
    complaint:
      'our lease in etcd cannot be read since 2023-11-14T22:13:21Z: hosts that start now do not know us',
    forMilliseconds: 65_000,
  });
  registration.restore();
  registration.lose({ kind: 'missing' });
  await clock.advance(3_000);
  expect(problem()).toMatchObject({ forMilliseconds: 3_000 });
});

it.each<[Deviation, string]>([
  [{ kind: 'missing' }, 'our lease is not in etcd since AT: other hosts have dropped us'],
  [
    { kind: 'taken', publicIp: ipAddress('192.168.0.7') },
    'our subnet has been leased to another host (PublicIP 192.168.0.7) since AT: other hosts send its packets there',
  ],
  [
    { kind: 'taken', publicIp: undefined },
    'our subnet has been leased to another host (PublicIP unknown) since AT: other hosts send its packets there',
  ],
  [{ kind: 'spoiled' }, 'our lease in etcd cannot be read since AT: hosts that start now do not know us'],
  [
    { kind: 'changed' },
    'our lease in etcd says something else since AT: other hosts may send our packets elsewhere',
  ],
])('%j is said with what it means for packets', (deviation, words) => {
  const { registration, problem } = registered();
  registration.lose(deviation);
  expect(problem(true)?.complaint).toBe(words.replace('AT', '2023-11-14T22:13:21Z'));
});
