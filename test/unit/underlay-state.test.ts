/** Whether the underlay carries packets. */
import { peersToAsk, stateOf } from '../../src/core/underlay-state';
import { ipAddress } from '../../src/model/address';
import type { NetworkInterface, ResolvedRoute } from '../../src/model/network-interface';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { exampleOverlay } from '../support/examples';
import { FAKE_UNDERLAY } from '../support/fake-kernel';

const { underlay } = exampleOverlay();
const eth0 = (changes: Partial<NetworkInterface> = {}): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  ...changes,
});
const by = (interfaceIndex: number): ResolvedRoute => ({
  interfaceIndex,
  source: undefined,
  gateway: undefined,
});
const peer = ipAddress('192.168.0.2');

const stateWith = (interfaces: NetworkInterface[], routes: Parameters<typeof stateOf>[2] = []) =>
  stateOf(underlay, { interfaces, defaultRoutes: [] }, routes);

it.each([
  ['is gone', [], 'eth0 is gone'],
  ['is down', [eth0({ up: false, carrier: false })], 'eth0 is down'],
  ['is down, and has lost its address', [eth0({ up: false, addresses: [] })], 'eth0 is down'],
  [
    'has lost its address',
    [eth0({ addresses: FAKE_UNDERLAY.addresses.slice(1) })],
    'eth0 does not have its address 192.168.0.1 any more',
  ],
  ['has no carrier', [eth0({ carrier: false })], 'eth0 has no carrier: nothing answers at its other end'],
  ['is as it should be', [eth0()], undefined],
])('an underlay that %s is told so', (_, interfaces, outage) => {
  expect(stateWith(interfaces)).toEqual({ outage, remark: undefined });
});

it('an interface without carrier does no harm where all peers are reached by others', () => {
  const interfaces = [eth0({ carrier: false })];
  expect(stateWith(interfaces, [{ peer, route: by(3) }]).outage).toBeUndefined();
  expect(stateWith(interfaces, [{ peer, route: by(2) }]).outage).toContain('no carrier');
  expect(stateWith(interfaces, [{ peer, route: undefined }]).outage).toContain('no carrier');
});

it('peers that no route leads to are named; what other hosts write into their leases is no outage of ours', () => {
  const others = ['10.1.0.1', '10.2.0.1', '10.3.0.1', '10.4.0.1'].map((text) => ipAddress(text));
  const lost = (peers: typeof others) => peers.map((each) => ({ peer: each, route: undefined }));
  expect(stateWith([eth0()], lost(others))).toEqual({
    outage: undefined,
    remark: 'there is no route to any peer: 10.1.0.1, 10.2.0.1, 10.3.0.1, and 1 more',
  });
  expect(stateWith([eth0()], [{ peer, route: by(2) }, ...lost(others.slice(0, 1))])).toEqual({
    outage: undefined,
    remark: 'there is no route to some peers: 10.1.0.1',
  });
});

it('peers whose packets would come back into the overlay are named', () => {
  const flannel = eth0({ name: 'flannel.1', index: 9 });
  expect(stateWith([eth0(), flannel], [{ peer, route: by(9) }]).remark).toBe(
    'the route to any peer: 192.168.0.2 leads into the overlay itself; give it one by eth0',
  );
  const other = { peer: ipAddress('192.168.0.3'), route: by(2) };
  expect(stateWith([eth0(), flannel], [other, { peer, route: by(9) }]).remark).toBe(
    'the route to some peers: 192.168.0.2 leads into the overlay itself; give it one by eth0',
  );
});

it('of few peers all are asked for, of many some, of as many networks as possible, the far ones first', () => {
  const near = Array.from({ length: 50 }, (_, n) => ipAddress(`192.168.0.${n + 2}`));
  expect(peersToAsk(underlay, [eth0()], near)).toEqual(near.slice(0, 16));
  const mixed = [...near.slice(0, 3), ipAddress('10.0.0.1'), ipAddress('10.0.0.2')];
  expect(peersToAsk(underlay, [eth0()], mixed)).toEqual([mixed[3], mixed[0], mixed[1], mixed[2], mixed[4]]);
  const far = Array.from({ length: 30 }, (_, n) => ipAddress(`10.${n}.0.1`));
  expect(peersToAsk(underlay, [eth0()], [...near, ...far])).toEqual(far.slice(0, 16));
  expect(peersToAsk(underlay, [eth0()], [])).toEqual([]);
});

describe('a host', () => {
  let host: AgentOnFakes;
  afterEach(() => host.stop());

  it.each([
    ['is down', [eth0({ up: false, carrier: false })], /^eth0 is down$/],
    ['has no carrier', [eth0({ carrier: false })], /^eth0 has no carrier/],
    ['is gone', [], /^eth0 is gone$/],
    ['has lost its address', [eth0({ addresses: [] })], /^eth0 does not have its address/],
  ])(
    'whose underlay %s is not ready, and says why; and is ready when it is back',
    async (_, interfaces, reason) => {
      host = await new AgentOnFakes().start();
      host.kernel.networkInterfaces = interfaces;
      await host.clock.advance(70_000);
      expect(host.check('underlay')).toMatchObject({
        ok: false,
        advisory: false,
        reason: expect.stringMatching(reason) as string,
      });
      expect(host.agent.status(false).isReady).toBe(false);
      host.kernel.networkInterfaces = [eth0()];
      await host.clock.advance(70_000);
      expect(host.agent.status(false).isReady).toBe(true);
      // Once, and a reminder after a minute.
      const warnings = host.log.messages('warn').filter((message) => message.includes('underlay'));
      expect(warnings).toHaveLength(2);
    },
  );

  it('whose device another program sets down again and again is not ready while that is not put right', async () => {
    host = await new AgentOnFakes().start();
    const { kernel, clock } = host;
    const [link] = [...kernel.state.values()].flatMap((object) => (object.kind === 'link' ? [object] : []));
    for (let n = 0; n < 25; n++) {
      kernel.tamper({ verb: 'put', object: { ...link!, up: false } });
      await clock.advance(50);
    }
    expect(host.check('kernel')).toMatchObject({
      ok: false,
      advisory: false,
      reason: expect.stringMatching(/^device, address or network route are missing: .*flannel\.1/) as string,
    });
    await clock.advance(5_000);
    expect(host.agent.status(false).isReady).toBe(true);
  });
});
