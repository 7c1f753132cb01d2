/** Nothing has to be renamed for it: an option gets a former name here. And every name that a release had is known for ever, or for one release more. */
import { parseCommandLine } from '../../src/cli/command-line';
import { keyOfOption, OPTIONS } from '../../src/cli/options';
import { RENAMED } from '../../src/cli/renamed-options';
import type { Options } from '../../src/cli/read-options';

function optionsOf(argv: readonly string[], env: NodeJS.ProcessEnv = {}, file = ''): Options {
  const command = parseCommandLine(argv, env, () => ({ text: file, isPublic: true }));
  if (!('options' in command)) throw new Error(`it is ${command.kind}`);
  return command.options;
}

/** Every option of v0.1.0. */
const OF_RELEASE = [
  ...['etcd-endpoints', 'etcd-prefix', 'etcd-cafile', 'etcd-certfile', 'etcd-keyfile'],
  ...['etcd-username', 'etcd-password', 'embedded-etcd', 'network', 'iface', 'iface-regex'],
  ...[
    'iface-can-reach',
    'public-ip',
    'public-ipv6',
    'config-file',
    'subnet-file',
    'subnet-lease-renew-margin',
  ],
  ...['subnet-lost', 'state-file', 'resolve', 'idle-timeout', 'peer-grace', 'ip-masq'],
  ...['ip-masq-fully-random-disable', 'iptables-forward-rules', 'iptables-resync', 'ip-blackhole-route'],
  ...['vxlan-admission', 'healthz-ip', 'healthz-port', 'v', 'log-format', 'vmodule', 'log_backtrace_at'],
];

test.each(OF_RELEASE)('v0.1.0 had the option %s, and it is known', (name) => {
  expect(keyOfOption(name)).toBeDefined();
});

test('nothing is renamed to an option that is not there, and no former name is one of today', () => {
  const names = Object.values(OPTIONS).map(({ name }) => name);
  for (const [former, key] of Object.entries(RENAMED)) {
    expect(names).not.toContain(former);
    expect(OPTIONS[key]).toBeDefined();
  }
});

describe('an option that was --grace, and is --peer-grace now,', () => {
  beforeAll(() => (RENAMED['grace'] = 'peerGraceSeconds'));
  afterAll(() => delete RENAMED['grace']);

  test.each<[written: string, present: string, argv: string[], env: NodeJS.ProcessEnv, file: string]>([
    ['--grace', '--peer-grace', ['--grace=7'], {}, ''],
    ['--grace', '--peer-grace', ['--grace', '7'], {}, ''],
    ['FLANNELD_GRACE', 'FLANNELD_PEER_GRACE', [], { FLANNELD_GRACE: '7' }, ''],
    ['/etc/vtepd/vtepd.conf, line 2: grace', 'peer-grace', [], {}, 'v=1\ngrace=7'],
  ])('is known by its former name, with a warning: %s', (written, present, argv, env, file) => {
    const { peerGraceSeconds, explicit, notices } = optionsOf(argv, env, file);
    expect(peerGraceSeconds).toBe(7);
    expect(explicit).toContain('peerGraceSeconds');
    expect(notices).toEqual([
      `${written} is the former name of ${present}; the next release will not know it`,
    ]);
  });

  test('is known by its present name, without a warning', () => {
    const { peerGraceSeconds, notices } = optionsOf(['--peer-grace=7']);
    expect({ peerGraceSeconds, notices }).toEqual({ peerGraceSeconds: 7, notices: [] });
  });

  test('may be given by both names: the later one wins, and the variable of today', () => {
    expect(optionsOf(['--grace=7', '--peer-grace=8']).peerGraceSeconds).toBe(8);
    expect(optionsOf(['--peer-grace=8', '--grace=7']).peerGraceSeconds).toBe(7);
    expect(optionsOf([], { FLANNELD_GRACE: '7', FLANNELD_PEER_GRACE: '8' }).peerGraceSeconds).toBe(8);
  });

  test('comes from the place that counts, by whichever name', () => {
    expect(optionsOf(['--grace=7'], { FLANNELD_PEER_GRACE: '8' }, 'peer-grace=9').peerGraceSeconds).toBe(7);
    expect(optionsOf([], { FLANNELD_GRACE: '7' }, 'peer-grace=9').peerGraceSeconds).toBe(7);
  });

  test('may stand in the file only once, by whichever name', () => {
    expect(() => optionsOf([], {}, 'peer-grace=8\ngrace=7')).toThrow(
      'line 2: grace was set in line 1 already',
    );
  });

  test('is complained of by the name that was written', () => {
    expect(() => optionsOf(['--grace'])).toThrow('--grace needs a value');
    expect(() => optionsOf([], { FLANNELD_GRACE: 'long' })).toThrow(/^FLANNELD_GRACE /);
  });
});
