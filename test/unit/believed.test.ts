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
