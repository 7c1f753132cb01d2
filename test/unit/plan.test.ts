import fc from 'fast-check';
import { desiredState, peerObjects, programmedPeers, unreachableRoute } from '../../src/core/desired';
import { additionsOf, fits, plan } from '../../src/core/plan';
import { ipAddress, subnet } from '../../src/model/address';
import {
  kernelStateOf,
  keyOf,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type Link,
  type Neighbor,
  type NeighborParameters,
  type Route,
  type VxlanParameters,
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

  it('has one order, in whatever order objects are desired or found', () => {
    const reversed = (state: KernelState) => kernelStateOf([...state.values()].reverse());
    const building = textOf(plan(whole(2), kernelStateOf([])));
    expect(textOf(plan(reversed(whole(2)), kernelStateOf([])))).toEqual(building);
    const removing = building.map((text) => text.replace('put', 'remove')).reverse();
    expect(textOf(plan(kernelStateOf([]), whole(2)))).toEqual(removing);
    expect(textOf(plan(kernelStateOf([]), reversed(whole(2))))).toEqual(removing);
  });

  it('keeps the routes of subnets that nobody leases, as long as they are said to be absent', () => {
    const absent = [subnet('10.5.200.0/24')];
    const answered = desiredState(overlay, [examplePeer(2)], absent);
    expect(plan(answered, answered)).toEqual([]);
    const UNREACHABLE = 'route unreachable 10.5.200.0/24 proto 84 metric 4294967295';
    expect(textOf(plan(answered, whole(2)))).toEqual([`put ${UNREACHABLE}`]);
    expect(textOf(plan(whole(2), answered))).toEqual([`remove ${UNREACHABLE}`]);
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

  it.each<[Partial<Omit<Link, 'vxlan'>> & { vxlan?: Partial<VxlanParameters> }, string]>([
    [{ protodown: true }, 'protodown true → false'],
    [{ noarp: true }, 'noarp true → false'],
    [{ master: 7 }, 'master 7 → 0'],
    [{ vxlan: { ttl: 1 } }, 'ttl 1 → 0'],
    [{ vxlan: { dontFragment: 1 } }, 'df 1 → 0'],
  ])('takes from a device what stops packets: %j', ({ vxlan, ...changes }, reason) => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, ...changes, vxlan: { ...link.vxlan!, ...vxlan } });
    const operations = plan(whole(2), actual);
    expect(operations[0]).toMatchObject({ verb: 'put', reason });
    // The kernel forgets all neighbors when ARP is switched.
    expect(operations.slice(1).map(({ object }) => object.kind)).toEqual(
      'noarp' in changes ? ['neighbor'] : [],
    );
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
    ['remote checksums', { remoteChecksum: true }, 'remote checksum offload is on'],
    ['a limit', { mostFdbEntries: 100 }, 'it takes no more than 100 FDB entries'],
    ['an inherited TTL', { ttlInherited: true }, 'TTL is inherited'],
  ])('makes a device with %s anew, and everything on it', (_, difference, reason) => {
    const actual = new Map(whole(2));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, vxlan: { ...link.vxlan!, ...difference } });
    const operations = plan(whole(2), actual);
    expect(operations[0]).toMatchObject({ verb: 'remove', object: { kind: 'link' }, reason });
    expect(operations).toHaveLength(1 + whole(2).size);
  });

  it('names every reason to make a device anew, and takes away with it what is not wanted any more', () => {
    const actual = new Map(whole(2, 3));
    const link = actual.get('link flannel.1') as Link;
    actual.set('link flannel.1', { ...link, vxlan: { ...link.vxlan!, vni: 2, port: 4789 } });
    const absent = unreachableRoute(subnet('10.5.200.0/24'));
    actual.set(keyOf(absent), absent);
    const [first, ...others] = plan(whole(2), actual);
    expect(first).toMatchObject({ verb: 'remove', reason: 'VNI 2 instead of 1, port 4789 instead of 8472' });
    expect(textOf(others)).toEqual([
      ...textOf(plan(whole(2), kernelStateOf([]))),
      'remove route unreachable 10.5.200.0/24 proto 84 metric 4294967295',
    ]);
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

describe('what is there', () => {
  const changed = desiredState(
    exampleOverlay({ hasBlackholeRoute: true }),
    [examplePeer(2)],
    [subnet('10.5.200.0/24')],
  );
  /** The object of the state whose key begins so. */
  const objectOf = (key: string) => [...changed].find(([each]) => each.startsWith(key))![1];
  const other = { mac: macAddress('02:00:00:00:00:99'), address: ipAddress('10.5.9.9') };

  it.each([...changed])('fits itself: %s', (_, object) => {
    expect(fits(object, object)).toBe(true);
    expect(fits(object, { ...object })).toBe(true);
  });

  it.each<[string, string, object]>([
    ['questions of the kernel', 'neighbor-parameters', { appSolicit: 0 }],
    ['queue', 'neighbor-parameters', { queueBytes: 212_992 }],
    ['destination', 'fdb-entry', { destination: other.address }],
    ['MAC', 'neighbor flannel.1', { mac: other.mac }],
    ['state, in which the kernel may forget it', 'neighbor flannel.1', { state: 'learned' }],
    ['state, in which nobody has the address', 'neighbor flannel.1', { state: 'failed', mac: undefined }],
    ['source', 'route 10.5.0.0/16', { source: other.address }],
    ['source, which is gone', 'route 10.5.0.0/16', { source: undefined }],
    ['gateway', 'route 10.5.2.0/24', { gateway: other.address }],
    ['link', 'route 10.5.2.0/24', { link: 'eth0' }],
    ['protocol', 'route 10.5.2.0/24', { protocol: 3 }],
    ['type', 'route 10.5.200.0/24', { type: 'blackhole' }],
    ['type', 'route 10.5.1.0/24', { type: 'unreachable' }],
    ['MTU', 'link', { mtu: 1400 }],
    ['type', 'link', { vxlan: undefined }],
  ])('does not fit, and is put again, where somebody changed the %s of the %s', (_, key, change) => {
    const desired = objectOf(key);
    const tampered = { ...desired, ...change };
    expect(fits(desired, tampered)).toBe(false);
    const actual = kernelStateOf([...changed.values(), tampered]);
    expect(plan(changed, actual).filter(({ verb }) => verb === 'put')).toContainEqual(
      expect.objectContaining({ object: desired }),
    );
  });

  it('does not fit for another reason than the last difference alone', () => {
    const link = objectOf('link') as Link;
    const both = { ...link, mtu: 1400, vxlan: { ...link.vxlan!, port: 4789 } };
    expect(fits(link, both)).toBe(false);
  });

  it('does not fit anything of another kind, and no route to another subnet', () => {
    const kinds = [...new Map([...changed.values()].map((object) => [object.kind, object])).values()];
    for (const desired of kinds)
      for (const actual of kinds) expect(fits(desired, actual)).toBe(desired === actual);
    const route = objectOf('route 10.5.2.0/24') as Route;
    expect(fits(route, { ...route, destination: subnet('10.5.3.0/24') })).toBe(false);
  });

  it('fits however long it was idle, for that is not part of its value', () => {
    const neighbor = objectOf('neighbor flannel.1') as Neighbor;
    expect(fits(neighbor, { ...neighbor, idleMilliseconds: 7 })).toBe(true);
  });
});

describe('before the registry has been read, of a plan', () => {
  const start = (desired: KernelState, actual: KernelState) =>
    textOf(additionsOf(plan(desired, actual), actual));
  const held = (...changes: KernelObject[]) => kernelStateOf([...whole(2).values(), ...changes]);
  const [fdbEntry, neighbor, route] = peerObjects(overlay, examplePeer(2));
  const link = whole().get('link flannel.1') as Link;

  it('what is missing is added', () => {
    const puts = textOf(plan(whole(2), whole()));
    expect(puts).toHaveLength(3);
    expect(start(whole(2), whole())).toEqual(puts);
    expect(start(whole(2), kernelStateOf([]))).toEqual(textOf(plan(whole(2), kernelStateOf([]))));
  });

  it('no peer is removed', () => {
    expect(start(whole(), whole(2))).toEqual([]);
  });

  it.each<[string, KernelObject]>([
    ['the place of a VTEP', { ...fdbEntry, destination: ipAddress('192.168.0.99') }],
    ['the VTEP of a subnet', { ...neighbor, mac: macAddress('02:00:00:00:00:99') }],
    ['the neighbor’s state', { ...neighbor, state: 'learned' }],
    ['a peer’s route', { ...route, source: ipAddress('10.5.1.0') }],
  ])('no peer is changed: %s may be newer than what we remember', (_, newer) => {
    expect(textOf(plan(whole(2), held(newer)))).toHaveLength(1);
    expect(start(whole(2), held(newer))).toEqual([]);
  });

  it('a neighbor that failed is given its VTEP again, for nobody else knows better', () => {
    const failed = held({ ...neighbor, mac: undefined, state: 'failed' });
    expect(start(whole(2), failed)).toEqual([
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 permanent (changed)',
    ]);
  });

  it('a failed neighbor that no peer has is removed: it leads nowhere', () => {
    const nobody = held({ ...neighbor, address: ipAddress('10.5.77.7'), mac: undefined, state: 'failed' });
    expect(start(whole(2), nobody)).toEqual(['remove neigh 10.5.77.7 dev flannel.1 failed']);
  });

  it('the neighbors are put again that a new MAC of the device costs', () => {
    const renewed = held({ ...link, mac: macAddress('02:00:00:00:00:99') });
    expect(start(whole(2), renewed).slice(1)).toEqual([
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 permanent',
    ]);
  });

  it('a device that must be made anew is, with all that goes with it, also what may have been newer', () => {
    const newer = { ...fdbEntry, destination: ipAddress('192.168.0.99') };
    const unfit = held({ ...link, vxlan: { ...link.vxlan!, port: 4789 } }, newer);
    const operations = textOf(plan(whole(2), unfit));
    expect(operations).toHaveLength(1 + whole(2).size);
    expect(start(whole(2), unfit)).toEqual(operations);
  });

  it('a device is changed in place, and no peer with it', () => {
    const newer = { ...fdbEntry, destination: ipAddress('192.168.0.99') };
    const operations = start(whole(2), held({ ...link, mtu: 1400 }, newer));
    expect(operations).toEqual([expect.stringMatching(/^put link flannel\.1 .* \(mtu 1400 → 1450\)$/)]);
  });

  it('what leads to no peer is as it would be at any time', () => {
    const swallowing = desiredState(exampleOverlay({ hasBlackholeRoute: true }), [examplePeer(2)], []);
    const [former, tampered] = [
      { kind: 'address', link: 'flannel.1', address: overlay.subnet.address, prefixLength: 16 } as const,
      { ...(whole().get('neighbor-parameters flannel.1 ipv4') as NeighborParameters), queueBytes: 1 },
    ];
    const actual = held(former, tampered, unreachableRoute(subnet('10.5.200.0/24')));
    const operations = textOf(plan(swallowing, actual));
    expect(operations).toHaveLength(4);
    expect(start(swallowing, actual)).toEqual(operations);
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

  it('are written so that the kernel probes them', () => {
    expect(textOf(peerObjects(lazy, examplePeer(2)).map((object) => ({ verb: 'put', object })))).toEqual([
      'put fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
      'put neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 learned',
      'put route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink',
    ]);
  });

  it('are all of them, used or not, where all are written at once', () => {
    expect([...programmedPeers(overlay, peers, kernelStateOf([]))]).toEqual([examplePeer(2), examplePeer(3)]);
  });

  it('are not in use when the kernel found that nobody answers', () => {
    const failed = [...held(0).values()].map((object): KernelObject =>
      object.kind === 'neighbor' ? { ...object, state: 'failed', mac: undefined } : object,
    );
    expect([...programmedPeers(lazy, peers, kernelStateOf(failed))]).toEqual([]);
  });

  it('are in use by what leads to their gateway on our link, and by nothing else', () => {
    const [fdbEntry, neighbor, route] = peerObjects(lazy, examplePeer(2));
    const used = (...objects: KernelObject[]) => [...programmedPeers(lazy, peers, kernelStateOf(objects))];
    const elsewhere = { link: 'flannel.7' };
    const nobody = ipAddress('10.5.77.0');
    expect(used(neighbor)).toEqual([examplePeer(2)]);
    expect(used(route)).toEqual([examplePeer(2)]);
    expect(used({ ...neighbor, ...elsewhere })).toEqual([]);
    expect(used({ ...route, ...elsewhere })).toEqual([]);
    expect(used({ ...fdbEntry, ...elsewhere })).toEqual([]);
    expect(used({ ...neighbor, address: ipAddress('10.5.2.9') })).toEqual([]);
    expect(used({ ...neighbor, address: nobody })).toEqual([]);
    expect(used({ ...route, gateway: nobody })).toEqual([]);
    expect(used({ kind: 'address', link: 'flannel.1', address: neighbor.address, prefixLength: 32 })).toEqual(
      [],
    );
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
