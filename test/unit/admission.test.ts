import { admissionOf, planAdmission } from '../../src/core/admission';
import { AdmissionKeeper, type AdmissionSituation } from '../../src/engine/admission-keeper';
import { ipAddress, subnet } from '../../src/model/address';
import { printAdmissionTerms, printAdmittedPeer } from '../../src/model/admission';
import { HostError } from '../../src/model/errors';
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

describe('admission', () => {
  it('is for peers of the underlay’s family', () => {
    const other = examplePeer(3, { publicIp: ipAddress('fd00::3') });
    const { peers, family } = admissionOf(exampleOverlay(), [examplePeer(2), other]);
    expect({ peers: peers.map(printAdmittedPeer), family }).toEqual({ peers: [line(2)], family: 'ipv4' });
  });

  it('uses the one length that all subnets have, if they have', () => {
    const long = examplePeer(3, { subnet: subnet('10.5.3.0/28') });
    expect(admit(2, 3).prefixLength).toBe(24);
    expect(admissionOf(exampleOverlay(), [examplePeer(2), long]).prefixLength).toBeUndefined();
    expect(admissionOf(exampleOverlay(), [long]).prefixLength).toBeUndefined();
    expect(admit().prefixLength).toBeUndefined();
  });

  const installed = (...numbers: number[]) => ({
    terms: printAdmissionTerms(admit(2)),
    peers: new Set(numbers.map(line)),
  });

  it('is planned as the difference of peers', () => {
    expect(planAdmission(admit(2, 3), installed(2, 3))).toEqual({ kind: 'nothing' });
    expect(planAdmission(admit(2, 4), installed(2, 3))).toMatchObject({
      add: [{ publicIp: '192.168.0.4' }],
      remove: [line(3)],
    });
  });

  it('is installed whole when there is none, when rules were changed, and for another port', () => {
    expect(planAdmission(admit(2), undefined).kind).toBe('install');
    expect(planAdmission(admit(2), { ...installed(2), terms: undefined }).kind).toBe('install');
    expect(planAdmission({ ...admit(2), port: 4789 }, installed(2)).kind).toBe('install');
  });
});

function setUp(guard = new FakeVxlanGuard()) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const current: { situation: AdmissionSituation | undefined } = {
    situation: { link: 'flannel.1', admission: admit(2, 3) },
  };
  const keeper = new AdmissionKeeper(guard, clock, log, () => current.situation);
  const stop = new AbortController();
  const end = keeper.run(stop.signal);
  const peersChange = async (...numbers: number[]) => {
    current.situation = { link: 'flannel.1', admission: admit(...numbers) };
    keeper.peersChanged();
    await clock.advance(0);
  };
  return { guard, clock, log, current, keeper, peersChange, stop: () => (stop.abort(), end) };
}

const INSTALL = `install ${line(2)}, ${line(3)}`;

describe('the admission keeper', () => {
  it('admits the peers, then only who comes, at once and without reading anything', async () => {
    const { guard, clock, peersChange, stop } = setUp();
    await clock.advance(0);
    const { observations } = guard;
    await peersChange(2, 3, 4);
    await peersChange(2, 4);
    expect(guard.calls).toEqual([INSTALL, `add ${line(4)} remove `, `add  remove ${line(3)}`]);
    expect(guard.observations).toBe(observations);
    await stop();
    expect(guard.installed.has('flannel.1')).toBe(true);
  });

  it('does nothing before the peers are known: a restart refuses nobody', async () => {
    const first = setUp();
    await first.clock.advance(0);
    await first.stop();
    const { guard, clock, current, keeper, stop } = setUp(first.guard);
    const { situation } = current;
    current.situation = undefined;
    await clock.advance(30_000);
    current.situation = situation;
    keeper.peersChanged();
    await clock.advance(0);
    expect(guard.calls).toEqual([INSTALL]);
    expect(keeper.isInPlace).toBe(true);
    await stop();
  });

  it('finds out what nobody told, and at most once a second what it is told of', async () => {
    const { guard, clock, keeper, stop } = setUp();
    await clock.advance(0);
    guard.installed.get('flannel.1')!.peers.delete(line(2));
    await clock.advance(60_000);
    expect(guard.calls.at(-1)).toBe(`add ${line(2)} remove `);
    const { observations } = guard;
    for (let i = 0; i < 100; i++) {
      keeper.audit();
      await clock.advance(10);
    }
    await clock.advance(2_000);
    expect(guard.observations - observations).toBeLessThanOrEqual(3);
    guard.installed.clear();
    keeper.audit();
    await clock.advance(1_000);
    expect(guard.calls.at(-1)).toBe(INSTALL);
    await stop();
  });

  it('reads anew after a failure, and says it once', async () => {
    const { guard, clock, keeper, log, peersChange, stop } = setUp();
    await clock.advance(0);
    guard.error = new HostError('ENOENT', 'cannot run nft');
    await peersChange(2, 3, 4);
    await clock.advance(50_000);
    expect(log.messages('warn')).toEqual(['cannot guard the VXLAN port; trying again']);
    expect(keeper.isInPlace).toBe(false);
    guard.error = undefined;
    await clock.advance(30_000);
    expect([...guard.installed.get('flannel.1')!.peers]).toEqual([line(2), line(3), line(4)]);
    expect(keeper).toMatchObject({ isInPlace: true, trouble: undefined });
    await stop();
  });

  it('removes a guard that is not wanted any more, and writes nothing where there is none', async () => {
    const { guard, clock, current, keeper, stop } = setUp();
    await clock.advance(0);
    current.situation = { link: 'flannel.1', admission: undefined };
    keeper.peersChanged();
    await clock.advance(200_000);
    expect(guard.calls).toEqual([INSTALL, 'remove']);
    await stop();
  });
});
