import { alterations, desiredLink, misfits, overlayMtu } from '../../src/core/vxlan';
import { ipAddress } from '../../src/model/address';
import type { Link } from '../../src/model/kernel-state';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { ON_DEMAND, exampleOverlay } from '../support/examples';
import { FAKE_UNDERLAY } from '../support/fake-kernel';

const { backend, underlay } = exampleOverlay();

describe('the MTU of the overlay', () => {
  it.each([
    ['an ordinary underlay', undefined, 1500, '192.168.0.1', 1450],
    ['an underlay of jumbo frames', undefined, 9000, '192.168.0.1', 8950],
    ['an IPv6 underlay, whose header is longer', undefined, 1500, 'fd00::1', 1430],
    ['a Backend.MTU below that of the underlay', 1400, 1500, '192.168.0.1', 1350],
    ['a Backend.MTU above that of the underlay, which carries no more', 9000, 1500, '192.168.0.1', 1450],
  ])('over %s', (_, configured, mtu, address, expected) => {
    const over = { ...underlay, mtu, address: ipAddress(address) };
    expect(overlayMtu({ ...backend, mtu: configured }, over)).toBe(expected);
  });

  it('follows that of the underlay while the agent runs, in the device and in subnet.env', async () => {
    const fakes = await new AgentOnFakes().start();
    const mtus = () => [
      (fakes.kernel.state.get('link flannel.1') as Link).mtu,
      Number(/FLANNEL_MTU=(\d+)/.exec(fakes.host.subnetFile!)![1]),
    ];
    expect(mtus()).toEqual([1450, 1450]);
    for (const mtu of [1400, 9000]) {
      fakes.kernel.changeInterfaces([{ ...FAKE_UNDERLAY, mtu }]);
      await fakes.clock.advance(5_000);
      expect(mtus()).toEqual([mtu - 50, mtu - 50]);
    }
    await fakes.stop();
  });
});

describe('the device', () => {
  it('tells of L2 misses on demand only: a preloaded host asks about none, and flannel has a device without', () => {
    const isAsking = (overlay: Parameters<typeof desiredLink>[0]) => desiredLink(overlay).vxlan!.l2miss;
    expect(isAsking(exampleOverlay({ resolve: { kind: 'preload' } }))).toBe(false);
    expect(isAsking(exampleOverlay({ resolve: ON_DEMAND }))).toBe(true);
  });

  it('is what the configuration and the underlay say', () => {
    const overlay = exampleOverlay({
      backend: { ...backend, vni: 7, port: 4789, gbp: true, learning: true, mtu: 1300 },
      underlay: { ...underlay, index: 5, address: ipAddress('192.168.0.7') },
    });
    expect(desiredLink(overlay)).toEqual({
      ...{ kind: 'link', name: 'flannel.7', mac: '02:00:00:00:00:01', mtu: 1250, up: true },
      vxlan: {
        ...{ vni: 7, local: '192.168.0.7', underlayIndex: 5, port: 4789 },
        ...{ learning: true, gbp: true, l2miss: false },
      },
    });
  });

  const desired = desiredLink(exampleOverlay());
  const having = (vxlan: Partial<NonNullable<Link['vxlan']>>, link: Partial<Link> = {}): Link => {
    return { ...desired, ...link, vxlan: { ...desired.vxlan!, ...vxlan } };
  };

  it.each([
    ['another VNI', having({ vni: 2 }), ['VNI 2 instead of 1']],
    ['another port', having({ port: 4789 }), ['port 4789 instead of 8472']],
    ['group policy', having({ gbp: true }), ['GBP is on']],
    [
      'an address of another family',
      having({ local: ipAddress('fd00::1') }),
      ['an underlay address of another family, fd00::1'],
    ],
    ['no VXLAN at all', { ...desired, vxlan: undefined }, ['it is not a vxlan device']],
    ['L2 misses', having({ l2miss: true }), []],
    [
      'what can be changed in place',
      having({ learning: true, underlayIndex: 9, local: undefined }, { mtu: 9, up: false }),
      [],
    ],
  ] as const)('with %s fits or not', (_, actual, reasons) => {
    expect(misfits(desired, actual)).toEqual(reasons);
  });

  it('without group policy does not fit where it is wanted', () => {
    expect(misfits(having({ gbp: true }), desired)).toEqual(['GBP is off']);
  });

  it('that differs in what can be changed is told to, each thing by itself', () => {
    const actual = having(
      { local: ipAddress('192.168.0.9'), underlayIndex: 9, learning: true, l2miss: true },
      { mac: '02:00:00:00:00:99' as Link['mac'], mtu: 1400, up: false, master: 4 },
    );
    expect(alterations(desired, actual)).toEqual([
      'mac 02:00:00:00:00:99 → 02:00:00:00:00:01',
      'mtu 1400 → 1450',
      'up false → true',
      'master 4 → 0',
      'local 192.168.0.9 → 192.168.0.1',
      'underlay 9 → 2',
      'learning true → false',
    ]);
    expect(alterations(desired, having({ l2miss: true }))).toEqual([]);
  });
});
