import fc from 'fast-check';
import { desiredState, peerObjects, programmedPeers, unreachableRoute } from '../../src/core/desired';
import { plan } from '../../src/core/plan';
import { ipAddress, subnet } from '../../src/model/address';
import {
  kernelStateOf,
  keyOf,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type Neighbor,
  type Link,
} from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { printOperation, type Operation } from '../../src/model/operation';
import { MutablePeerTable } from '../../src/model/peer';
import { IDLE_MILLISECONDS, ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';

const overlay = exampleOverlay();
const whole = (...peers: number[]) =>
  desiredState(
    overlay,
    peers.map((n) => examplePeer(n)),
    [],
  );
const textOf = (operations: readonly Operation[]) => operations.map(printOperation);

/** The state after the kernel has carried out the operations: what the plan is judged by. */
function applied(actual: KernelState, operations: readonly Operation[]): KernelState {
  const state = new Map(actual);
  for (const { verb, object } of operations) {
    const before = state.get(keyOf(object));
    if (verb === 'put') state.set(keyOf(object), object);
    if (verb === 'put' && object.kind === 'link' && before?.kind === 'link' && before.mac !== object.mac) {
      for (const [key, other] of state) if (other.kind === 'neighbor') state.delete(key);
    }
    if (verb === 'remove') state.delete(keyOf(object));
    if (verb === 'remove' && object.kind === 'link') {
      for (const [key, other] of state)
        if (other.kind !== 'link' && other.link === object.name) state.delete(key);
    }
  }
  return state;
}

describe('the plan for a host', () => {
  it('builds everything from nothing, each object after what it needs', () => {
    expect(textOf(plan(whole(2), kernelStateOf([])))).toEqual([
      'put link flannel.1 02:00:00:00:00:01 mtu 1450 up vxlan id 1 local 192.168.0.1 dev if2 dstport 8472 nolearning',
      'put ntable ipv4 dev flannel.1 app_probes 3 queue_bytes 8388608',
      'put addr 10.5.1.0/32 dev flannel.1',
      'put route 10.5.0.0/16 dev flannel.1 proto 84 src 10.5.1.0 metric 0',
      'put fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 permanent',
      'put route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink',
    ]);
  });

  it('does nothing when everything is there', () => {
    expect(plan(whole(2, 3), whole(2, 3))).toEqual([]);
  });

  it('removes a peer that left in the reverse order', () => {
    expect(textOf(plan(whole(2), whole(2, 3)))).toEqual([
      'remove route 10.5.3.0/24 via 10.5.3.0 dev flannel.1 proto 84 metric 4 onlink',
      'remove neigh 10.5.3.0 dev flannel.1 lladdr 02:00:00:00:00:03 permanent',
      'remove fdb 02:00:00:00:00:03 dev flannel.1 dst 192.168.0.3 self permanent',
    ]);
  });

  it('makes the new way before it breaks the old one when a VTEP MAC changes', () => {
    const moved = desiredState(overlay, [examplePeer(2, { vtepMac: macAddress('02:00:00:00:00:22') })], []);
    expect(textOf(plan(moved, whole(2)))).toEqual([
      'put fdb 02:00:00:00:00:22 dev flannel.1 dst 192.168.0.2 self permanent',
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:22 permanent (changed)',
      'remove fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
    ]);
  });

  it('has the device send from the address of the interface, not from a PublicIP that NAT makes of it', () => {
    const { underlay } = exampleOverlay();
    const behindNat = exampleOverlay({ underlay: { ...underlay, publicIp: ipAddress('192.0.2.7') } });
    expect(desiredState(behindNat, [], []).get('link flannel.1')).toMatchObject({
      vxlan: { local: underlay.address },
    });
  });

  it('makes the overlay smaller than an IPv6 underlay by the 70 bytes on which the kernel insists', () => {
    const { underlay } = exampleOverlay();
    const overIpv6 = exampleOverlay({ underlay: { ...underlay, address: ipAddress('fd00::1') } });
    expect(desiredState(overIpv6, [], []).get('link flannel.1')).toMatchObject({ mtu: 1430 });
  });

  it('corrects learning and MTU of a device that is adopted', () => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, mtu: 1400, vxlan: { ...link.vxlan!, learning: true } });
    expect(plan(whole(2), actual)).toMatchObject([
      { verb: 'put', reason: 'mtu 1400 → 1450, learning true → false' },
    ]);
  });

  it('changes MTU, MAC and state of a device in place', () => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, mtu: 1500, up: false });
    expect(plan(whole(2), actual)).toMatchObject([
      { verb: 'put', reason: 'mtu 1500 → 1450, up false → true' },
    ]);
  });

  it('puts the neighbors again when the device gets another MAC, for the kernel forgets them', () => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, mac: macAddress('02:00:00:00:00:99') });
    expect(textOf(plan(whole(2), actual))).toEqual([
      'put link flannel.1 02:00:00:00:00:01 mtu 1450 up vxlan id 1 local 192.168.0.1 dev if2 dstport 8472 nolearning (mac 02:00:00:00:00:99 → 02:00:00:00:00:01)',
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 permanent',
    ]);
  });

  it.each([true, false])('leaves a device as it is that was made with l2miss %s', (l2miss) => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, vxlan: { ...link.vxlan!, l2miss } });
    expect(plan(whole(2), actual)).toEqual([]);
  });

  it.each([
    ['another VNI', { vni: 2 }, 'VNI 2 instead of 1'],
    ['another port', { port: 4789 }, 'port 4789 instead of 8472'],
    ['group policy', { gbp: true }, 'GBP is on'],
  ])('makes a device with %s anew, and everything on it', (_, difference, reason) => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, vxlan: { ...link.vxlan!, ...difference } });
    const operations = plan(whole(2), actual);
    expect(operations[0]).toMatchObject({ verb: 'remove', object: { kind: 'link' }, reason });
    expect(operations).toHaveLength(1 + whole(2).size);
  });

  it('makes a device of another type anew', () => {
    const link = whole().get('link flannel.1') as Link;
    const operations = plan(whole(), kernelStateOf([{ ...link, vxlan: undefined }]));
    expect(operations[0]).toMatchObject({ verb: 'remove', reason: 'it is not a vxlan device' });
  });

  it('takes away what flannel left: its route without a metric, and its address with the prefix of the network', () => {
    const left = kernelStateOf([
      ...whole(2).values(),
      { kind: 'address', link: 'flannel.1', address: overlay.subnet.address, prefixLength: 16 },
      {
        kind: 'route',
        type: 'unicast',
        destination: subnet('10.5.2.0/24'),
        link: 'flannel.1',
        gateway: examplePeer(2).subnet.address,
        source: undefined,
        metric: 0,
        protocol: 3,
      },
    ]);
    expect(textOf(plan(whole(2), left))).toEqual([
      'remove route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 3 metric 0 onlink',
      'remove addr 10.5.1.0/16 dev flannel.1',
    ]);
  });

  it('gives an FDB entry that two peers claim to the first, in every pass', () => {
    const twins = [examplePeer(2), examplePeer(3, { vtepMac: examplePeer(2).vtepMac })];
    const state = desiredState(overlay, twins, []);
    expect(state.get('fdb-entry flannel.1 02:00:00:00:00:02')).toMatchObject({ destination: '192.168.0.2' });
    expect(plan(state, state)).toEqual([]);
  });
});

describe('any plan', () => {
  const peerNumbers = fc.uniqueArray(fc.integer({ min: 2, max: 40 }), { maxLength: 12 });
  const states = fc
    .record({
      peers: peerNumbers,
      vtepMac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:99'),
      absent: peerNumbers,
      missing: fc.array(fc.nat(60), { maxLength: 20 }),
      port: fc.constantFrom(8472, 4789),
    })
    .map(({ peers, vtepMac, absent, missing, port }) => {
      const host = exampleOverlay({ vtepMac: macAddress(vtepMac), backend: { ...overlay.backend, port } });
      const state = new Map(
        desiredState(
          host,
          peers.map((n) => examplePeer(n)),
          absent.map((n) => subnet(`10.5.${n + 100}.0/24`)),
        ),
      );
      const keys = [...state.keys()];
      for (const index of missing) if (keys[index] !== 'link flannel.1') state.delete(keys[index] ?? '');
      return state;
    });

  it('leaves nothing to plan after it was applied, from any state to any state', () => {
    fc.assert(
      fc.property(states, states, (desired, actual) => {
        expect(plan(desired, applied(actual, plan(desired, actual)))).toEqual([]);
      }),
    );
  });

  it('touches only objects that are desired or there', () => {
    fc.assert(
      fc.property(states, states, (desired, actual) => {
        for (const { object } of plan(desired, actual))
          expect(desired.has(keyOf(object)) || actual.has(keyOf(object))).toBe(true);
      }),
    );
  });

  it('puts an FDB entry before its neighbor before its route, and removes them in reverse', () => {
    const rank = { 'fdb-entry': 0, neighbor: 1, route: 2, link: 0, address: 0, 'neighbor-parameters': 0 };
    const isPeers = ({ object }: Operation) =>
      ['fdb-entry', 'neighbor'].includes(object.kind) ||
      (object.kind === 'route' && object.gateway !== undefined);
    fc.assert(
      fc.property(states, states, (desired, actual) => {
        const operations = plan(desired, actual).filter(isPeers);
        const ranks = (verb: string) =>
          operations.filter((step) => step.verb === verb).map(({ object }) => rank[object.kind]);
        expect(ranks('put')).toEqual([...ranks('put')].sort());
        expect(ranks('remove')).toEqual([...ranks('remove')].sort().reverse());
      }),
    );
  });
});

describe('peers on demand', () => {
  const lazy = exampleOverlay({ resolve: ON_DEMAND });
  const peers = new MutablePeerTable([examplePeer(2), examplePeer(3)]);
  const held = (idleMilliseconds: number): KernelState =>
    kernelStateOf(
      [...desiredState(lazy, [examplePeer(2)], []).values()].map((object): KernelObject =>
        object.kind === 'neighbor' ? { ...object, idleMilliseconds } : object,
      ),
    );

  it('are those that the kernel has and uses', () => {
    expect([...programmedPeers(lazy, peers, held(0))]).toEqual([examplePeer(2)]);
    expect([...programmedPeers(lazy, peers, kernelStateOf([]))]).toEqual([]);
  });

  it('are dropped when idle for as long as the user said', () => {
    expect([...programmedPeers(lazy, peers, held(IDLE_MILLISECONDS - 1))]).toHaveLength(1);
    expect([...programmedPeers(lazy, peers, held(IDLE_MILLISECONDS))]).toEqual([]);
  });

  it('are repaired when only their route is left', () => {
    const damaged = kernelStateOf(
      [...held(0).values()].filter(({ kind }) => kind !== 'neighbor' && kind !== 'fdb-entry'),
    );
    expect([...programmedPeers(lazy, peers, damaged)]).toEqual([examplePeer(2)]);
  });

  it('are completed when an answer has only begun, but not when they are idle', () => {
    const [fdbEntry, neighbor] = peerObjects(lazy, examplePeer(2));
    const asked: Neighbor = { ...neighbor, address: ipAddress('10.5.2.9') };
    const strange: FdbEntry = { ...fdbEntry, mac: macAddress('02:00:00:00:00:99') };
    const idle = { ...neighbor, idleMilliseconds: IDLE_MILLISECONDS };
    const programmed = (...objects: KernelObject[]) => [
      ...programmedPeers(lazy, peers, kernelStateOf(objects)),
    ];
    expect(programmed(fdbEntry)).toEqual([examplePeer(2)]);
    expect(programmed(fdbEntry, asked)).toEqual([examplePeer(2)]);
    expect(programmed(strange)).toEqual([]);
    expect(programmed(fdbEntry, idle)).toEqual([]);
  });

  it('are not kept by an FDB entry that they share with one in use', () => {
    const twin = { ...examplePeer(3), vtepMac: examplePeer(2).vtepMac, publicIp: examplePeer(2).publicIp };
    const both = new MutablePeerTable([twin, examplePeer(2)]);
    expect([...programmedPeers(lazy, both, held(0))]).toEqual([examplePeer(2)]);
  });
});

describe('with a blackhole route', () => {
  const swallowing = desiredState(exampleOverlay({ hasBlackholeRoute: true }), [], []);
  const BLACKHOLE = 'route blackhole 10.5.1.0/24 proto 84 metric 4294967294';

  it('our own subnet ends on this host, behind the route of whatever bridge has it', () => {
    expect(textOf(plan(swallowing, whole()))).toEqual([`put ${BLACKHOLE}`]);
  });

  it('it goes with the option, and with the subnet', () => {
    expect(textOf(plan(whole(), swallowing))).toEqual([`remove ${BLACKHOLE}`]);
    const moved = exampleOverlay({ hasBlackholeRoute: true, subnet: subnet('10.5.7.0/24') });
    expect(textOf(plan(desiredState(moved, [], []), swallowing))).toEqual(
      expect.arrayContaining([`remove ${BLACKHOLE}`, `put ${BLACKHOLE.replace('10.5.1', '10.5.7')}`]),
    );
  });
});

it('an unreachable route never shadows a peer, for it has the largest metric', () => {
  expect(unreachableRoute(subnet('10.5.2.0/24')).metric).toBe(2 ** 32 - 1);
});
