/** What the agent says of itself, made of what its parts tell. */
import { serviceLineOf, statusLineOf, statusOf, type Witnesses } from '../../src/engine/status';
import { MutablePeerTable } from '../../src/model/peer';
import { exampleLease, exampleOverlay, examplePeer } from '../support/examples';

const overlay = exampleOverlay();
const peers = new MutablePeerTable([examplePeer(2), examplePeer(3)]);
const WITNESSES: Witnesses = {
  overlay,
  holder: {
    lease: exampleLease(1),
    remainingSeconds: 86_399.6,
    contest: undefined,
    hasGivenWay: false,
    absence: undefined,
  },
  watcher: {
    peers,
    graced: [{ lease: '10.5.2.0-24', forMilliseconds: 5_400 }],
    complaints: [],
    changeCount: 6,
  },
  reconciler: { operations: 12, repairs: 3 },
  responder: { counters: { answered: 5, unknown: 4, absent: 2, dropped: 1, failed: 0 } },
  firewall: { repairs: 7 },
  admission: { repairs: 4 },
};
const check = (name: string, ok: boolean, advisory: boolean, since = 0) => ({
  name,
  state: ok ? ('ok' as const) : ('failing' as const),
  ok,
  since,
  reason: ok ? undefined : 'bad',
  advisory,
});

it('all that an administrator may want to know is told', () => {
  const checks = [check('lease', true, false, 1_000), check('etcd', false, true, 8_400)];
  expect(statusOf(WITNESSES, checks, 10_000, false)).toEqual({
    isReady: true,
    overlay: {
      network: '10.5.0.0/16',
      link: 'flannel.1',
      vni: 1,
      mtu: 1450,
      resolve: 'preload',
      underlay: 'eth0',
      underlayAddress: '192.168.0.1',
    },
    lease: {
      name: '10.5.1.0-24',
      subnet: '10.5.1.0/24',
      publicIp: '192.168.0.1',
      vtepMac: '02:00:00:00:00:01',
      remainingSeconds: 86_400,
    },
    peers: { count: 2, graced: [{ lease: '10.5.2.0-24', forSeconds: 5 }] },
    work: {
      kernelOperations: 12,
      repairs: 3,
      peerChanges: 6,
      firewallRepairs: 11,
      missesAnswered: 5,
      missesOfNobody: 2,
    },
    checks: [
      { name: 'lease', state: 'ok', ok: true, sinceSeconds: 9, reason: undefined, advisory: false },
      { name: 'etcd', state: 'failing', ok: false, sinceSeconds: 2, reason: 'bad', advisory: true },
    ],
  });
});

it('each peer is told only where they are asked for', () => {
  expect(statusOf(WITNESSES, [], 0, false).peers).not.toHaveProperty('list');
  expect(statusOf(WITNESSES, [], 0, true).peers.list).toEqual([
    { subnet: '10.5.2.0/24', publicIp: '192.168.0.2', vtepMac: '02:00:00:00:00:02' },
    { subnet: '10.5.3.0/24', publicIp: '192.168.0.3', vtepMac: '02:00:00:00:00:03' },
  ]);
});

it.each([
  ['all is well', [check('lease', true, false), check('etcd', true, true)], true],
  ['only what is worth knowing is not well', [check('lease', true, false), check('etcd', false, true)], true],
  [
    'something that packets need is not well',
    [check('lease', false, false), check('etcd', true, true)],
    false,
  ],
])('it is ready where %s', (_, checks, isReady) => {
  expect(statusOf(WITNESSES, checks, 0, false).isReady).toBe(isReady);
});

it('nothing is since the future, however the clock was read', () => {
  expect(statusOf(WITNESSES, [check('lease', true, false, 2_000)], 1_000, false).checks).toMatchObject([
    { sinceSeconds: 0 },
  ]);
});

it('what is not there yet, or not wanted, is not told', () => {
  const early = {
    ...WITNESSES,
    overlay: undefined,
    holder: undefined,
    firewall: undefined,
    admission: undefined,
  };
  expect(statusOf(early, [], 0, false)).toMatchObject({
    overlay: undefined,
    lease: undefined,
    work: { firewallRepairs: 0 },
  });
  const leaseless = { ...WITNESSES, holder: { ...WITNESSES.holder!, lease: undefined } };
  expect(statusOf(leaseless, [], 0, false).lease).toBeUndefined();
});

it('a reservation does not run out', () => {
  const holder = { ...WITNESSES.holder!, remainingSeconds: Infinity };
  expect(statusOf({ ...WITNESSES, holder }, [], 0, false).lease?.remainingSeconds).toBeUndefined();
});

it.each([
  ['another host holds it', { hasGivenWay: true }],
  ['our lease is not in etcd', { absence: { complaint: 'our lease is not in etcd', forMilliseconds: 5 } }],
])('a lease that etcd has not any more is good for nothing: %s', (lost, changes) => {
  const holder = { ...WITNESSES.holder!, ...changes };
  expect(statusOf({ ...WITNESSES, holder }, [], 0, false).lease).toMatchObject({ remainingSeconds: 0, lost });
});

it.each<[string, Partial<Witnesses>, string]>([
  ['where all is well', {}, '10.5.1.0/24 on flannel.1, 2 peers'],
  [
    'with what an administrator should look at',
    {
      watcher: { ...WITNESSES.watcher, complaints: [{ lease: 'a', reason: 'x', isUsed: false }] },
      holder: { ...WITNESSES.holder!, contest: { complaint: 'mine', forMilliseconds: 1 } },
    },
    '10.5.1.0/24 on flannel.1, 2 peers, 1 leases ignored or doubtful, another host claims our lease',
  ],
  ['before there is a lease', { holder: undefined }, '10.5.1.0/24 on flannel.1, 2 peers'],
])('systemd is told a line, %s', (_, changes, line) => {
  expect(statusLineOf(overlay, { ...WITNESSES, ...changes })).toBe(line);
});

describe('at any time systemd is told', () => {
  const unknownCheck = (name: string) => ({
    ...check(name, false, true),
    state: 'unknown' as const,
    reason: undefined,
  });
  const early = { ...WITNESSES, overlay: undefined, holder: undefined };

  it.each<[string, Parameters<typeof serviceLineOf>, string]>([
    ['how the overlay is', [[check('lease', true, false)], WITNESSES], '10.5.1.0/24 on flannel.1, 2 peers'],
    [
      'why it is not ready',
      [[{ ...check('lease', false, false), reason: 'our lease is not in etcd' }], WITNESSES],
      'NOT READY; 10.5.1.0/24 on flannel.1, 2 peers; lease: our lease is not in etcd',
    ],
    [
      'that etcd is away, also after the start',
      [[{ ...check('etcd', false, true), reason: 'nobody answers' }], WITNESSES],
      '10.5.1.0/24 on flannel.1, 2 peers; etcd: nobody answers',
    ],
    [
      'what a start waits for, in its own words',
      [[{ ...check('start', false, false), reason: 'waiting for the network configuration: none' }], early],
      'starting: waiting for the network configuration: none',
    ],
    [
      'what a start waits for before it has failed',
      [[unknownCheck('etcd'), unknownCheck('network configuration'), unknownCheck('bridge')], early],
      'starting: waiting for etcd; the network configuration',
    ],
  ])('%s', (_, given, line) => {
    expect(serviceLineOf(...given)).toBe(line);
  });

  it('no more than a few hundred characters', () => {
    const long = [{ ...check('lease', false, false), reason: 'x'.repeat(5_000) }];
    expect(serviceLineOf(long, WITNESSES)).toMatch(/^.{399}…$/);
  });
});
