import fc from 'fast-check';
import { admissionOf, planAdmission } from '../../src/core/admission';
import { ipAddress, subnet } from '../../src/model/address';
import { AdmittedPeers, printAdmissionTerms, printAdmittedPeer } from '../../src/model/admission';
import { exampleOverlay, examplePeer } from '../support/examples';

const admit = (...numbers: number[]) =>
  admissionOf(
    exampleOverlay(),
    numbers.map((n) => examplePeer(n)),
  );
const line = (n: number) => `192.168.0.${n} 10.5.${n}.0/24`;

describe('admission', () => {
  it('is for peers of the underlay’s family', () => {
    const other = examplePeer(3, { publicIp: ipAddress('fd00::3') });
    const { peers, family } = admissionOf(exampleOverlay(), [examplePeer(2), other]);
    expect({ peers: peers.map(printAdmittedPeer), family }).toEqual({ peers: [line(2)], family: 'ipv4' });
  });

  it('knows every length that subnets have, ours too', () => {
    const short = examplePeer(3, { subnet: subnet('10.5.3.0/28') });
    expect(admit(2, 3).lengths).toEqual([24]);
    expect(admissionOf(exampleOverlay(), [short]).lengths).toEqual([24, 28]);
    const wide = examplePeer(16, { subnet: subnet('10.5.16.0/9') });
    expect(admissionOf(exampleOverlay(), [short, examplePeer(2), wide]).lengths).toEqual([9, 24, 28]);
    expect(printAdmissionTerms(admissionOf(exampleOverlay(), [short]))).toBe(
      'port 8472 vni 1 network 10.5.0.0/16 by /24,/28 from ipv4 v3',
    );
    expect(admit().lengths).toEqual([24]);
  });

  const installed = (...numbers: number[]) => ({
    terms: printAdmissionTerms(admit(2)),
    peers: admit(...numbers).peers,
    strangers: [],
  });

  it('is planned as the difference of peers', () => {
    expect(planAdmission(admit(2, 3), installed(2, 3))).toEqual({ kind: 'nothing' });
    expect(planAdmission(admit(2, 4), installed(2, 3))).toMatchObject({
      add: [{ publicIp: '192.168.0.4' }],
      remove: [{ publicIp: '192.168.0.3' }],
    });
  });

  it('is installed whole when there is none, when rules were changed, and for another port', () => {
    expect(planAdmission(admit(2), undefined).kind).toBe('install');
    expect(planAdmission(admit(2), { ...installed(2), terms: undefined }).kind).toBe('install');
    expect(planAdmission({ ...admit(2), port: 4789 }, installed(2)).kind).toBe('install');
  });

  it('an address that two peers have is admitted until both are gone', () => {
    const [a] = admit(2).peers;
    const b = { ...a!, subnet: subnet('10.5.9.0/24') };
    const peers = new AdmittedPeers([a!]);
    expect(peers.change([b], [a!])).toEqual({
      admitted: [b],
      refused: [a],
      admittedHosts: [],
      refusedHosts: [],
    });
    expect(peers.change([b], [a!])).toMatchObject({ admitted: [], refused: [] });
    expect(peers.change([a!], [b, a!]).refusedHosts).toEqual(['192.168.0.2']);
  });
});

describe('those who are admitted', () => {
  const some = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })), {
    maxLength: 5,
  });
  const peersOf = (numbers: [number, number][]) =>
    numbers.map(([host, n]) => ({
      publicIp: ipAddress(`192.168.0.${host}`),
      subnet: subnet(`10.5.${n}.0/24`),
    }));
  const hostsOf = (peers: AdmittedPeers) => new Set([...peers].map(({ publicIp }) => publicIp));
  const without = <T>(all: Iterable<T>, others: ReadonlySet<T>) => [...all].filter((one) => !others.has(one));

  it('change by those who come, less those who go; a host by the first of its peers, and by the last', () => {
    fc.assert(
      fc.property(some, fc.array(fc.tuple(some, some), { maxLength: 4 }), (first, changes) => {
        const peers = new AdmittedPeers(peersOf(first));
        let expected = new Set(peersOf(first).map(printAdmittedPeer));
        for (const [added, removed] of changes) {
          const [known, hosts] = [expected, hostsOf(peers)];
          const [comes, goes] = [peersOf(added), peersOf(removed)].map((some) => some.map(printAdmittedPeer));
          const change = peers.change(peersOf(added), peersOf(removed));
          expected = new Set(without([...known, ...comes!], new Set(goes)));
          expect([...peers].map(printAdmittedPeer).sort()).toEqual([...expected].sort());
          for (const peer of peers) expect(peers.has(peer)).toBe(true);
          expect(new Set(change.admitted.map(printAdmittedPeer))).toEqual(new Set(without(comes!, known)));
          expect(change.refused.map(printAdmittedPeer).sort()).toEqual(
            without(new Set([...known, ...comes!]), expected).sort(),
          );
          expect([...change.admittedHosts].sort()).toEqual(without(hostsOf(peers), hosts).sort());
          expect([...change.refusedHosts].sort()).toEqual(without(hosts, hostsOf(peers)).sort());
        }
      }),
    );
  });
});
