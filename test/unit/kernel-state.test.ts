import { ipAddress, subnet } from '../../src/model/address';
import {
  BLACKHOLE_METRIC,
  ROUTE_PROTOCOL,
  keyOf,
  kernelStateOf,
  nameOf,
  printKernelObject,
  type KernelObject,
  type Link,
  type Route,
} from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { printOperation } from '../../src/model/operation';

const vxlan = {
  vni: 1,
  local: ipAddress('192.168.0.1'),
  underlayIndex: 2,
  port: 8472,
  learning: false,
  gbp: false,
  l2miss: false,
};
const link: Link = {
  kind: 'link',
  name: 'flannel.1',
  mac: macAddress('02:00:00:00:00:01'),
  mtu: 1450,
  up: true,
  vxlan,
};
const route: Route = {
  kind: 'route',
  type: 'unicast',
  destination: subnet('10.5.2.0/24'),
  link: 'flannel.1',
  gateway: ipAddress('10.5.2.0'),
  source: undefined,
  metric: 3,
  protocol: ROUTE_PROTOCOL,
};

/** What each object is, apart from its value, and how it is printed. */
const OBJECTS: readonly (readonly [KernelObject, string, string])[] = [
  [
    link,
    'link flannel.1',
    'link flannel.1 02:00:00:00:00:01 mtu 1450 up vxlan id 1 local 192.168.0.1 dev if2 dstport 8472 nolearning',
  ],
  [
    { ...link, up: false, vxlan: { ...vxlan, local: undefined, learning: true, gbp: true } },
    'link flannel.1',
    'link flannel.1 02:00:00:00:00:01 mtu 1450 down vxlan id 1 local any dev if2 dstport 8472 learning gbp',
  ],
  [
    { ...link, vxlan: undefined },
    'link flannel.1',
    'link flannel.1 02:00:00:00:00:01 mtu 1450 up (not a vxlan device)',
  ],
  [
    { kind: 'neighbor-parameters', link: 'flannel.1', family: 'ipv4', appSolicit: 3, queueBytes: 4096 },
    'neighbor-parameters flannel.1 ipv4',
    'ntable ipv4 dev flannel.1 app_probes 3 queue_bytes 4096',
  ],
  [
    { kind: 'address', link: 'flannel.1', address: ipAddress('10.5.1.0'), prefixLength: 32 },
    'address flannel.1 10.5.1.0/32',
    'addr 10.5.1.0/32 dev flannel.1',
  ],
  [
    {
      kind: 'fdb-entry',
      link: 'flannel.1',
      mac: macAddress('02:00:00:00:00:02'),
      destination: ipAddress('192.168.0.2'),
    },
    'fdb-entry flannel.1 02:00:00:00:00:02',
    'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
  ],
  [
    {
      kind: 'neighbor',
      link: 'flannel.1',
      address: ipAddress('10.5.2.0'),
      mac: macAddress('02:00:00:00:00:02'),
      state: 'permanent',
    },
    'neighbor flannel.1 10.5.2.0',
    'neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 permanent',
  ],
  [
    { kind: 'neighbor', link: 'flannel.1', address: ipAddress('10.5.2.0'), mac: undefined, state: 'failed' },
    'neighbor flannel.1 10.5.2.0',
    'neigh 10.5.2.0 dev flannel.1 failed',
  ],
  [route, 'route 10.5.2.0/24 3', 'route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink'],
  [
    {
      ...route,
      destination: subnet('10.5.0.0/16'),
      gateway: undefined,
      source: ipAddress('10.5.1.0'),
      metric: 0,
    },
    'route 10.5.0.0/16 0',
    'route 10.5.0.0/16 dev flannel.1 proto 84 src 10.5.1.0 metric 0',
  ],
  [
    { ...route, type: 'blackhole', link: undefined, gateway: undefined, metric: BLACKHOLE_METRIC },
    'route 10.5.2.0/24 4294967294',
    'route blackhole 10.5.2.0/24 proto 84 metric 4294967294',
  ],
];

test.each(OBJECTS)(
  '%j has a key of its own, and is printed as ip and bridge print it',
  (object, key, text) => {
    expect(keyOf(object)).toBe(key);
    expect(printKernelObject(object)).toBe(text);
    expect(printOperation({ verb: 'put', object })).toBe(`put ${text}`);
    expect(printOperation({ verb: 'remove', object, reason: 'why' })).toBe(`remove ${text} (why)`);
  },
);

test.each(OBJECTS)('of %j the name is enough to find it, where it has one', (object, key) => {
  const isNamed =
    ['fdb-entry', 'neighbor'].includes(object.kind) || (object.kind === 'route' && object.type === 'unicast');
  const name = nameOf(object);
  expect(name && keyOf(name)).toBe(isNamed ? key : undefined);
  // Nothing else of it is part of its name, and a name is that of itself.
  if (name) {
    expect(Object.keys(name).length).toBeLessThan(Object.keys(object).length);
    expect(nameOf(name)).toEqual(name);
  }
});

test('of several objects with one key a state holds the last', () => {
  const down = { ...link, up: false };
  const state = kernelStateOf([link, route, down]);
  expect([...state]).toEqual([
    ['link flannel.1', down],
    ['route 10.5.2.0/24 3', route],
  ]);
});
