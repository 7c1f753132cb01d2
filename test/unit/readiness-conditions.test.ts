/** What each part of the agent that is not well makes of readiness; readiness.test.ts shows it on a whole agent. */
import { conditionsOf, type Grievance, type Patients } from '../../src/engine/readiness';
import { exampleLease, exampleOverlay } from '../support/examples';

const complaint = (text: string, forMilliseconds = 0) => ({ complaint: text, forMilliseconds });
const lease = exampleLease(1);
const HOLDER = {
  lease,
  trouble: undefined,
  contest: undefined,
  hasGivenWay: false,
  fight: undefined,
  absence: undefined,
  remainingSeconds: 3_600,
  goodUntil: Date.UTC(2026, 11, 1, 23, 50, 12),
};
const WATCHER = { trouble: undefined, complaints: [], graced: [], hasSnapshot: true, isJudged: true };
const RECONCILER = { isBaseInPlace: true, trouble: undefined, fights: [], hasReadAll: true };

const WELL: Patients = {
  waits: [],
  watcher: WATCHER,
  holder: HOLDER,
  underlay: { trouble: undefined, outage: undefined, current: exampleOverlay().underlay },
  overlay: exampleOverlay(),
  reconciler: RECONCILER,
  announcer: { isAnnounced: true, trouble: undefined },
  configWatcher: { trouble: undefined, isKnown: true },
  access: { trouble: undefined, isKnown: true },
  flannel: { trouble: undefined, isKnown: true },
  firewall: { trouble: undefined, obstacle: undefined, isKnown: true },
  admission: { trouble: undefined, isInPlace: true },
  surroundings: { trouble: () => undefined, isKnown: true },
  routes: { trouble: undefined, hidden: undefined, isKnown: true },
  recorder: { trouble: undefined, isKnown: true },
  embeddedEtcd: undefined,
};

/** Those that are not well. */
function illsOf(changes: Partial<Patients>) {
  return conditionsOf({ ...WELL, ...changes })
    .filter(({ reason }) => reason !== undefined)
    .map(({ isUnknown: _, ...condition }) => condition);
}

it('a host that cannot wait for misses, as it was asked to, says so', () => {
  expect(illsOf({ unrouted: 'another program has the route 10.5.0.0/16 dev eth1' })).toEqual([
    {
      name: 'network route',
      reason:
        'left out, because another program has the route 10.5.0.0/16 dev eth1; so all peers are written at once, as with --resolve=preload',
      forMilliseconds: undefined,
      advisory: true,
    },
  ]);
});

it('of a host on which all is well every condition is named, and none has a reason', () => {
  const all = conditionsOf(WELL);
  expect(all.map(({ name }) => name)).toEqual([
    'start',
    'lease',
    'kernel',
    'subnet file',
    'etcd',
    'etcd write access',
    'network configuration',
    'lease renewal',
    'lease contest',
    'other leases',
    'peers in grace',
    'underlay',
    'mtu',
    'peers in the kernel',
    'fights',
    'firewall',
    'flanneld',
    'vxlan admission',
    'forwarding',
    'bridge',
    'routes to peers',
    'hidden addresses',
    'state file',
  ]);
  expect(all.filter(({ reason }) => reason !== undefined)).toHaveLength(0);
  expect(all.filter(({ advisory }) => !advisory).map(({ name }) => name)).toEqual([
    'start',
    'lease',
    'kernel',
    'subnet file',
  ]);
});

it('a host with an etcd of its own has a condition more, well or not', () => {
  const [last] = conditionsOf({ ...WELL, embeddedEtcd: { trouble: undefined } }).slice(-1);
  expect(last).toEqual({ name: 'embedded etcd', advisory: true });
  expect(illsOf({ embeddedEtcd: { trouble: complaint('gone', 5) } })).toEqual([
    { name: 'embedded etcd', reason: 'gone', forMilliseconds: 5, advisory: true },
  ]);
});

const BAD = complaint('it is bad', 7);

describe('packets may be lost', () => {
  it.each<[string, Partial<Patients>, string, string, number | undefined]>([
    ['before there is a lease', { holder: undefined }, 'lease', 'there is no subnet lease yet', undefined],
    [
      'while none can be had',
      { holder: { ...HOLDER, lease: undefined, trouble: BAD } },
      'lease',
      'it is bad',
      7,
    ],
    [
      'while another host claims the one we wait for',
      { holder: { ...HOLDER, lease: undefined, contest: complaint('mine', 9), trouble: BAD } },
      'lease',
      'mine',
      9,
    ],
    [
      'while another host holds ours',
      { holder: { ...HOLDER, hasGivenWay: true } },
      'lease',
      'another host holds our lease',
      undefined,
    ],
    [
      'while etcd has something else in place of ours',
      { holder: { ...HOLDER, absence: BAD } },
      'lease',
      'it is bad',
      7,
    ],
    [
      'once ours has run out by our own clock',
      { holder: { ...HOLDER, remainingSeconds: -12 } },
      'lease',
      'our lease ran out at 2026-12-01T23:50Z by our own clock: other hosts have dropped us, and may get our subnet',
      12_000,
    ],
    [
      'without device, address or network route',
      { reconciler: { ...RECONCILER, isBaseInPlace: false } },
      'kernel',
      'device, address or network route are missing',
      undefined,
    ],
    [
      'without our device, by its name',
      { reconciler: { ...RECONCILER, isBaseInPlace: false, missingBase: ['link flannel.1'] } },
      'kernel',
      'device, address or network route are missing: link flannel.1',
      undefined,
    ],
    [
      'while the underlay carries nothing',
      {
        underlay: {
          ...WELL.underlay!,
          trouble: complaint('the underlay carries no packets: eth0 is down'),
          outage: BAD,
        },
      },
      'underlay',
      'it is bad',
      7,
    ],
    [
      'while subnet.env is not written yet',
      { announcer: { isAnnounced: false, trouble: undefined } },
      'subnet file',
      'it is not written',
      undefined,
    ],
    [
      'while subnet.env cannot be written',
      { announcer: { isAnnounced: false, trouble: BAD } },
      'subnet file',
      'it is bad',
      7,
    ],
  ])('%s', (_, changes, name, reason, forMilliseconds) => {
    const ills = illsOf(changes).filter(({ advisory }) => !advisory);
    expect(ills).toEqual([{ name, reason, forMilliseconds, advisory: false }]);
  });

  it('while a start waits: for all that it waits for, since the first of it', () => {
    const waits = [
      { current: complaint('no etcd', 5) },
      { current: undefined },
      { current: complaint('no underlay', 8) },
    ];
    expect(illsOf({ waits })).toEqual([
      { name: 'start', reason: 'no etcd; no underlay', forMilliseconds: 8, advisory: false },
    ]);
  });

  it('not while a start waits for what has not failed yet', () => {
    expect(conditionsOf({ ...WELL, waits: [{ current: undefined }] })[0]).toEqual({
      name: 'start',
      reason: undefined,
      forMilliseconds: 0,
      advisory: false,
    });
  });

  it('not where subnet.env was written, though it cannot be written again just now: that is worth knowing', () => {
    expect(illsOf({ announcer: { isAnnounced: true, trouble: BAD } })).toEqual([
      { name: 'subnet file', reason: 'it is bad', forMilliseconds: 7, advisory: true },
    ]);
    expect(illsOf({ announcer: { isAnnounced: true, trouble: undefined, fight: 'a fight' } })).toMatchObject([
      { name: 'subnet file', reason: 'a fight', advisory: true },
    ]);
  });
});

describe('it is worth knowing, and packets flow, that', () => {
  const of = (trouble: Grievance) => ({ trouble: trouble as typeof BAD, isKnown: true, isInPlace: false });

  it.each<[string, Partial<Patients>, string]>([
    ['our lease could not be written', { access: of(BAD) }, 'etcd write access'],
    ['the configuration is another', { configWatcher: of(BAD) }, 'network configuration'],
    ['the lease cannot be kept alive', { holder: { ...HOLDER, trouble: BAD } }, 'lease renewal'],
    ['another host claims our lease', { holder: { ...HOLDER, contest: BAD } }, 'lease contest'],
    ['the underlay cannot be chosen again', { underlay: { ...WELL.underlay!, trouble: BAD } }, 'underlay'],
    ['peers cannot be written', { reconciler: { ...RECONCILER, trouble: BAD } }, 'peers in the kernel'],
    [
      'firewall rules cannot be written',
      { firewall: { ...of(BAD), obstacle: complaint('a chain') } },
      'firewall',
    ],
    ['a chain of others drops packets', { firewall: { ...of(undefined), obstacle: BAD } }, 'firewall'],
    ['flanneld runs here, too', { flannel: of(BAD) }, 'flanneld'],
    ['the VXLAN port is not guarded', { admission: of(BAD) }, 'vxlan admission'],
    [
      'packets of containers are not forwarded',
      { surroundings: { isKnown: true, trouble: (topic) => (topic === 'forwarding' ? BAD : undefined) } },
      'forwarding',
    ],
    ['another route goes before ours', { routes: { ...of(BAD), hidden: undefined } }, 'routes to peers'],
    [
      'the network hides what this host needs',
      { routes: { ...of(undefined), hidden: BAD } },
      'hidden addresses',
    ],
    [
      'a bridge does not fit',
      { surroundings: { isKnown: true, trouble: (topic) => (topic === 'bridge' ? BAD : undefined) } },
      'bridge',
    ],
    ['nothing can be remembered', { recorder: of(BAD) }, 'state file'],
  ])('%s', (_, changes, name) => {
    expect(illsOf(changes)).toEqual([{ name, reason: 'it is bad', forMilliseconds: 7, advisory: true }]);
  });

  it.each<[string, Partial<Patients>['holder'], string]>([
    [
      'until when our lease is good without it',
      HOLDER,
      'our lease is good until 2026-12-01T23:50Z without it',
    ],
    [
      'that our reservation is good without it',
      { ...HOLDER, remainingSeconds: Infinity, goodUntil: Infinity },
      'our lease does not run out',
    ],
  ])('leases cannot be followed, and %s', (_, holder, respite) => {
    expect(illsOf({ holder, watcher: { ...WATCHER, trouble: BAD } })).toEqual([
      { name: 'etcd', reason: `it is bad; ${respite}`, forMilliseconds: 7, advisory: true },
    ]);
  });

  it('leases cannot be followed, and no respite is promised where there is none', () => {
    for (const changes of [{ absence: BAD }, { remainingSeconds: 0 }, { hasGivenWay: true }])
      expect(
        illsOf({ holder: { ...HOLDER, ...changes }, watcher: { ...WATCHER, trouble: BAD } }),
      ).toContainEqual({ name: 'etcd', reason: 'it is bad', forMilliseconds: 7, advisory: true });
  });

  it.each<[string, Partial<Patients>, string, string]>([
    [
      'somebody fights about our lease',
      { holder: { ...HOLDER, fight: 'again and again' } },
      'lease contest',
      'again and again',
    ],
    [
      'leases are ignored or doubtful',
      {
        watcher: {
          ...WATCHER,
          complaints: [
            { lease: 'a', reason: 'x', isUsed: false },
            { lease: 'b', reason: 'y', isUsed: true },
            { lease: 'c', reason: 'z', isUsed: false },
          ],
        },
      },
      'other leases',
      '2 ignored, 1 doubtful: a (x); b (y); c (z)',
    ],
    [
      'peers are kept whose leases expired',
      {
        watcher: {
          ...WATCHER,
          graced: [
            { lease: 'a', forMilliseconds: 5_400 },
            { lease: 'b', forMilliseconds: 60_000 },
          ],
        },
      },
      'peers in grace',
      '2 kept although their leases expired: a (for 5 s); b (for 60 s)',
    ],
    [
      'Backend.MTU is more than the interface has',
      { overlay: { ...exampleOverlay(), backend: { ...exampleOverlay().backend, mtu: 9_000 } } },
      'mtu',
      'Backend.MTU 9000 is above the MTU 1500 of eth0: the overlay has 1450, by eth0; lower Backend.MTU, or raise that of eth0 where its network carries it',
    ],
    [
      'another program undoes what we write',
      { reconciler: { ...RECONCILER, fights: ['route a', 'route b', 'route c', 'route d'] } },
      'fights',
      'another program undoes again and again: route a; route b; route c; and 1 more',
    ],
  ])('%s', (_, changes, name, reason) => {
    expect(illsOf(changes)).toEqual([{ name, reason, forMilliseconds: undefined, advisory: true }]);
  });
});

it('what is not there yet, or not wanted, is not unwell', () => {
  const absent = { underlay: undefined, configWatcher: undefined, firewall: undefined, admission: undefined };
  expect(illsOf(absent)).toHaveLength(0);
  expect(illsOf({ ...absent, holder: undefined }).map(({ name }) => name)).toEqual(['lease']);
});
