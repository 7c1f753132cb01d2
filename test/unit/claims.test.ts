/** What a host brings forward when it looks for a lease, and what it says of the leases it finds. */
import type { RememberedLease } from '../../src/core/acquisition';
import { Claims, describeExhaustion, type ClaimOptions } from '../../src/engine/claims';
import { subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import { exampleLease, examplePeer, exampleRange } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

const REMEMBERED: RememberedLease = { ...examplePeer(7), isThisHosts: true };
const MAC = macAddress('02:00:00:00:00:07');

function claims(changes: Partial<ClaimOptions> = {}) {
  const clock = new FakeClock();
  clock.random = () => 0.25;
  const log = new FakeLog();
  const all = new Claims(clock, log, {
    range: exampleRange(),
    publicIp: () => examplePeer(7).publicIp,
    previous: subnet('10.5.7.0/24'),
    mayRenumber: true,
    ...changes,
  });
  const isGrantedToUs = () => false;
  return {
    log,
    all,
    isGrantedToUs,
    next: (held = undefined as never) => all.next(held, [], [], isGrantedToUs),
  };
}

it('a host without memory brings forward its range, its PublicIP and the subnet of subnet.env', () => {
  const { next, isGrantedToUs } = claims();
  expect(next()).toEqual({
    range: exampleRange(),
    mayRenumber: true,
    avoid: [],
    isGrantedToUs,
    publicIp: '192.168.0.7',
    previous: subnet('10.5.7.0/24'),
    remembered: undefined,
    ownMacs: [],
    conceded: new Set(),
    reserved: [],
    random: 0.25,
  });
});

it('a host with a memory brings forward what it remembers, its MACs and what it reaches otherwise, as they are then', () => {
  let what = 'a gateway';
  const { next } = claims({
    remembered: () => REMEMBERED,
    ownMacs: () => [MAC, undefined],
    reserved: () => [{ subnet: subnet('10.5.9.0/24'), what }],
  });
  expect(next()).toMatchObject({ remembered: REMEMBERED, ownMacs: [MAC, undefined] });
  what = 'another gateway';
  expect(next().reserved).toEqual([{ subnet: subnet('10.5.9.0/24'), what: 'another gateway' }]);
});

it('what a host holds counts for more than what it remembers', () => {
  const { all } = claims({ remembered: () => REMEMBERED });
  const claim = all.next(exampleLease(9), [], [subnet('10.5.3.0/24')], () => true);
  expect(claim).toMatchObject({ previous: subnet('10.5.9.0/24'), avoid: [subnet('10.5.3.0/24')] });
  expect(claim.remembered).toBeUndefined();
});

it('each oddity of a lease with our PublicIP is said once', () => {
  const { all, log, isGrantedToUs } = claims();
  const { attributes } = exampleLease(7);
  const reservation = (name: string) =>
    exampleLease(7, { name, subnet: subnet('10.99.7.0/24'), attributes, etcdLeaseId: undefined });
  const [first, second] = [reservation('10.99.7.0-24'), reservation('10.98.7.0-24')];
  all.next(undefined, [first], [], isGrantedToUs);
  all.next(undefined, [first, second], [], isGrantedToUs);
  all.next(undefined, [first, second], [], isGrantedToUs);
  expect(log.lines).toEqual(
    ['10.99.7.0-24', '10.98.7.0-24'].map((lease) => ({
      level: 'warn',
      message: 'a lease with our PublicIP is not ours to use',
      fields: { lease, reason: expect.stringContaining('a reservation for our PublicIP') as string },
    })),
  );
});

it('a lease that is conceded is said, with what to do, and brought forward as that from then on', () => {
  const { all, log, next } = claims();
  all.concede(exampleLease(7));
  expect(next().conceded).toEqual(new Set(['10.5.7.0-24']));
  expect(log.lines).toEqual([
    {
      level: 'warn',
      message: 'the lease that this host remembers is held by another host, which lives; taking another',
      fields: {
        lease: '10.5.7.0-24',
        advice: 'one of the two is a copy of the other: give it a machine ID and a state file of its own',
      },
    },
  ]);
});

it.each([
  [[], 'every subnet of 10.5.0.0/16 is leased; free one, or enlarge the network'],
  [
    ['a gateway', 'a resolver', 'a gateway'],
    'every subnet of 10.5.0.0/16 that is not leased holds what this host reaches otherwise (a gateway; a resolver); ' +
      'free another, or choose a network apart from those of the hosts',
  ],
])('where there is no subnet, and %j lie in those that are free, a person is told so', (whats, told) => {
  const blocked = whats.map((what) => ({ subnet: subnet('10.5.9.0/24'), what }));
  expect(describeExhaustion(subnet('10.5.0.0/16'), { kind: 'exhausted', blocked })).toBe(told);
});

it('where there is no subnet for no other reason than that all are leased, a person is told so', () => {
  expect(describeExhaustion(subnet('10.5.0.0/16'), { kind: 'exhausted' })).toBe(
    'every subnet of 10.5.0.0/16 is leased; free one, or enlarge the network',
  );
});
