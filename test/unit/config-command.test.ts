import { parseCommandLine, type ConfigCommand } from '../../src/cli/command-line';
import { needsRegistry, runConfigCommand, type ConfigIo } from '../../src/cli/config-command';
import type { NeededAddress } from '../../src/cli/config-remarks';
import { ipAddress } from '../../src/model/address';
import { HostError, RegistryError } from '../../src/model/errors';
import { FakeStore, type FakeRegistry } from '../support/fake-registry';

const GOOD = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}\n';
const LARGER = '{"Network": "10.5.0.0/16", "SubnetLen": 26, "Backend": {"Type": "vxlan", "VNI": 7}}\n';

let store: FakeStore;
let registry: FakeRegistry;
let files: Record<string, string>;
let out: string;
let complaints: string;
let needed: NeededAddress[];

beforeEach(() => {
  store = new FakeStore();
  registry = store.client();
  files = { good: GOOD, larger: LARGER };
  out = '';
  complaints = '';
  needed = [];
});

function command(...argv: string[]): ConfigCommand {
  const parsed = parseCommandLine(['config', ...argv], {});
  if (parsed.kind !== 'config') throw new Error('not a config command');
  return parsed;
}

const io: ConfigIo = {
  write: (text) => (out += text),
  copy: (text) => (out += text),
  complain: (text) => (complaints += text),
  read: (file) => {
    const text = files[file];
    return text === undefined
      ? Promise.reject(new HostError('ENOENT', `cannot read ${file}: there is no such file`))
      : Promise.resolve(text);
  },
  needed: () => Promise.resolve(needed),
  signal: new AbortController().signal,
};

function run(...argv: string[]): Promise<number> {
  return runConfigCommand(command(...argv), registry, io);
}

describe('config set', () => {
  test('stores what is right, as it was written, and says what it means', async () => {
    expect(await run('set', 'good')).toBe(0);
    expect(store.valueOf('config')).toBe(GOOD);
    expect(out).toBe(
      'stored at /coreos.com/network/config: 10.5.0.0/16, a /24 for each of up to 255 hosts, vxlan with VNI 1 on UDP port 8472\n',
    );
    expect(complaints).toBe('');
  });

  test('with --dry-run stores nothing, and says what it would', async () => {
    store.put('config', GOOD);
    expect(await run('set', '--dry-run', 'larger')).toBe(0);
    expect(store.valueOf('config')).toBe(GOOD);
    expect(out).toContain('would be stored at /coreos.com/network/config: 10.5.0.0/16, a /26');
    expect(out).toContain('SubnetLen: 24 → 26');
  });

  test('says before it stores what another VNI and SubnetLen cost, with the number of hosts', async () => {
    store.put('config', GOOD);
    for (const n of [1, 2, 3]) store.put(`subnets/10.5.${n}.0-24`, '{"PublicIP":"192.168.0.1"}');
    expect(await run('set', 'larger')).toBe(0);
    const [vni, subnets, stored] = out.split('\n');
    expect(vni).toBe(
      'warning: VNI 1 → 7: until each of the 3 hosts has been restarted, hosts with the new one and hosts with the old one do not reach each other',
    );
    expect(subnets).toContain(
      'warning: 3 of 3 leases are not of this configuration: their hosts get other subnets',
    );
    expect(stored).toContain('stored at');
  });

  test('and another port', async () => {
    store.put('config', GOOD);
    store.put('subnets/10.5.1.0-24', '{"PublicIP":"192.168.0.1"}');
    files['port'] = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "Port": 4789}}';
    expect(await run('set', 'port')).toBe(0);
    expect(out).toContain('warning: UDP port 8472 → 4789: until the one host has been restarted');
    expect(out).not.toContain('leases are not of this configuration');
  });

  test.each([['set'], ['check']])('%s names what of this host the network would hide', async (action) => {
    needed = [
      { address: ipAddress('10.5.0.2'), what: "this host's name server" },
      { address: ipAddress('192.168.0.1'), what: "this host's default gateway" },
    ];
    expect(await run(action, 'good')).toBe(0);
    expect(out.match(/warning: .*/g)).toEqual([
      "warning: 10.5.0.2, this host's name server, lies in the network 10.5.0.0/16: this host would look for it in the overlay",
    ]);
  });

  test.each([['set'], ['check']])('%s refuses a network that can be no overlay', async (action) => {
    files['loopback'] = '{"Network": "127.0.0.0/8", "Backend": {"Type": "vxlan"}}';
    files['second'] =
      '{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fe80::/48", "Backend": {"Type": "vxlan"}}';
    expect(await run(action, 'loopback')).toBe(1);
    expect(complaints).toBe(
      'loopback is of no use to vtepd: 127.0.0.0/8 cannot be an overlay: an address in 127.0.0.0/8 is a loopback address; use a private network, like 10.5.0.0/16\n',
    );
    expect(await run(action, 'second')).toBe(1);
    expect(complaints).toContain('fe80::/48 cannot be an overlay');
    expect(store.entries.has('config')).toBe(false);
  });

  test('reads standard input', async () => {
    files['-'] = GOOD;
    expect(await run('set', '-')).toBe(0);
    expect(store.valueOf('config')).toBe(GOOD);
  });

  test('says what it changes', async () => {
    store.put('config', GOOD);
    expect(await run('set', 'larger')).toBe(0);
    expect(out).toContain(
      [
        'changed:',
        '  SubnetLen: 24 → 26',
        '  SubnetMin: 10.5.1.0 → 10.5.0.64',
        '  SubnetMax: 10.5.255.0 → 10.5.255.192',
        '  Backend.VNI: 1 → 7',
        'agents that run go on with the old one until they are restarted',
      ].join('\n'),
    );
  });

  test('says that only the text changed, or that the old one was wrong', async () => {
    store.put('config', ` ${GOOD}`);
    expect(await run('set', 'good')).toBe(0);
    expect(out).toContain('only the text changed');
    store.put('config', '{');
    expect(await run('set', 'good')).toBe(0);
    expect(out).toContain('what it replaces was wrong: not valid JSON: line 1, column 2');
    expect(store.valueOf('config')).toBe(GOOD);
  });

  test('writes nothing when it is there already', async () => {
    store.put('config', GOOD);
    const { revision } = store;
    expect(await run('set', 'good')).toBe(0);
    expect(out).toBe('/coreos.com/network/config is this already; nothing to do\n');
    expect(store.revision).toBe(revision);
  });

  test.each([
    ['{"Network": "10.5.0.0/16",}', 'line 1, column 27: expected a key in double quotes'],
    ['{"Network": "10.5.0.0/29", "Backend": {"Type": "vxlan"}}', 'Minimum useful network prefix is /28'],
    [
      '{"Network": "10.5.0.0/16"}',
      "its backend is udp (flannel's choice where there is no Backend); vtepd knows vxlan",
    ],
    ['{"Network": "10.5.0.0/16", "Backend": {}}', 'its Backend has no Type; vtepd knows vxlan'],
    [
      '{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}',
      'its backend is host-gw; vtepd knows vxlan',
    ],
    ['{"EnableIPv4": false, "Backend": {"Type": "vxlan"}}', 'EnableIPv4 and EnableIPv6 are both false'],
    [
      '{"Network": "10.5.0.0/16", "SubnetMin": "10.5.9.0", "SubnetMax": "10.5.5.0", "Backend": {"Type": "vxlan"}}',
      'no host can get a subnet: SubnetMin 10.5.9.0 lies above SubnetMax 10.5.5.0',
    ],
  ])('stores nothing of %s', async (text, complaint) => {
    files['bad'] = text;
    expect(await run('set', 'bad')).toBe(1);
    expect(complaints).toContain(complaint);
    expect(complaints).toMatch(/^bad is (wrong|of no use)/);
    expect(store.valueOf('config')).toBeUndefined();
    expect(out).toBe('');
  });

  test('stores nothing when somebody else does at the same time', async () => {
    store.put('config', GOOD);
    const read = registry.readConfig.bind(registry);
    registry.readConfig = async (signal) => {
      const stored = await read(signal);
      store.put('config', '{"Network": "10.9.0.0/16"}');
      return stored;
    };
    expect(await run('set', 'larger')).toBe(1);
    expect(complaints).toContain(
      'somebody else changed /coreos.com/network/config just now; nothing was stored',
    );
    expect(store.valueOf('config')).toBe('{"Network": "10.9.0.0/16"}');
  });

  test('names leases that lie outside, and what is not effective yet', async () => {
    store.put('subnets/10.4.7.0-24', '{"PublicIP": "192.0.2.1"}');
    store.put('subnets/10.5.7.0-24', '{"PublicIP": "192.0.2.2"}');
    files['both'] = JSON.stringify({
      Network: '10.5.0.0/16',
      IPv6Network: 'fc00::/48',
      EnableIPv6: true,
      Backend: { Type: 'vxlan', DirectRouting: true },
    });
    expect(await run('set', 'both')).toBe(0);
    expect(out).toContain('note: outside this network there are leases: 10.4.7.0-24\n');
    expect(out).toContain('note: EnableIPv6 is not effective yet');
    expect(out).toContain('note: Backend.DirectRouting is ignored');
  });

  test('says what another backend costs the hosts that are there, and that it could not be looked up', async () => {
    store.put('config', '{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}');
    store.put('subnets/10.5.1.0-24', '{"PublicIP":"192.168.0.1"}');
    store.put('subnets/10.5.2.0-24', '{"PublicIP":"192.168.0.2"}');
    registry.failNext('list');
    expect(await run('set', '--dry-run', 'good')).toBe(0);
    expect(out).toContain('warning: what the change costs the hosts that are there could not be looked up: ');
    out = '';
    expect(await run('set', 'good')).toBe(0);
    expect(out).toContain(
      'warning: backend host-gw → vxlan: until each of the 2 hosts has been restarted, hosts',
    );
  });

  test.each([
    [
      '{"Network": "10.5.0.0/16", "SubnetLne": 24, "Backend": {"Type": "vxlan", "VNIs": 1}}',
      [
        'SubnetLne has no meaning; did you mean SubnetLen?',
        'Backend.VNIs has no meaning; did you mean Backend.VNI?',
      ],
    ],
    [
      '{"Network": "10.5.1.0/16", "Backend": {"Type": "vxlan"}}',
      ['Network 10.5.1.0/16 is read as 10.5.0.0/16'],
    ],
    [
      '{"network": "10.5.0.0/16", "Comment": "ours", "Backend": {"Type": "VXLAN", "__proto__": 1}}',
      ['Comment has no meaning', 'Backend.__proto__ has no meaning'],
    ],
    [
      '{"Network": "10.9.0.0/16", "NETWORK": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": 2, "VNI": 1}}',
      [
        'NETWORK stands there more than once; the last one counts',
        'VNI stands there more than once; the last one counts',
      ],
    ],
    [
      '{"Network": "10.5.0.0/16", "SubnetLen": 2.4e1, "Backend": {"Type": "vxlan", "VNI": 1.0}}',
      [
        'flannel reads no 2.4e1 as a whole number: write 24',
        'flannel reads no 1.0 as a whole number: write 1',
      ],
    ],
  ])('names what nobody reads as it was meant: %s', async (text, remarks) => {
    files['odd'] = text;
    expect(await run('check', 'odd')).toBe(0);
    expect(out.split('\n').slice(1, -1)).toEqual(remarks.map((remark) => `note: ${remark}`));
    out = '';
    expect(await run('set', 'odd')).toBe(0);
    for (const remark of remarks) expect(out).toContain(`note: ${remark}\n`);
  });

  test('names ten of ten thousand fields that have no meaning', async () => {
    const odd = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`x${n}`, 0]));
    files['odd'] = JSON.stringify({ Network: '10.5.0.0/16', Backend: { Type: 'vxlan' }, ...odd });
    expect(await run('check', 'odd')).toBe(0);
    expect(out.split('\n')).toHaveLength(13);
    expect(out).toContain('note: … (5000 remarks of this kind in all)');
  });

  test('is done when only the leases could not be looked at', async () => {
    registry.failNext('list');
    expect(await run('set', 'good')).toBe(0);
    expect(out).toContain('note: whether all leases lie in this network could not be looked up');
    expect(store.valueOf('config')).toBe(GOOD);
  });

  test('complains about a file that is not there, and about etcd', async () => {
    expect(await run('set', 'missing')).toBe(1);
    expect(complaints).toBe('cannot read missing: there is no such file\n');
    complaints = '';
    registry.down = true;
    expect(await run('set', 'good')).toBe(1);
    expect(complaints).not.toBe('');
  });
});

describe('config get', () => {
  test('shows the stored configuration with its defaults', async () => {
    store.put('config', GOOD);
    expect(await run('get')).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ SubnetLen: 24, SubnetMin: '10.5.1.0', Backend: { Port: 8472 } });
  });

  test('shows the text as it is stored, also if it is wrong', async () => {
    store.put('config', '{"Network": ');
    expect(await run('get', '--raw')).toBe(0);
    expect(out).toBe('{"Network": \n');
  });

  test('says what is wrong', async () => {
    expect(await run('get')).toBe(1);
    expect(complaints).toBe(
      "there is nothing at /coreos.com/network/config; store one with 'vtepd config set FILE'\n",
    );
    complaints = '';
    store.put('config', '{"Network": ');
    expect(await run('get', '--etcd-prefix=/')).toBe(1);
    expect(complaints).toBe(
      '/config is wrong: not valid JSON: line 1, column 13: expected a value, found the end\n',
    );
    expect(out).toBe('');
  });
});

describe('config check', () => {
  test('checks a file without any etcd', async () => {
    const check = command('check', 'good');
    expect(needsRegistry(check)).toBe(false);
    expect(await runConfigCommand(check, undefined, io)).toBe(0);
    expect(out).toBe(
      'good is good: 10.5.0.0/16, a /24 for each of up to 255 hosts, vxlan with VNI 1 on UDP port 8472\n',
    );
  });

  test('checks what is stored', async () => {
    expect(needsRegistry(command('check'))).toBe(true);
    store.put('config', GOOD);
    expect(await run('check')).toBe(0);
    store.put('config', '{"Network": "10.5.0.0/16"}');
    expect(await run('check')).toBe(1);
    expect(complaints).toContain('/coreos.com/network/config is of no use to vtepd: its backend is udp');
  });
});

test('an error that nobody expects is not hidden', async () => {
  registry.readConfig = () => Promise.reject(new TypeError('a defect'));
  await expect(run('get')).rejects.toThrow(TypeError);
  registry.readConfig = () => Promise.reject(new RegistryError('denied', 'etcd refuses us'));
  expect(await run('get')).toBe(1);
});
