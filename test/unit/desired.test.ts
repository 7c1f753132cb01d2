import fc from 'fast-check';
import {
  absencesIn,
  desiredState,
  desiredUnder,
  ownersOf,
  peerNames,
  peerObjects,
  programmedPeers,
  unreachableRoute,
} from '../../src/core/desired';
import { ipAddress, subnet } from '../../src/model/address';
import {
  kernelStateOf,
  keyOf,
  type KernelObject,
  type KernelState,
  type ObjectName,
} from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
import { IDLE_MILLISECONDS, ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';

const overlay = exampleOverlay();
const link = 'flannel.1';
const keysOf = (objects: Iterable<KernelObject | ObjectName>) => [...objects].map(keyOf);

describe('the names of what a peer is made of', () => {
  it('are those of its three objects', () => {
    expect(peerNames(overlay, examplePeer(2))).toEqual([
      { kind: 'fdb-entry', link, mac: '02:00:00:00:00:02' },
      { kind: 'neighbor', link, address: '10.5.2.0' },
      { kind: 'route', destination: subnet('10.5.2.0/24'), metric: 3 },
    ]);
    expect(keysOf(peerNames(overlay, examplePeer(2)))).toEqual(keysOf(peerObjects(overlay, examplePeer(2))));
  });
});

describe('an object belongs to', () => {
  const twin = examplePeer(3, { vtepMac: examplePeer(2).vtepMac });
  const peers = new MutablePeerTable([examplePeer(2), twin, examplePeer(4)]);

  it.each<[string, ObjectName, Peer[]]>([
    [
      'an FDB entry to every peer of its MAC',
      { kind: 'fdb-entry', link, mac: twin.vtepMac },
      [examplePeer(2), twin],
    ],
    [
      'a neighbor to the peer whose gateway it is',
      { kind: 'neighbor', link, address: ipAddress('10.5.4.0') },
      [examplePeer(4)],
    ],
    ['a neighbor of another address to none', { kind: 'neighbor', link, address: ipAddress('10.5.4.7') }, []],
    [
      'a neighbor outside of all subnets to none',
      { kind: 'neighbor', link, address: ipAddress('10.5.9.0') },
      [],
    ],
    [
      'a route to the peer of its subnet',
      { kind: 'route', destination: subnet('10.5.4.0/24'), metric: 7 },
      [examplePeer(4)],
    ],
    [
      'a route to a part of a subnet to none',
      { kind: 'route', destination: subnet('10.5.4.0/25'), metric: 7 },
      [],
    ],
    [
      'an FDB entry of no peer to none',
      { kind: 'fdb-entry', link, mac: macAddress('02:00:00:00:00:99') },
      [],
    ],
  ])('%s', (_, name, owners) => {
    expect(ownersOf(peers, name)).toEqual(owners);
  });
});

it('of the subnets that nobody leases those count whose route is there', () => {
  const [there, other] = [subnet('10.5.200.0/24'), subnet('10.5.201.0/24')];
  const actual = kernelStateOf([unreachableRoute(there), ...peerObjects(overlay, examplePeer(2))]);
  expect(absencesIn(actual, [other, there])).toEqual([there]);
  expect(absencesIn(kernelStateOf([]), [other, there])).toEqual([]);
});

describe('of two peers that claim one object', () => {
  const [long, short] = [subnet('10.5.2.0/25'), subnet('10.5.2.0/24')].map((leased, n) =>
    examplePeer(2 + n, { subnet: leased }),
  ) as [Peer, Peer];

  it.each([
    ['in one order', [long, short]],
    ['and in the other', [short, long]],
  ])('the one of the longer subnet has the neighbor, and each has its route, %s', (_, peers) => {
    const state = desiredState(overlay, peers, []);
    expect(state.get('neighbor flannel.1 10.5.2.0')).toMatchObject({ mac: long.vtepMac });
    for (const peer of peers) {
      const [fdbEntry, , route] = peerObjects(overlay, peer);
      expect(state.get(keyOf(fdbEntry))).toEqual(fdbEntry);
      expect(state.get(keyOf(route))).toEqual(route);
    }
  });
});

describe('what the kernel should hold under some names', () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 2, max: 9 }), { maxLength: 6 });
  /** Some peers share a MAC. */
  const peerOf = (n: number, mac: number) =>
    examplePeer(n, { vtepMac: macAddress(`02:00:00:00:00:0${mac % 3 === 0 ? 1 : n}`) });
  const tables = fc
    .tuple(numbers, fc.nat(2))
    .map(([all, mac]) => new MutablePeerTable(all.map((n) => peerOf(n, n + mac))));
  const namesOf = (peers: Iterable<Peer>) =>
    new Map([...peers].flatMap((peer) => peerNames(overlay, peer)).map((name) => [keyOf(name), name]));
  const under = (names: ReadonlyMap<string, ObjectName>, state: KernelState) =>
    new Map([...state].filter(([key]) => names.has(key)));

  it('is what it should hold of all, as far as they name it', () => {
    fc.assert(
      fc.property(tables, numbers, fc.array(fc.nat(30)), (peers, named, dropped) => {
        const names = namesOf(named.map((n) => peers.bySubnet(examplePeer(n).subnet) ?? examplePeer(n)));
        for (const index of dropped) names.delete([...names.keys()][index] ?? '');
        const found = desiredUnder(names, overlay, peers, kernelStateOf([]));
        expect(found).toEqual(under(names, desiredState(overlay, peers, [])));
      }),
    );
  });

  it('on demand, is that of the named peers that are in use', () => {
    const lazy = exampleOverlay({ resolve: ON_DEMAND });
    const peers = new MutablePeerTable([2, 3, 4].map((n) => examplePeer(n)));
    const [used, idle] = [peerObjects(lazy, examplePeer(2)), peerObjects(lazy, examplePeer(3))];
    const actual = kernelStateOf([used[1], { ...idle[1], idleMilliseconds: IDLE_MILLISECONDS }, idle[2]]);
    const names = namesOf([2, 3, 4].map((n) => examplePeer(n)));
    expect([...programmedPeers(lazy, peers, actual)]).toEqual([examplePeer(2)]);
    expect([...desiredUnder(names, lazy, peers, actual).values()]).toEqual(used);
  });
});

it('what single objects should be is known without a look at all peers, in preload mode: there may be thousands', () => {
  const table = new MutablePeerTable([examplePeer(2), examplePeer(3)]);
  table[Symbol.iterator] = () => {
    throw new Error('all peers were looked at');
  };
  const [named] = peerNames(overlay, examplePeer(2));
  const names = new Map([[keyOf(named!), named!]]);
  const found = desiredUnder(names, overlay, table, kernelStateOf([]));
  expect([...found.values()]).toEqual([peerObjects(overlay, examplePeer(2))[0]]);
});
