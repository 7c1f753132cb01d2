import fc from 'fast-check';
import { Believed } from '../../src/core/believed';
import { outranks, type Contender } from '../../src/core/contender';
import { areRivals } from '../../src/core/rivals';
import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';

const SUBNETS = [
  '10.5.0.0/22',
  '10.5.1.0/24',
  '10.5.2.0/24',
  '10.5.2.0/25',
  '10.5.2.128/25',
  '10.5.9.0/24',
  'fd00::/16',
];

const contenders: fc.Arbitrary<Contender> = fc.record({
  name: fc.constantFrom(...'abcdefgh'),
  isLive: fc.constant(true),
  isFitting: fc.boolean(),
  createRevision: fc.integer({ min: 1, max: 12 }).map(String),
  peer: fc.record({
    subnet: fc.constantFrom(...SUBNETS).map(subnet),
    publicIp: fc.constantFrom('192.168.0.1', '192.168.0.2').map(ipAddress),
    vtepMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03').map(macAddress),
  }),
});

it('thousands of leases of one host go one after the other, each in as few steps as any other', () => {
  let steps = 0;
  const all = Array.from({ length: 2_000 }, (_, n): Contender => ({
    name: `host ${n}`,
    get isLive() {
      steps++;
      return true;
    },
    isFitting: true,
    createRevision: String(10_000 + n),
    peer: {
      subnet: subnet(`10.${n >> 8}.${n & 255}.0/24`),
      publicIp: ipAddress('192.168.0.1'),
      vtepMac: macAddress('02:00:00:00:00:01'),
    },
  }));
  const believed = new Believed();
  for (const each of all) believed.add(each);
  const last = all.at(-1)!;
  const moved = { ...last.peer, publicIp: ipAddress('192.168.0.2'), subnet: subnet('10.99.0.0/24') };
  const rival = { ...last, name: 'rival', peer: moved, createRevision: '99999' };
  expect(believed.winnerOver(rival)).toBe(all[0]);
  steps = 0;
  for (const each of all.slice(0, -1)) expect(believed.remove(each)).toBe(true);
  expect(steps / all.length).toBeLessThan(10);
  expect(believed.winnerOver(rival)).toBe(last);
});

describe('among the believed leases', () => {
  it('conflicts are those that a search through all of them finds, whoever came and went', () => {
    const step = fc.record({ contender: contenders, removed: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), contenders, (steps, probe) => {
        const believed = new Believed();
        let list: Contender[] = [];
        for (const { contender, removed } of steps) {
          const going = list[removed];
          if (going) {
            expect(believed.remove(going)).toBe(true);
            list = list.filter((other) => other !== going);
          }
          const conflicts = list.filter((other) => areRivals(other.peer, contender.peer));
          expect(new Set(believed.rivalsOf(contender))).toEqual(new Set(conflicts));
          if (conflicts.length === 0) {
            // No two conflict: the caller sees to that.
            expect(believed.remove(contender)).toBe(false);
            believed.add(contender);
            list.push(contender);
          }
        }
        const conflicts = list.filter((other) => areRivals(other.peer, probe.peer));
        expect(new Set(believed.rivalsOf(probe))).toEqual(new Set(conflicts));
        const winners = conflicts.filter((other) => outranks(other, probe));
        expect(winners.length > 0 ? winners : [undefined]).toContain(believed.winnerOver(probe));
        const others = list.filter(
          ({ peer }) => peer.publicIp === probe.peer.publicIp && peer.vtepMac !== probe.peer.vtepMac,
        );
        expect(others.length > 0 ? others : [undefined]).toContain(believed.otherHostAt(probe.peer));
      }),
      { numRuns: 1_000 },
    );
  });

  it('may be removed while they are looked through', () => {
    const believed = new Believed();
    const [first] = fc.sample(contenders, { numRuns: 1, seed: 1 });
    const one = { ...first!, peer: { ...first!.peer, subnet: subnet('10.5.1.0/24') } };
    const two = { ...one, peer: { ...one.peer, subnet: subnet('10.5.2.0/25') } };
    const three = { ...one, peer: { ...one.peer, subnet: subnet('10.5.2.128/25') } };
    for (const each of [one, two, three]) believed.add(each);
    const wide = {
      ...one,
      peer: { ...one.peer, subnet: subnet('10.5.0.0/16'), publicIp: ipAddress('192.168.0.9') },
    };
    const seen = new Set<Contender>();
    for (const rival of believed.rivalsOf(wide)) {
      seen.add(rival);
      believed.remove(rival);
    }
    expect(seen).toEqual(new Set([one, two, three]));
    expect([...believed.rivalsOf(wide)]).toEqual([]);
  });
});
