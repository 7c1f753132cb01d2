import fc from 'fast-check';
import { admissionOf, planAdmission } from '../../src/core/admission';
import { AdmissionKeeper, removeGuard, type AdmissionSituation } from '../../src/engine/admission-keeper';
import { ipAddress, subnet } from '../../src/model/address';
import { AdmittedPeers, printAdmissionTerms, printAdmittedPeer } from '../../src/model/admission';
import { KernelError } from '../../src/model/errors';
import type { PeerChange } from '../../src/model/peer';
import { exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeVxlanGuard } from '../support/fake-vxlan-guard';

const admit = (...numbers: number[]) =>
  admissionOf(
    exampleOverlay(),
    numbers.map((n) => examplePeer(n)),
  );
const line = (n: number) => `192.168.0.${n} 10.5.${n}.0/24`;
const joins = (n: number): PeerChange => ({ before: undefined, after: examplePeer(n) });
const leaves = (n: number): PeerChange => ({ before: examplePeer(n), after: undefined });

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
      'port 8472 vni 1 network 10.5.0.0/16 by /24,/28 from ipv4 v2',
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

function setUp(guard = new FakeVxlanGuard()) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const current: { situation: AdmissionSituation | undefined } = {
    situation: { admission: admit(2, 3), isInSync: true },
  };
  const keeper = new AdmissionKeeper(guard, clock, log, () => current.situation);
  const stop = new AbortController();
  const end = keeper.run(stop.signal);
  const want = (...numbers: number[]) =>
    (current.situation = { admission: admit(...numbers), isInSync: true });
  return { guard, clock, log, current, keeper, want, stop: () => (stop.abort(), end) };
}

const INSTALL = `install ${line(2)}, ${line(3)}`;

describe('the admission keeper', () => {
  it('admits the peers, then who comes before it returns, and without reading anything', async () => {
    const { guard, clock, keeper, want, stop } = setUp();
    await clock.advance(0);
    const { observations } = guard;
    want(2, 3, 4);
    keeper.peersChanged([joins(4)]);
    expect(guard.calls).toEqual([INSTALL, `add ${line(4)} remove `]);
    want(2, 4);
    keeper.peersChanged([leaves(3)]);
    expect(guard.calls.at(-1)).toBe(`add  remove ${line(3)}`);
    await clock.advance(1_000);
    expect(guard.observations).toBe(observations);
    await stop();
    expect(guard.installed.has('flannel.1')).toBe(true);
  });

  it('a peer that changes its address is refused by the old one; one that stays is not touched', async () => {
    const { guard, clock, keeper, stop } = setUp();
    await clock.advance(0);
    const before = examplePeer(3);
    keeper.peersChanged([{ before, after: { ...before, publicIp: ipAddress('192.168.0.33') } }]);
    expect(guard.calls.at(-1)).toBe(`add 192.168.0.33 10.5.3.0/24 remove ${line(3)}`);
    const { length } = guard.calls;
    keeper.peersChanged([{ before: examplePeer(2), after: examplePeer(2) }]);
    expect(guard.calls).toHaveLength(length);
    await stop();
  });

  it('admits a peer that etcd told of before the watch did; if the watch never does, not for long', async () => {
    const { guard, clock, keeper, stop } = setUp();
    await clock.advance(0);
    keeper.admit([examplePeer(7)]);
    expect(guard.calls.at(-1)).toBe(`add ${line(7)} remove `);
    await clock.advance(60_000);
    expect(guard.calls.at(-1)).toBe(`add  remove ${line(7)}`);
    expect(keeper.repairs).toBe(0);
    await stop();
  });

  it('makes other rules for a subnet of another length', async () => {
    const { guard, clock, keeper, current, stop } = setUp();
    await clock.advance(0);
    const short = examplePeer(4, { subnet: subnet('10.5.4.0/28') });
    current.situation = {
      admission: admissionOf(exampleOverlay(), [examplePeer(2), short]),
      isInSync: true,
    };
    keeper.peersChanged([{ before: undefined, after: short }]);
    await clock.advance(0);
    expect(guard.calls.at(-1)).toBe(`install ${line(2)}, 192.168.0.4 10.5.4.0/28`);
    expect(keeper.repairs).toBe(0);
    await stop();
  });

  it('does nothing before the peers are known, and refuses nobody before it is in sync', async () => {
    const first = setUp();
    await first.clock.advance(0);
    await first.stop();
    const { guard, clock, current, keeper, stop } = setUp(first.guard);
    current.situation = undefined;
    await clock.advance(30_000);
    current.situation = { admission: admit(2, 5), isInSync: false };
    keeper.trigger();
    await clock.advance(0);
    expect(guard.calls).toEqual([INSTALL, `add ${line(5)} remove `]);
    current.situation = { admission: admit(2, 5), isInSync: true };
    keeper.trigger();
    await clock.advance(0);
    expect(guard.calls.at(-1)).toBe(`add  remove ${line(3)}`);
    expect(keeper.isInPlace).toBe(true);
    await stop();
  });

  it('repairs at once what somebody changed, and in time what nobody told', async () => {
    const { guard, clock, log, keeper, stop } = setUp();
    await clock.advance(0);
    guard.flush('flannel.1');
    await clock.advance(0);
    expect(guard.calls).toEqual([INSTALL, INSTALL]);
    guard.installed.get('flannel.1')!.peers.delete(line(2));
    await clock.advance(60_100);
    expect(guard.calls.at(-1)).toBe(`add ${line(2)} remove `);
    expect(keeper.repairs).toBe(2);
    expect(log.messages('info')).toContain(
      'the VXLAN port is guarded again after another program changed its rules',
    );
    await stop();
  });

  it('does not fight: who undoes it at once is followed more and more slowly, and named once', async () => {
    const { guard, clock, log, keeper, stop } = setUp();
    await clock.advance(0);
    for (let i = 0; i < 1_000; i++) {
      guard.flush('flannel.1');
      await clock.advance(100);
    }
    expect(keeper.repairs).toBeLessThan(20);
    expect(log.messages('warn')).toEqual([
      'another program undoes the guard of the VXLAN port again and again; repairing more slowly',
    ]);
    expect(log.messages('info').length).toBeLessThan(10);
    await stop();
  });

  it('reads anew after a failure, and says it once', async () => {
    const { guard, clock, keeper, log, want, stop } = setUp();
    await clock.advance(0);
    guard.error = new KernelError('ENOMEM', 'no memory');
    want(2, 3, 4);
    keeper.peersChanged([joins(4)]);
    await clock.advance(50_000);
    expect(log.messages('warn')).toEqual(['cannot guard the VXLAN port; trying again']);
    expect(keeper.isInPlace).toBe(false);
    guard.error = undefined;
    await clock.advance(30_000);
    expect([...guard.installed.get('flannel.1')!.peers.keys()]).toEqual([line(2), line(3), line(4)]);
    expect(keeper).toMatchObject({ isInPlace: true, trouble: undefined });
    await stop();
  });

  it('names each stranger once, but not a peer that joined since', async () => {
    const { guard, clock, log, stop } = setUp();
    await clock.advance(0);
    guard.strangers = [ipAddress('192.168.0.99'), ipAddress('192.168.0.3')];
    await clock.advance(200_000);
    expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
      {
        message: 'packets refused: no peer has the address they come from as its PublicIP',
        fields: { address: '192.168.0.99' },
      },
    ]);
    await stop();
  });
});

describe('without admission', () => {
  it('what an earlier agent installed is removed, and nothing else is written', () => {
    const guard = new FakeVxlanGuard();
    const log = new FakeLog();
    removeGuard(guard, 'flannel.1', log);
    guard.install(admit(2));
    guard.install({ ...admit(2), link: 'flannel.2' });
    removeGuard(guard, 'flannel.1', log);
    expect(guard.calls.filter((call) => call === 'remove')).toHaveLength(1);
    expect(guard.links()).toEqual(['flannel.2']);
  });

  it('a kernel that refuses ends nothing', () => {
    const guard = new FakeVxlanGuard();
    const log = new FakeLog();
    guard.error = new KernelError('EPERM', 'not permitted');
    removeGuard(guard, 'flannel.1', log);
    expect(log.messages('warn')).toEqual(['cannot remove the guard of the VXLAN port']);
  });
});
