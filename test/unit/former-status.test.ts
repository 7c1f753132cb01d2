import {
  FORMER_NAMES,
  presentChecks,
  withFormerNames,
  type FormerNames,
} from '../../src/model/former-status';

const STATUS = {
  isReady: true,
  overlay: undefined,
  nothing: null,
  lease: { subnet: '10.5.1.0/24', publicIp: '192.0.2.1' },
  peers: { count: 2, list: [{ subnet: '10.5.2.0/24' }, { subnet: '10.5.3.0/24' }] },
  checks: [
    { name: 'etcd', ok: true },
    { name: 'kernel', ok: false },
  ],
};

/** As if these had been renamed. */
const RENAMED: FormerNames = {
  fields: { ready: 'isReady', 'lease.cidr': 'subnet', 'peers.list.cidr': 'subnet', 'overlay.vni': 'id' },
  checks: { registry: 'etcd', absent: 'not there' },
};

test('a reader finds a renamed field by both names, at the top, below, and in lists', () => {
  expect({ ...withFormerNames(STATUS, RENAMED), checks: [] }).toEqual({
    checks: [],
    isReady: true,
    overlay: undefined,
    nothing: null,
    ready: true,
    lease: { subnet: '10.5.1.0/24', cidr: '10.5.1.0/24', publicIp: '192.0.2.1' },
    peers: {
      count: 2,
      list: [
        { subnet: '10.5.2.0/24', cidr: '10.5.2.0/24' },
        { subnet: '10.5.3.0/24', cidr: '10.5.3.0/24' },
      ],
    },
  });
});

test('a reader finds a renamed check by both names, and a person sees it once', () => {
  const { checks } = withFormerNames(STATUS, RENAMED);
  expect(checks).toEqual([...STATUS.checks, { name: 'registry', ok: true }]);
  expect(presentChecks(checks, RENAMED)).toEqual(STATUS.checks);
});

test('where nothing was renamed, a status is what it was', () => {
  expect(withFormerNames(STATUS, { fields: {}, checks: {} })).toEqual(STATUS);
  expect(JSON.stringify(withFormerNames(STATUS, { fields: {}, checks: {} }))).toBe(JSON.stringify(STATUS));
});

test('what is listed as renamed has two names', () => {
  const { fields, checks } = FORMER_NAMES;
  for (const [former, present] of Object.entries({ ...fields, ...checks }))
    expect(former.split('.').at(-1)).not.toBe(present);
});
