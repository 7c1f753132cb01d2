/** The VXLAN port is kept open to peers, and to nobody else. */
import { admissionOf } from '../../src/core/admission';
import { AdmissionKeeper, removeGuard, type AdmissionSituation } from '../../src/engine/admission-keeper';
import { ipAddress, subnet } from '../../src/model/address';
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
  return { guard, clock, log, current, keeper, want, end, stop: () => (stop.abort(), end) };
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

  it('is in place after its first pass, which says so once, whether there was something to do or not', async () => {
    const first = setUp();
    expect(first.keeper.isInPlace).toBe(false);
    await first.clock.advance(600_000);
    expect(first.keeper.isInPlace).toBe(true);
    await first.stop();
    const second = setUp(first.guard);
    second.want(2, 3, 4);
    await second.clock.advance(600_000);
    second.want(2);
    second.keeper.trigger();
    await second.clock.advance(1_000);
    await second.stop();
    const said = (peers: number) => ({
      level: 'info',
      message: 'only peers may send to the VXLAN port',
      fields: { link: 'flannel.1', port: 8472, peers },
    });
    expect([first.log.lines, second.log.lines]).toEqual([[said(2)], [said(3)]]);
    expect(second.guard.calls).toEqual([
      INSTALL,
      `add ${line(4)} remove `,
      `add  remove ${line(3)}, ${line(4)}`,
    ]);
  });

  it('says so again where other rules were needed', async () => {
    const { clock, current, keeper, log, stop } = setUp();
    await clock.advance(0);
    const short = examplePeer(4, { subnet: subnet('10.5.4.0/28') });
    current.situation = { admission: admissionOf(exampleOverlay(), [examplePeer(2), short]), isInSync: true };
    keeper.trigger();
    await clock.advance(0);
    expect(log.messages('info')).toEqual(Array(2).fill('only peers may send to the VXLAN port'));
    await stop();
  });

  it('leaves who comes before the first pass, or after a failure, to a pass', async () => {
    const { guard, clock, keeper, want, stop } = setUp();
    want(2, 3, 4);
    keeper.peersChanged([joins(4)]);
    expect(guard.calls).toEqual([]);
    await clock.advance(0);
    expect(guard.calls).toEqual([`install ${line(2)}, ${line(3)}, ${line(4)}`]);
    await stop();
  });

  it('does not admit at once who has a PublicIP of another family than the underlay', async () => {
    const { guard, clock, keeper, stop } = setUp();
    await clock.advance(0);
    const calls = guard.calls.length;
    keeper.peersChanged([{ before: undefined, after: examplePeer(4, { publicIp: ipAddress('fd00::4') }) }]);
    expect(guard.calls).toHaveLength(calls);
    await stop();
  });

  it('tries again after a growing wait while it cannot write, and says when it could', async () => {
    const { guard, clock, keeper, log, stop } = setUp();
    clock.random = () => 1;
    guard.error = new KernelError('ENOMEM', 'no memory');
    const start = clock.now();
    const tries: number[] = [];
    const observe = guard.observe.bind(guard);
    guard.observe = (link) => (tries.push(clock.now() - start), observe(link));
    await clock.advance(70_000);
    // A tenth of a second, and then the wait.
    expect(tries).toEqual([0, 350, 950, 2_050, 4_150, 8_250, 16_350, 32_450, 62_550]);
    expect(keeper.trouble).toEqual({
      complaint: 'cannot guard the VXLAN port; trying again: no memory',
      forMilliseconds: 70_000,
    });
    guard.error = undefined;
    await clock.advance(30_000);
    expect(log.messages('info')).toEqual([
      'only peers may send to the VXLAN port',
      'the VXLAN port is guarded as it should be again',
    ]);
    await stop();
  });

  it('a mistake of ours ends the agent, and is not tried again and again', async () => {
    for (const when of ['pass', 'change'] as const) {
      const { guard, clock, keeper, end, stop } = setUp();
      await clock.advance(0);
      guard.error = new TypeError('a bug');
      if (when === 'change') {
        expect(() => keeper.peersChanged([joins(4)])).toThrow('a bug');
        guard.error = undefined;
        await stop();
        continue;
      }
      const failure = expect(end).rejects.toThrow('a bug');
      keeper.trigger();
      await clock.advance(0);
      await failure;
    }
  });

  it('listens no more when it has ended, nor to a link that is not ours any more, and complains of nothing', async () => {
    const { guard, clock, current, keeper, log, stop } = setUp();
    await clock.advance(0);
    const { backend } = exampleOverlay();
    current.situation = {
      admission: admissionOf(exampleOverlay({ backend: { ...backend, vni: 7 } }), [examplePeer(2)]),
      isInSync: true,
    };
    keeper.trigger();
    await clock.advance(1_000);
    const trigger = jest.spyOn(keeper, 'trigger');
    guard.tamper('flannel.1', () => undefined);
    expect(trigger).toHaveBeenCalledTimes(0);
    guard.tamper('flannel.7', () => undefined);
    expect(trigger).toHaveBeenCalledTimes(1);
    await stop();
    guard.tamper('flannel.7', () => undefined);
    expect(trigger).toHaveBeenCalledTimes(1);
    expect(log.messages('warn')).toEqual([]);
  });

  it('ends before it knew anything, too', async () => {
    const { clock, current, stop } = setUp();
    current.situation = undefined;
    await clock.advance(0);
    await expect(stop()).resolves.toBeUndefined();
  });

  it('looks now and then where nobody tells of changes, and says so once', async () => {
    const guard = new FakeVxlanGuard();
    guard.listen = () => {
      throw new KernelError('EPERM', 'cannot listen');
    };
    const { clock, log, stop } = setUp(guard);
    await clock.advance(0);
    guard.flush('flannel.1');
    await clock.advance(61_000);
    expect(guard.calls).toEqual([INSTALL, INSTALL]);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'nobody tells when the rules of the VXLAN port change; looking now and then',
        fields: { error: 'cannot listen', everySeconds: 60 },
      },
    ]);
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
    expect(log.lines).toEqual([
      { level: 'info', message: 'anybody may send to the VXLAN port again', fields: { link: 'flannel.1' } },
    ]);
    expect(guard.links()).toEqual(['flannel.2']);
  });

  it('a kernel that refuses ends nothing', () => {
    const guard = new FakeVxlanGuard();
    const log = new FakeLog();
    guard.error = new KernelError('EPERM', 'not permitted');
    removeGuard(guard, 'flannel.1', log);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        message: 'cannot remove the guard of the VXLAN port',
        fields: { link: 'flannel.1', error: 'not permitted' },
      },
    ]);
    guard.error = new TypeError('a bug');
    expect(() => removeGuard(guard, 'flannel.1', log)).toThrow('a bug');
  });
});
