import fc from 'fast-check';
import { parseCommandLine } from '../../src/cli/command-line';
import { isBoolean, OPTION_KEYS, OPTIONS, variableOf, type OptionKey } from '../../src/cli/options';
import { notEffective, printableOptions, type Options } from '../../src/cli/read-options';
import { subnet } from '../../src/model/address';
import { UsageError } from '../../src/model/errors';

function optionsOf(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Options {
  // A file of options that says nothing is there, whatever its name.
  const command = parseCommandLine(argv, env, () => ({ text: '', isPublic: true }));
  if (!('options' in command)) throw new Error(`it is ${command.kind}`);
  return command.options;
}

function complaintOf(argv: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  try {
    optionsOf(argv, env);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'no complaint';
}

test.each([
  [
    ['--etcd-endpoints=10.0.0.1:2379,etcd.example:2379'],
    ['http://10.0.0.1:2379', 'http://etcd.example:2379'],
  ],
  [['--etcd-endpoints=[fd00::1]:2379', '--etcd-cafile=ca'], ['https://[fd00::1]:2379']],
  [
    ['--etcd-endpoints=10.0.0.1:2379,http://b:2379', '--etcd-cafile=ca'],
    ['https://10.0.0.1:2379', 'http://b:2379'],
  ],
])('endpoints without a scheme, as flannel takes them: %j', (argv, endpoints) => {
  expect(optionsOf(argv).etcdEndpoints).toEqual(endpoints);
});

test('an empty --iface names none, and an empty --subnet-file no file', () => {
  expect(optionsOf(['--iface=']).iface).toEqual([]);
  expect(optionsOf(['--iface=', '--iface=eth1']).iface).toEqual(['eth1']);
  expect(optionsOf(['--subnet-file=']).subnetFile).toBeUndefined();
});

test('without anything said, the defaults are those of flannel', () => {
  const { explicit, notices, ...values } = optionsOf([]);
  expect(values).toEqual({
    etcdEndpoints: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
    etcdPrefix: '/coreos.com/network',
    etcdCafile: undefined,
    etcdCertfile: undefined,
    etcdKeyfile: undefined,
    etcdUsername: undefined,
    etcdPassword: undefined,
    embeddedEtcd: false,
    network: subnet('10.5.0.0/16'),
    iface: [],
    ifaceRegex: [],
    ifaceCanReach: undefined,
    publicIp: undefined,
    publicIpv6: undefined,
    configFile: '/etc/vtepd/vtepd.conf',
    subnetFile: '/run/flannel/subnet.env',
    renewMarginMinutes: 60,
    subnetLost: 'renumber',
    resolve: 'preload',
    idleTimeoutSeconds: 300,
    peerGraceSeconds: 3600,
    stateFile: '/var/lib/vtepd/state.json',
    ipMasq: false,
    ipMasqFullyRandomDisable: false,
    iptablesForwardRules: true,
    iptablesResyncSeconds: 5,
    vxlanAdmission: 'off',
    ipBlackholeRoute: false,
    healthzIp: '0.0.0.0',
    healthzPort: 0,
    verbosity: 0,
    logFormat: 'text',
    vmodule: undefined,
    logBacktraceAt: undefined,
  });
  expect(explicit.size).toBe(0);
  expect(notices).toEqual([]);
});

describe('an option may be written', () => {
  test.each([
    [['--public-ip=192.0.2.1']],
    [['--public-ip', '192.0.2.1']],
    [['-public-ip=192.0.2.1']],
    [['-public-ip', '192.0.2.1']],
    [['--public-ip=192.0.2.9', '-public-ip', '192.0.2.1']],
    [['run', '--public-ip=192.0.2.1']],
    [['--public-ip=192.0.2.1', 'run']],
  ])('%j', (argv) => {
    expect(optionsOf(argv).publicIp).toBe('192.0.2.1');
  });

  test('any of them with one dash or two, with = or a blank, to the same effect', () => {
    const valued = OPTION_KEYS.filter((key) => !isBoolean(key));
    fc.assert(
      fc.property(
        fc.constantFrom(...valued),
        fc.constantFrom('-', '--'),
        fc.boolean(),
        (key, dashes, isJoined) => {
          const { name } = OPTIONS[key];
          const text = TEXTS[key];
          const words = isJoined ? [`${dashes}${name}=${text}`] : [`${dashes}${name}`, text];
          const options = optionsOf([...words, ...partners(key)]);
          expect(options[key]).toEqual(
            optionsOf([], { [variableOf(name)]: text, ...partnerVariables(key) })[key],
          );
          expect(options.explicit.has(key)).toBe(true);
        },
      ),
    );
  });

  test.each([
    [['--ip-masq'], true],
    [['-ip-masq'], true],
    [['--ip-masq=true'], true],
    [['--ip-masq=1'], true],
    [['--ip-masq=t'], true],
    [['--ip-masq=T'], true],
    [['--ip-masq=TRUE'], true],
    [['--ip-masq=True'], true],
    [['--ip-masq=false'], false],
    [['--ip-masq=0'], false],
    [['--ip-masq=f'], false],
    [['--ip-masq=F'], false],
    [['--ip-masq=FALSE'], false],
    [['--ip-masq', '--ip-masq=false'], false],
  ])('%j, if it is a boolean: %s', (argv, value) => {
    expect(optionsOf(argv).ipMasq).toBe(value);
  });

  test('a boolean never takes the next word', () => {
    expect(parseCommandLine(['--ip-masq', 'leave'], {})).toMatchObject({
      kind: 'leave',
      options: { ipMasq: true },
    });
  });

  test('-v N, -v=N, --v=N: the verbosity', () => {
    for (const argv of [['-v', '2'], ['-v=2'], ['--v=2'], ['--v', '2'], ['-v', '0x2']])
      expect(optionsOf(argv).verbosity).toBe(2);
  });

  test('repeatable ones keep their order', () => {
    const options = optionsOf([
      '--iface=eth1',
      '--iface-regex',
      '^10\\.',
      '-iface',
      '10.0.0.1',
      '--iface=FD00::1',
    ]);
    expect(options.iface).toEqual(['eth1', '10.0.0.1', 'fd00::1']);
    expect(options.ifaceRegex).toEqual(['^10\\.']);
  });

  test('endpoints may have blanks, an empty place and a slash at the end', () => {
    expect(optionsOf(['--etcd-endpoints= http://a:1/, https://[fd00::1]:2379 ,']).etcdEndpoints).toEqual([
      'http://a:1',
      'https://[fd00::1]:2379',
    ]);
  });

  test.each([
    ['/a//b/', '/a/b'],
    ['/', '/'],
    ['a/b', 'a/b'],
    ['/a/../b', '/b'],
  ])('the prefix %s is %s, joined as a path', (text, prefix) => {
    expect(optionsOf([`--etcd-prefix=${text}`]).etcdPrefix).toBe(prefix);
  });

  test('an empty value of an option that is not set by default unsets it', () => {
    expect(optionsOf(['--public-ip=', '--etcd-cafile=']).publicIp).toBeUndefined();
  });
});

describe('the environment', () => {
  test('sets every option, below the command line', () => {
    const env = {
      FLANNELD_ETCD_PREFIX: '/env',
      FLANNELD_IP_MASQ: 'true',
      FLANNELD_V: '3',
      FLANNELD_IFACE: 'eth7',
    };
    const options = optionsOf(['--etcd-prefix=/line', '--iface=eth1'], env);
    expect(options).toMatchObject({ etcdPrefix: '/line', ipMasq: true, verbosity: 3, iface: ['eth1'] });
    expect([...options.explicit].sort()).toEqual(['etcdPrefix', 'iface', 'ipMasq', 'verbosity']);
  });

  test('counts as silent where it is empty', () => {
    const options = optionsOf([], { FLANNELD_ETCD_PREFIX: '', FLANNELD_PUBLIC_IP: '' });
    expect(options.etcdPrefix).toBe('/coreos.com/network');
    expect(options.explicit.size).toBe(0);
  });

  test('gives a repeatable option exactly one value', () => {
    expect(optionsOf([], { FLANNELD_IFACE_REGEX: 'a,b' }).ifaceRegex).toEqual(['a,b']);
  });

  test('is blamed by the name of the variable', () => {
    expect(complaintOf([], { FLANNELD_HEALTHZ_PORT: 'x' })).toBe(
      "FLANNELD_HEALTHZ_PORT must be a whole number, from 0 to 65535, not 'x'",
    );
  });

  test('is not looked at where the command line says it', () => {
    expect(optionsOf(['--healthz-port=1'], { FLANNELD_HEALTHZ_PORT: 'x' }).healthzPort).toBe(1);
  });

  test('gets a notice for a variable that means nothing, and a hint', () => {
    expect(optionsOf([], { FLANNELD_ETCD_ENDPOINT_S: 'x', FLANNELD_OPTS: 'y', OTHER: 'z' }).notices).toEqual([
      'the variable FLANNELD_ETCD_ENDPOINT_S has no meaning; did you mean FLANNELD_ETCD_ENDPOINTS?',
      'the variable FLANNELD_OPTS has no meaning',
    ]);
  });

  test('gets a notice for one that begins with our name, not with that of flannel', () => {
    expect(
      optionsOf([], { VTEPD_IFACE: 'eth1', VTEPD_PORT: 'tcp://10.0.0.1:80', VTEPD_IP_MASQ: '' }).notices,
    ).toEqual(['the variable VTEPD_IFACE has no meaning; did you mean FLANNELD_IFACE?']);
  });

  test('of Node that lets anybody pass for etcd is said to do so, where TLS is used', () => {
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    expect(optionsOf(['--etcd-endpoints=https://a:2379'], env).notices).toEqual([
      expect.stringContaining('makes anybody pass for etcd; unset it') as string,
    ]);
    expect(optionsOf(['--etcd-endpoints=http://a:2379'], env).notices).toEqual([]);
  });

  test('is shown by its beginning where it is long', () => {
    const complaint = complaintOf([], { FLANNELD_ETCD_ENDPOINTS: 'x'.repeat(100_000) });
    expect(complaint).toContain("not 'xxxx");
    expect(complaint.length).toBeLessThan(500);
  });

  test('may have any name, of which nothing is guessed when it is long', () => {
    const name = `FLANNELD_${'X'.repeat(100_000)}`;
    expect(optionsOf([], { [name]: 'x' }).notices).toEqual([`the variable ${name} has no meaning`]);
  });

  test('FLANNELD_VERSION has no effect', () => {
    expect(parseCommandLine([], { FLANNELD_VERSION: 'true' }).kind).toBe('run');
  });
});

describe('refused, with what is wrong and what is allowed:', () => {
  test.each([
    [['--ip-masq=yes'], "--ip-masq must be true or false, not 'yes'"],
    [['--healthz-port=65536'], "--healthz-port must be a whole number, from 0 to 65535, not '65536'"],
    [['--healthz-port='], "--healthz-port must be a whole number, from 0 to 65535, not ''"],
    [['-v=-1'], "-v must be a whole number, 0 or more, not '-1'"],
    [['-v', '1.5'], "-v must be a whole number, 0 or more, not '1.5'"],
    [
      ['--subnet-lease-renew-margin=1440'],
      "--subnet-lease-renew-margin must be a whole number of minutes, from 1 to 1439, not '1440'",
    ],
    [
      ['--subnet-lease-renew-margin=0'],
      "--subnet-lease-renew-margin must be a whole number of minutes, from 1 to 1439, not '0'",
    ],
    [
      ['--iptables-resync=0'],
      "--iptables-resync must be a whole number of seconds, from 1 to 86400, not '0'",
    ],
    [['--idle-timeout=0'], "--idle-timeout must be a whole number of seconds, from 1 to 86400, not '0'"],
    [['--resolve=lazy'], "--resolve must be preload or on-demand, not 'lazy'"],
    [['--log-format=xml'], "--log-format must be text or json, not 'xml'"],
    [['--public-ip=fd00::1'], "--public-ip must be an IPv4 address, not 'fd00::1'"],
    [
      ['--public-ip=10.0.0.1/24'],
      "--public-ip must be an IPv4 address, without a prefix length, not '10.0.0.1/24'",
    ],
    [['--public-ip=eth0'], "--public-ip must be an IPv4 address, not 'eth0'"],
    [
      ['--public-ip=127.0.0.1'],
      "--public-ip must be an address that other hosts can reach; this one is the loopback, not '127.0.0.1'",
    ],
    [
      ['--public-ip=224.0.0.1'],
      "--public-ip must be an address that other hosts can reach; this one is multicast, not '224.0.0.1'",
    ],
    [
      ['--public-ip=0.0.0.0'],
      '--public-ip must be an address that other hosts can reach; this one stands for "any", not \'0.0.0.0\'',
    ],
    [['--public-ipv6=10.0.0.1'], "--public-ipv6 must be an IPv6 address, not '10.0.0.1'"],
    [['--iface-can-reach=gateway'], "--iface-can-reach must be an IP address, not 'gateway'"],
    [['--healthz-ip=localhost'], "--healthz-ip must be an IP address, not 'localhost'"],
    [
      ['--iface=10.0.0.0/8'],
      "--iface must be the name or the address of an interface, without a prefix length, not '10.0.0.0/8'",
    ],
    [['--subnet-file=/run/flannel/'], "--subnet-file must be the path of a file, not '/run/flannel/'"],
    [['--etcd-prefix='], "--etcd-prefix must be a key like /coreos.com/network, not ''"],
    [['--etcd-endpoints='], "--etcd-endpoints must name at least one URL like http://10.0.0.1:2379, not ''"],
    [
      ['--etcd-endpoints=10.0.0.1'],
      "--etcd-endpoints must be a list of URLs like http://10.0.0.1:2379 or https://[fd00::1]:2379, port included, not '10.0.0.1'",
    ],
    [['-ip-masq', 'true'], "what is 'true' for? a switch takes its value with '=', as in --ip-masq=true"],
    [
      ['--etcd-endpoints=http://a:2379,http://b'],
      "--etcd-endpoints must be a list of URLs like http://10.0.0.1:2379 or https://[fd00::1]:2379, port included, not 'http://a:2379,http://b'",
    ],
    [['--iface'], '--iface needs a value: --iface NAME|IP'],
    [['--etcd-keyfile=k'], '--etcd-keyfile needs --etcd-certfile too'],
    [['--etcd-certfile=c'], '--etcd-certfile needs --etcd-keyfile too'],
    [['--etcd-username=u'], '--etcd-username needs --etcd-password too'],
    [['--etcd-password=p'], '--etcd-password needs --etcd-username too'],
    [['--ifcae=x'], 'there is no option --ifcae; did you mean --iface?'],
    [['--endpoints=x'], 'there is no option --endpoints; did you mean --etcd-endpoints?'],
    [['-x'], "there is no option -x; 'vtepd --help' lists those there are"],
    [['--etcd-endpoint=http://a:1'], '--etcd-endpoint was renamed by flannel 0.2: use --etcd-endpoints'],
  ])('%j', (argv, complaint) => {
    expect(complaintOf(argv)).toBe(complaint);
  });

  test.each([
    'kube-subnet-mgr',
    'kube-api-url=https://k:6443',
    'kubeconfig-file=/k',
    'kube-annotation-prefix=x',
    'net-config-path=/etc/kube-flannel/net-conf.json',
    'set-node-network-unavailable',
    'use-multi-cluster-cidr',
  ])('--%s, which is for Kubernetes', (word) => {
    expect(complaintOf([`--${word}`])).toMatch(/^--[\w-]+ is for flannel on Kubernetes; vtepd .* etcd/);
    const [name, value = 'true'] = word.split('=');
    expect(complaintOf([], { [variableOf(name!)]: value })).toMatch(
      /^FLANNELD_\w+ is for flannel on Kubernetes/,
    );
  });

  test.each(['listen', 'remote', 'remote-keyfile', 'networks', 'watch-networks', 'subnet-dir'])(
    '--%s, which flannel no longer has either',
    (name) => {
      expect(complaintOf([`--${name}=x`])).toMatch(/flannel 0\.5 to 0\.7; /);
    },
  );

  test('but not what a unit of flannel 0.5 to 0.7 says about its log, which needs no answer', () => {
    const words = ['-logtostderr', '--alsologtostderr=true', '-stderrthreshold', '0', '--log_dir=/var/log'];
    const { explicit, notices, iface } = optionsOf([...words, '-iface=eth1'], {
      FLANNELD_LOGTOSTDERR: 'true',
    });
    expect({ explicit: [...explicit], notices, iface }).toEqual({
      explicit: ['iface'],
      notices: [],
      iface: ['eth1'],
    });
  });

  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    '--%s, which objects have and no program',
    (name) => {
      expect(complaintOf([`--${name}`, 'x'])).toBe(
        `there is no option --${name}; 'vtepd --help' lists those there are`,
      );
      expect(complaintOf([`--${name}=x`])).toContain('there is no option');
    },
  );

  test('but not --kube-subnet-mgr=false, which asks for nothing', () => {
    expect(complaintOf(['--kube-subnet-mgr=false'], { FLANNELD_KUBE_SUBNET_MGR: 'false' })).toBe(
      'no complaint',
    );
  });

  test('a password is never repeated', () => {
    const argv = ['--etcd-endpoints=http://root:hunter2@a:2379'];
    expect(complaintOf(argv)).toBe(
      '--etcd-endpoints must not hold a user or password; that is what --etcd-username and --etcd-password are for',
    );
    const options = optionsOf(['--etcd-username=root', '--etcd-password=hunter2']);
    expect(options.etcdPassword).toBe('hunter2');
    expect(printableOptions(options)).toEqual({ 'etcd-username': 'root', 'etcd-password': '(not shown)' });
  });

  test('any word at all is an option, or a UsageError', () => {
    const words = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '--',
        '-',
        '--=',
        '---',
        '-v',
        '--iface',
        'config',
        'set',
        'help',
        '--raw',
        '--ip-masq=',
        '=',
        '-=x',
      ),
      fc
        .constantFrom(...OPTION_KEYS)
        .chain((key) => fc.string().map((text) => `--${OPTIONS[key].name}=${text}`)),
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 4 }), (argv) => {
        try {
          parseCommandLine(argv, {});
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
          expect((error as Error).message).not.toBe('');
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a regular expression', () => {
  test.each(['^10\\.', 'eth[01]', 'en.*|wl.*', '^192\\.168\\.(1|2)\\.\\d+$', '\\\\A', 'a/b'])(
    '%s is taken',
    (text) => {
      expect(optionsOf(['--iface-regex', text]).ifaceRegex).toEqual([text]);
    },
  );

  test.each([
    ['(?P<net>eth)1', '(?<net>eth)1'],
    ['\\Aeth[[:digit:]]\\z', '^eth[0-9]$'],
    ['[^[:alpha:][:digit:]_]', '[^A-Za-z0-9_]'],
    // A backslash and an A; and brackets that are a class of their own.
    ['\\\\A', '\\\\A'],
    ['[:alpha:]', '[:alpha:]'],
  ])('%s, which Go spells so, is taken as %s', (text, source) => {
    expect(optionsOf(['--iface-regex', text]).ifaceRegex).toEqual([source]);
  });

  test.each([
    ['(?i)ETH', /flags like \(\?i\) are not known/],
    ['eth[[:^punct:]]', /of classes like \[\[:digit:\]\], only a few are known; use \\d/],
    ['\\Qeth\\E', /escape characters singly/],
    ['eth(', /Unterminated group/],
  ])('%s is refused, for JavaScript does not have that', (text, complaint) => {
    expect(complaintOf(['--iface-regex', text])).toMatch(complaint);
  });
});

describe('what has no effect is said:', () => {
  test('certificates without https', () => {
    expect(optionsOf(['--etcd-cafile=c']).notices).toEqual([
      '--etcd-cafile has no effect: no etcd endpoint begins with https://',
    ]);
    expect(optionsOf(['--etcd-cafile=c', '--etcd-endpoints=https://a:2379']).notices).toEqual([]);
  });

  test('an idle timeout without on-demand', () => {
    expect(optionsOf(['--idle-timeout=10']).notices).toEqual([
      '--idle-timeout has no effect without --resolve=on-demand',
    ]);
    expect(optionsOf(['--idle-timeout=10', '--resolve=on-demand']).notices).toEqual([]);
  });

  test('options whose work is still to be done, if they ask for something', () => {
    expect(
      notEffective(
        optionsOf(['--ip-masq', '--ip-blackhole-route', '--public-ipv6=fd00::1', '--vmodule=x=2']),
      ),
    ).toEqual([
      '--public-ipv6 is not effective yet: the overlay carries IPv4',
      '--vmodule is ignored: use -v',
    ]);
    expect(notEffective(optionsOf([]))).toEqual([]);
  });
});

describe('--embedded-etcd', () => {
  test('makes the etcd of this host the only one', () => {
    expect(optionsOf(['--embedded-etcd', '--network=10.7.0.0/16'])).toMatchObject({
      etcdEndpoints: ['http://127.0.0.1:2379'],
      network: subnet('10.7.0.0/16'),
      notices: [],
    });
  });

  test('is shown in the log with its network', () => {
    expect(printableOptions(optionsOf(['--embedded-etcd', '--network=10.7.0.0/16']))).toEqual({
      'embedded-etcd': 'true',
      network: '10.7.0.0/16',
    });
  });

  test.each([
    ['--etcd-endpoints', ['--etcd-endpoints=http://a:1']],
    ['--etcd-cafile', ['--etcd-cafile=/ca.pem']],
    ['--etcd-certfile', ['--etcd-keyfile=/k.pem', '--etcd-certfile=/c.pem']],
    ['--etcd-username', ['--etcd-username=u', '--etcd-password=p']],
  ])('contradicts %s', (name, words) => {
    expect(complaintOf(['--embedded-etcd', ...words])).toBe(
      "--embedded-etcd is an etcd of this host's own, without TLS and users: " +
        `leave out ${name}, or say --embedded-etcd=false`,
    );
  });

  test.each(['10.5.0.0', 'fd00::/64', ''])('takes no network like %j', (text) => {
    expect(complaintOf([`--network=${text}`])).toBe(
      `--network must be an IPv4 network like 10.5.0.0/16, not '${text}'`,
    );
  });

  test('takes no network that flannel would not', () => {
    expect(complaintOf(['--network=10.5.0.0/29'])).toBe(
      '--network must be an IPv4 network like 10.5.0.0/16; network is too small. Minimum useful network prefix is /28, ' +
        "not '10.5.0.0/29'",
    );
  });

  test('is what --network is for', () => {
    expect(optionsOf(['--network=10.7.0.0/16']).notices).toEqual([
      "--network has no effect without --embedded-etcd; elsewhere 'vtepd config set' stores the network",
    ]);
  });
});

test('options cannot be changed', () => {
  const options = optionsOf(['--iface=eth0']);
  expect(() => Object.assign(options, { ipMasq: true })).toThrow(TypeError);
  expect(() => (options.iface as string[]).push('eth1')).toThrow(TypeError);
});

/** A good value of each option that takes one. */
const TEXTS: Record<OptionKey, string> = {
  etcdEndpoints: 'https://a:2379',
  etcdPrefix: '/p',
  etcdCafile: '/ca.pem',
  etcdCertfile: '/cert.pem',
  etcdKeyfile: '/key.pem',
  etcdUsername: 'u',
  etcdPassword: '-p',
  embeddedEtcd: 'true',
  network: '10.6.0.0/16',
  iface: 'eth3',
  ifaceRegex: '^eth',
  ifaceCanReach: '192.0.2.1',
  publicIp: '192.0.2.2',
  publicIpv6: '2001:db8::2',
  configFile: '/tmp/vtepd.conf',
  subnetFile: '/tmp/subnet.env',
  renewMarginMinutes: '61',
  subnetLost: 'stop',
  resolve: 'on-demand',
  idleTimeoutSeconds: '17',
  peerGraceSeconds: '18',
  stateFile: '/tmp/state.json',
  ipMasq: 'true',
  ipMasqFullyRandomDisable: 'true',
  iptablesForwardRules: 'false',
  iptablesResyncSeconds: '6',
  ipBlackholeRoute: 'true',
  vxlanAdmission: 'on',
  healthzIp: '127.0.0.1',
  healthzPort: '8081',
  verbosity: '4',
  logFormat: 'json',
  vmodule: 'a=1',
  logBacktraceAt: 'a.go:1',
};

/** Some options are only good in pairs. */
const PAIRS: Partial<Record<OptionKey, OptionKey>> = {
  etcdCertfile: 'etcdKeyfile',
  etcdKeyfile: 'etcdCertfile',
  etcdUsername: 'etcdPassword',
  etcdPassword: 'etcdUsername',
};

function partners(key: OptionKey): string[] {
  const partner = PAIRS[key];
  return partner ? [`--${OPTIONS[partner].name}=${TEXTS[partner]}`] : [];
}

function partnerVariables(key: OptionKey): NodeJS.ProcessEnv {
  const partner = PAIRS[key];
  return partner ? { [variableOf(OPTIONS[partner].name)]: TEXTS[partner] } : {};
}
