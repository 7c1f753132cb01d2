import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCommandLine } from '../../src/cli/command-line';
import type { ReadConfigFile } from '../../src/cli/config-file';
import { readConfigFile } from '../../src/cli/config-file-io';
import { configFileTemplate } from '../../src/cli/config-file-template';
import { keyOfOption, OPTIONS, OPTION_KEYS } from '../../src/cli/options';
import type { Options } from '../../src/cli/read-options';
import { UsageError } from '../../src/model/errors';
import { readRegularFile } from '../../src/regular-file';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

jest.mock('../../src/regular-file', () => {
  const actual =
    jest.requireActual<Record<'readRegularFile', typeof readRegularFile>>('../../src/regular-file');
  return { ...actual, readRegularFile: jest.fn(actual.readRegularFile) };
});

const CONF = '/etc/vtepd/vtepd.conf';

/** Files by path. */
function disk(files: Readonly<Record<string, string>>, isPublic = true): ReadConfigFile {
  return (path) => (Object.hasOwn(files, path) ? { text: files[path]!, isPublic } : undefined);
}

function optionsOf(argv: readonly string[], env: NodeJS.ProcessEnv, read: ReadConfigFile): Options {
  const command = parseCommandLine(argv, env, read);
  if (!('options' in command)) throw new Error(`it is ${command.kind}`);
  return command.options;
}

const optionsIn = (text: string) => optionsOf([], {}, disk({ [CONF]: text }));

function complaintAbout(text: string): string {
  try {
    optionsIn(text);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return 'no complaint';
}

describe('vtepd.conf', () => {
  test('sets options by the names that the flags have', () => {
    const options = optionsIn(`
      # where etcd is
      etcd-endpoints=http://10.0.0.1:2379,http://10.0.0.2:2379
      etcd-prefix = /lab
      ip-masq=true
      v=2
    `);
    expect(options).toMatchObject({
      etcdEndpoints: ['http://10.0.0.1:2379', 'http://10.0.0.2:2379'],
      etcdPrefix: '/lab',
      ipMasq: true,
      verbosity: 2,
    });
    expect([...options.explicit]).toEqual(['etcdEndpoints', 'etcdPrefix', 'ipMasq', 'verbosity']);
  });

  test('repeats the name of an option with several values', () => {
    expect(optionsIn('iface=eth1\niface-regex=^a=b#\niface=10.0.0.1\n')).toMatchObject({
      iface: ['eth1', '10.0.0.1'],
      ifaceRegex: ['^a=b#'],
    });
  });

  test('is read whatever ends its lines, and whatever an editor put before them', () => {
    expect(optionsIn('\uFEFFiface=eth1\r\n\r\nv=1')).toMatchObject({ iface: ['eth1'], verbosity: 1 });
  });

  test('may have a value in quotes', () => {
    expect(
      optionsIn(`etcd-username=u\netcd-password=" it's = #1 "\niface='eth1'\nstate-file=""`),
    ).toMatchObject({ etcdPassword: " it's = #1 ", iface: ['eth1'], stateFile: undefined });
  });

  test('may have a line of any length: a megabyte of blanks takes no longer than one of letters', () => {
    const long = `x${' '.repeat(1_000_000)}y`;
    expect(complaintAbout(long)).toMatch(/^\/etc\/vtepd\/vtepd\.conf, line 1: there is no option 'x *…'; /);
    expect(complaintAbout(long).length).toBeLessThan(300);
    expect(optionsIn(`etcd-prefix=/a${' '.repeat(1_000_000)}b`).etcdPrefix).toHaveLength(1_000_003);
  });

  test('never repeats a password, also where its = was forgotten', () => {
    for (const line of ['etcd-password hunter2', 'etcd-password\thunter2', 'etcd-password: hunter2'])
      expect(complaintAbout(line)).not.toContain('hunter2');
    expect(complaintAbout('etcd-password hunter2')).toBe(
      "/etc/vtepd/vtepd.conf, line 1: etcd-password has no '=' before its value; write etcd-password=TEXT",
    );
  });

  test('may be empty, and need not be there', () => {
    expect([...optionsIn('').explicit]).toEqual([]);
    expect([...optionsOf([], {}, () => undefined).explicit]).toEqual([]);
  });

  test('is below the variables, which are below the command line', () => {
    const read = disk({ [CONF]: 'iface=eth1\niface=eth2\nv=1\nresolve=on-demand\nidle-timeout=7' });
    const env = { FLANNELD_IFACE: 'eth3', FLANNELD_V: '2', FLANNELD_RESOLVE: '' };
    expect(optionsOf(['-v=3'], env, read)).toMatchObject({
      verbosity: 3,
      iface: ['eth3'],
      resolve: 'on-demand',
      idleTimeoutSeconds: 7,
    });
  });

  test('serves every command', () => {
    const read = disk({ [CONF]: 'etcd-prefix=/lab' });
    for (const argv of [['leave'], ['cleanup'], ['config', 'get']])
      expect(optionsOf(argv, {}, read)).toMatchObject({ etcdPrefix: '/lab' });
  });

  test.each([
    ['iface=eth0\nhealthz-port=x', 'line 2: healthz-port must be a whole number, from 0 to 65535'],
    ['resolve=lazy', "line 1: resolve must be preload or on-demand, not 'lazy'"],
    ['ip-masq=yes', "line 1: ip-masq must be true or false, not 'yes'"],
    ['etcd-endpoint=http://a:1', 'line 1: etcd-endpoint was renamed by flannel 0.2: use --etcd-endpoints'],
    ['ifcae=eth0', "line 1: there is no option 'ifcae'; did you mean iface?"],
    ['--iface=eth0', "line 1: there is no option '--iface'; names have no dashes here: iface"],
    ['FLANNELD_IFACE=eth0', "line 1: there is no option 'FLANNELD_IFACE'; that variable is iface here"],
    ['[etcd]', "line 1: there is no option '[etcd]'; a line is name=value, or a comment"],
    ['=x', "line 1: there is no option ''; a line is name=value"],
    ['\n\nip-masq', 'line 3: ip-masq has no value; write ip-masq=true or ip-masq=false'],
    ['iface eth0', "line 1: there is no option 'iface eth0'; write iface=eth0"],
    ['iface', 'line 1: iface has no value; write iface=NAME|IP'],
    ['v=1\nv=2', 'line 2: v was set in line 1 already; only iface and iface-regex may be repeated'],
    ['config-file=/x', 'line 1: config-file cannot stand in the file itself'],
    ['kube-subnet-mgr=true', 'line 1: kube-subnet-mgr is for flannel on Kubernetes'],
    ['iface="eth0', 'line 1: the value begins with " and does not end with it'],
    ['constructor=1', "line 1: there is no option 'constructor'"],
  ])('%j is refused with file, line and what is allowed', (text, complaint) => {
    expect(complaintAbout(text)).toContain(`${CONF}, ${complaint}`);
  });

  test('that asks for nothing of Kubernetes is fine', () => {
    expect(complaintAbout('kube-subnet-mgr=false')).toBe('no complaint');
  });

  test('never has its password shown', () => {
    const options = optionsOf([], {}, disk({ [CONF]: 'etcd-username=u\netcd-password=geheim' }, false));
    expect(options.notices).toEqual([]);
    expect(complaintAbout('etcd-password="geheim')).not.toContain('geheim');
    expect(complaintAbout('etcd-endpoints=http://u:geheim@a:1')).not.toContain('geheim');
  });

  test('with a password that everybody can read is worth a notice', () => {
    expect(optionsIn('etcd-username=u\netcd-password=p').notices).toEqual([
      `every user of this host can read the password in ${CONF}: chgrp vtepd ${CONF}; chmod 640 ${CONF}`,
    ]);
  });
});

describe('--config-file', () => {
  const read = disk({ [CONF]: 'v=1', '/my.conf': 'v=2' });

  test('names another file, by variable or flag', () => {
    expect(optionsOf([], { FLANNELD_CONFIG_FILE: '/my.conf' }, read).verbosity).toBe(2);
    expect(optionsOf(['--config-file=/my.conf'], {}, read).verbosity).toBe(2);
    expect(optionsOf(['--config-file', CONF], { FLANNELD_CONFIG_FILE: '/my.conf' }, read).verbosity).toBe(1);
  });

  test('that is empty reads none', () => {
    expect(optionsOf(['--config-file='], {}, read).verbosity).toBe(0);
  });

  test('must be there', () => {
    expect(() => optionsOf(['--config-file=/none'], {}, read)).toThrow(
      new UsageError('--config-file: there is no file /none'),
    );
    expect(() => optionsOf([], { FLANNELD_CONFIG_FILE: '/none' }, read)).toThrow(
      new UsageError('FLANNELD_CONFIG_FILE: there is no file /none'),
    );
  });
});

describe('on the disk', () => {
  afterAll(removeTemporaryDirectories);

  test('it is read, with who may read it', () => {
    const path = join(temporaryDirectory(), 'vtepd.conf');
    writeFileSync(path, 'v=1\n');
    chmodSync(path, 0o644);
    expect(readConfigFile(path)).toEqual({ text: 'v=1\n', isPublic: true });
    chmodSync(path, 0o640);
    expect(readConfigFile(path)).toEqual({ text: 'v=1\n', isPublic: false });
  });

  test('it may be missing, with or without its directory', () => {
    const directory = temporaryDirectory();
    expect(readConfigFile(join(directory, 'vtepd.conf'))).toBeUndefined();
    expect(readConfigFile(join(directory, 'none/vtepd.conf'))).toBeUndefined();
  });

  test('of one that this user may not read it says how the service may', () => {
    const path = join(temporaryDirectory(), 'vtepd.conf');
    const denied = Object.assign(new Error('denied'), { code: 'EACCES' });
    jest.mocked(readRegularFile).mockImplementationOnce(() => {
      throw denied;
    });
    expect(() => readConfigFile(path)).toThrow(
      `cannot read ${path}: this user may not. So that the service may: chgrp vtepd ${path}; chmod 640 ${path}. By hand: `,
    );
  });

  test('a directory in its place is said to be one', () => {
    const path = join(temporaryDirectory(), 'vtepd.conf');
    mkdirSync(path);
    expect(() => readConfigFile(path)).toThrow(new UsageError(`cannot read ${path}: it is a directory`));
  });
});

test('the file that the Debian package installs, that of v0.1.0, names options that there are', () => {
  const text = readFileSync(join(__dirname, '../../scripts/package.d/vtepd.conf'), 'utf8');
  const names = [...text.matchAll(/^#([^ =]+)=/gm)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(30);
  for (const name of names) expect(keyOfOption(name)).toBeDefined();
  expect([...optionsIn(text).explicit]).toEqual([]);
});

describe('the file that shows all options', () => {
  const template = configFileTemplate();

  test('sets nothing', () => {
    expect([...optionsIn(template).explicit]).toEqual([]);
  });

  test('shows every option but the one that names the file', () => {
    for (const key of OPTION_KEYS.filter((each) => each !== 'configFile'))
      expect(template).toMatch(new RegExp(`^#${OPTIONS[key].name}=`, 'm'));
    expect(template).not.toContain('#config-file');
  });

  test('sets what it shows, once a # is taken away, wherever it shows a default', () => {
    for (const key of OPTION_KEYS) {
      const { name, fallback } = OPTIONS[key];
      if (fallback === undefined || key === 'configFile') continue;
      const options = optionsIn(template.replace(`\n#${name}=`, `\n${name}=`));
      expect([...options.explicit]).toEqual([key]);
      expect(options[key]).toEqual(optionsIn('')[key]);
    }
  });

  test('fits a line of 100 columns, but for defaults', () => {
    expect(template.split('\n').filter((line) => line.length > 100 && line.startsWith('# '))).toEqual([]);
  });
});
