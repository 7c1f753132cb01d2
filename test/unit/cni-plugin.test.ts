import { builtinModules } from 'node:module';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { answer, type Answer } from '../../src/cni/plugin';

const SUBNET_ENV =
  'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
const RESULT = '{"cniVersion":"1.0.0","ips":[{"address":"10.5.72.2/24"}]}';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vtepd-cni-'));
  mkdirSync(at('bin'));
  writeFileSync(at('subnet.env'), SUBNET_ENV);
  delegateAnswers(RESULT);
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (path: string) => join(directory, path);
const dataDir = () => at('data');
const savedFiles = () => (existsSync(dataDir()) ? readdirSync(dataDir()) : []);
const saved = (file = 'c1') =>
  JSON.parse(readFileSync(join(dataDir(), file), 'utf8')) as Record<string, unknown>;

/** Installs a delegate: a program that notes how it was called, prints this and ends like that. */
function delegateAnswers(output: string, status = 0, name = 'bridge'): void {
  const calls = at('calls');
  const script = `#!/bin/sh
{ echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS"; cat; echo; } >> '${calls}'
printf %s '${output}'
exit ${status}
`;
  writeFileSync(at(`bin/${name}`), script, { mode: 0o755 });
}

interface Call {
  readonly request: string;
  readonly config: Record<string, unknown>;
}

/** How delegates were called since the last look. */
function calls(): Call[] {
  if (!existsSync(at('calls'))) return [];
  const lines = readFileSync(at('calls'), 'utf8').trimEnd().split('\n');
  rmSync(at('calls'));
  return lines.flatMap((line, index) =>
    index % 2 === 0
      ? [{ request: line, config: JSON.parse(lines[index + 1]!) as Record<string, unknown> }]
      : [],
  );
}

function request(command: string, conf: object = {}, environment: NodeJS.ProcessEnv = {}): Answer {
  return answer(
    {
      PATH: process.env['PATH'],
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: '/run/netns/c1',
      CNI_IFNAME: 'eth0',
      CNI_PATH: `${at('empty')}:${at('bin')}`,
      ...environment,
    },
    () =>
      JSON.stringify({
        cniVersion: '1.0.0',
        name: 'net',
        type: 'flannel',
        subnetFile: at('subnet.env'),
        dataDir: dataDir(),
        ...conf,
      }),
  );
}

function errorOf({ output, exitCode }: Answer): Record<string, unknown> {
  expect(exitCode).toBe(1);
  return JSON.parse(output) as Record<string, unknown>;
}

const SUCCESS = { output: '', remark: '', exitCode: 0 };

describe('ADD', () => {
  test('tells bridge and host-local what subnet.env says, and answers what they answer', () => {
    const { output, exitCode } = request('ADD', {}, { CNI_ARGS: 'A=1;B=2' });
    expect({ output, exitCode }).toEqual({ output: RESULT, exitCode: 0 });
    expect(calls()).toEqual([
      {
        request: 'ADD c1 eth0 /run/netns/c1 A=1;B=2',
        config: {
          cniVersion: '1.0.0',
          name: 'net',
          type: 'bridge',
          ipMasq: false,
          mtu: 1450,
          isGateway: true,
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: '10.5.72.0/24' }]],
            routes: [{ dst: '10.5.0.0/16' }],
          },
        },
      },
    ]);
  });

  test('gives an address of each family, and a route to each network', () => {
    writeFileSync(
      at('subnet.env'),
      'FLANNEL_NETWORK=10.5.0.0/16,10.6.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_IPV6_NETWORK=fd00::/48\n' +
        'FLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n',
    );
    request('ADD');
    expect(calls()[0]!.config).toMatchObject({
      mtu: 1430,
      ipMasq: true,
      ipam: {
        ranges: [[{ subnet: '10.5.72.0/24' }], [{ subnet: 'fd00:0:0:7::/64' }]],
        routes: [{ dst: '10.5.0.0/16' }, { dst: '10.6.0.0/16' }, { dst: 'fd00::/48' }],
      },
    });
  });

  test('lets the user have the last word in delegate and ipam, and passes runtimeConfig on', () => {
    delegateAnswers(RESULT, 0, 'ptp');
    request('ADD', {
      delegate: { type: 'ptp', mtu: 1400, ipMasq: true, hairpinMode: true },
      ipam: {
        type: 'other',
        dataDir: '/tmp/x',
        routes: [{ dst: '0.0.0.0/0', gw: '10.5.72.1' }],
        ranges: 'ours',
      },
      runtimeConfig: { portMappings: [{ hostPort: 80 }] },
    });
    expect(calls()[0]!.config).toEqual({
      cniVersion: '1.0.0',
      name: 'net',
      type: 'ptp',
      mtu: 1400,
      ipMasq: true,
      hairpinMode: true,
      runtimeConfig: { portMappings: [{ hostPort: 80 }] },
      ipam: {
        type: 'other',
        dataDir: '/tmp/x',
        ranges: [[{ subnet: '10.5.72.0/24' }]],
        routes: [{ dst: '0.0.0.0/0', gw: '10.5.72.1' }, { dst: '10.5.0.0/16' }],
      },
    });
  });

  test('gives the delegate no version if it got none', () => {
    request('ADD', { cniVersion: undefined });
    expect(calls()[0]!.config).not.toHaveProperty('cniVersion');
  });

  test('saves what it told, for root alone, even if the delegate then fails', () => {
    const mask = process.umask(0);
    try {
      delegateAnswers('', 1);
      expect(request('ADD').exitCode).toBe(1);
    } finally {
      process.umask(mask);
    }
    expect(saved()).toEqual(calls()[0]!.config);
    expect(savedFiles()).toEqual(['c1']);
    expect(statSync(dataDir()).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir(), 'c1')).mode & 0o777).toBe(0o600);
  });

  test('replaces what an ADD that was killed left', () => {
    mkdirSync(dataDir());
    writeFileSync(join(dataDir(), '.c1'), '{"name":"n', { mode: 0o644 });
    request('ADD');
    expect(savedFiles()).toEqual(['c1']);
    expect(statSync(join(dataDir(), 'c1')).mode & 0o777).toBe(0o600);
  });

  test('forgets what a delegate refused for its version: its DEL would be refused for ever', () => {
    delegateAnswers('{"cniVersion":"1.0.0","code":1,"msg":"incompatible CNI versions"}', 1);
    expect(errorOf(request('ADD'))).toMatchObject({ code: 1 });
    expect(savedFiles()).toEqual([]);
    expect(request('DEL')).toMatchObject({ exitCode: 0, output: '' });
  });

  test('a DEL that the delegate refuses for its version ends, and says that nothing was there', () => {
    request('ADD');
    delegateAnswers('{"cniVersion":"1.0.0","code":1,"msg":"incompatible CNI versions"}', 1);
    expect(request('DEL')).toMatchObject({
      exitCode: 0,
      remark: expect.stringContaining('incompatible CNI versions') as string,
    });
    expect(savedFiles()).toEqual([]);
  });

  test("answers the delegate's error with its code", () => {
    delegateAnswers(
      '{"cniVersion":"1.0.0","code":7,"msg":"no more addresses","details":"in 10.5.72.0/24"}',
      1,
    );
    expect(errorOf(request('ADD'))).toEqual({
      cniVersion: '1.0.0',
      code: 7,
      msg: 'failed to delegate add: no more addresses',
      details: 'in 10.5.72.0/24',
    });
  });

  test('says so when the delegate fails without a reason, or answers nonsense', () => {
    delegateAnswers('panic', 2);
    expect(errorOf(request('ADD'))).toEqual({
      cniVersion: '1.0.0',
      code: 101,
      msg: 'failed to delegate add: bridge ended with status 2 and gave no reason',
      details: 'panic',
    });
    delegateAnswers('panic', 0);
    expect(errorOf(request('ADD'))).toMatchObject({ code: 6 });
  });

  test('asks the runtime to come back when there is no subnet.env yet', () => {
    rmSync(at('subnet.env'));
    expect(errorOf(request('ADD'))).toMatchObject({
      code: 11,
      msg: `open ${at('subnet.env')}: no such file or directory`,
      details: expect.stringContaining('vtepd') as string,
    });
    expect(calls()).toEqual([]);
    expect(savedFiles()).toEqual([]);
  });

  test.each([
    [
      { delegate: { name: 'x' } },
      7,
      "'delegate' dictionary must not have 'name' field, it'll be set by flannel",
    ],
    [
      { delegate: { ipam: {} } },
      7,
      "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel",
    ],
    [{ delegate: { type: 1 } }, 7, "'delegate' dictionary, if present, must have (string) 'type' field"],
    [{ delegate: { type: '../bridge' } }, 7, 'invalid delegate type: "../bridge"'],
    [{ delegate: { type: '..' } }, 7, 'invalid delegate type: ".."'],
    [{ delegate: [] }, 6, 'failed to load netconf: delegate must be an object'],
    [{ ipam: { routes: {} } }, 7, 'ipam.routes must be a list'],
    [{ ipam: 'host-local' }, 6, 'failed to load netconf: ipam must be an object'],
    [{ name: undefined }, 7, 'missing network name'],
    [{ name: '../x' }, 7, 'invalid characters found in network name'],
    [{ dataDir: 'data' }, 7, 'dataDir must be an absolute path, not "data"'],
    [{ subnetFile: 5 }, 6, 'failed to load netconf: subnetFile must be text'],
  ])('refuses %j', (conf, code, msg) => {
    expect(errorOf(request('ADD', conf))).toMatchObject({ cniVersion: '1.0.0', code, msg });
    expect(calls()).toEqual([]);
    expect(savedFiles()).toEqual([]);
  });

  test('names the delegate that it does not find, and where it looked', () => {
    expect(errorOf(request('ADD', { delegate: { type: 'absent' } }))).toMatchObject({
      code: 7,
      msg: `failed to delegate add: failed to find plugin "absent" in path [${at('empty')} ${at('bin')}]`,
    });
  });
});

describe('DEL', () => {
  test('tells the delegate what ADD told it, though everything has changed', () => {
    request('ADD', { runtimeConfig: { mac: 'x' } });
    const [{ config }] = calls() as [Call];
    rmSync(at('subnet.env'));
    const conf = { delegate: { name: 'wrong', type: 'ptp' }, ipam: { type: 'other' } };
    expect(request('DEL', conf, { CNI_NETNS: '' })).toEqual(SUCCESS);
    expect(calls()).toEqual([{ request: 'DEL c1 eth0  ', config }]);
    expect(savedFiles()).toEqual([]);
  });

  test('adds the result of ADD, if it is of the same version', () => {
    const prevResult = JSON.parse(RESULT) as object;
    request('ADD');
    request('DEL', { prevResult });
    request('ADD');
    request('DEL', { prevResult, cniVersion: '0.4.0' });
    expect(calls().map(({ config }) => config['prevResult'])).toEqual([
      undefined,
      prevResult,
      undefined,
      undefined,
    ]);
  });

  test('of a container that is not there, or not there any more, succeeds', () => {
    expect(request('DEL')).toEqual(SUCCESS);
    request('ADD');
    expect([request('DEL'), request('DEL')]).toEqual([SUCCESS, SUCCESS]);
    expect(calls().map((call) => call.request.slice(0, 3))).toEqual(['ADD', 'DEL']);
  });

  test('can be repeated after the delegate failed', () => {
    request('ADD');
    delegateAnswers('{"code":11,"msg":"busy"}', 1);
    expect(errorOf(request('DEL'))).toMatchObject({ code: 11, msg: 'failed to delegate del: busy' });
    expect(savedFiles()).toEqual(['c1']);
    delegateAnswers('');
    expect(request('DEL')).toEqual(SUCCESS);
    expect(savedFiles()).toEqual([]);
  });

  test('cleans up what a killed ADD left', () => {
    mkdirSync(dataDir());
    writeFileSync(join(dataDir(), '.c1'), '{"name":"n');
    expect(request('DEL')).toEqual(SUCCESS);
    expect(savedFiles()).toEqual([]);
  });

  test("replays what flannel's plugin saved", () => {
    mkdirSync(dataDir());
    const config = { cniVersion: '1.0.0', name: 'net', type: 'bridge', ipam: { type: 'host-local' } };
    writeFileSync(join(dataDir(), 'c1'), JSON.stringify(config));
    expect(request('DEL')).toEqual(SUCCESS);
    expect(calls()[0]!.config).toEqual(config);
  });

  test('does not stand in the way of a container whose file is damaged', () => {
    mkdirSync(dataDir());
    writeFileSync(join(dataDir(), 'c1'), '{"name":"n');
    expect(request('DEL')).toMatchObject({
      output: '',
      exitCode: 0,
      remark: expect.stringContaining('c1') as string,
    });
    expect(calls()).toEqual([]);
  });

  test('never runs a program outside of CNI_PATH, whatever the file says', () => {
    mkdirSync(dataDir());
    writeFileSync(join(dataDir(), 'c1'), '{"name":"net","type":"../bin/bridge"}');
    expect(errorOf(request('DEL'))).toMatchObject({ code: 7 });
    expect(calls()).toEqual([]);
  });

  test("of one network leaves the container's other networks alone", () => {
    request('ADD', { name: 'one' });
    request('ADD', { name: 'two' }, { CNI_IFNAME: 'eth1' });
    expect(savedFiles().sort()).toEqual(['c1', 'c1@two']);
    expect(saved('c1@two')['name']).toBe('two');
    for (const name of ['two', 'two', 'three']) expect(request('DEL', { name })).toEqual(SUCCESS);
    expect(savedFiles()).toEqual(['c1']);
    expect(request('DEL', { name: 'one' })).toEqual(SUCCESS);
    expect(
      calls().map(({ request: line, config }) => `${line.slice(0, 3)} ${String(config['name'])}`),
    ).toEqual(['ADD one', 'ADD two', 'DEL two', 'DEL one']);
    expect(savedFiles()).toEqual([]);
  });
});

describe('CHECK', () => {
  const prevResult = JSON.parse(RESULT) as object;

  test('asks the delegate, with the result of ADD', () => {
    request('ADD');
    const [{ config }] = calls() as [Call];
    delegateAnswers('');
    expect(request('CHECK', { prevResult })).toEqual(SUCCESS);
    expect(calls()).toEqual([{ request: 'CHECK c1 eth0 /run/netns/c1 ', config: { ...config, prevResult } }]);
    expect(savedFiles()).toEqual(['c1']);
  });

  test('names the gateway of every route, which the delegate took from the address', () => {
    request('ADD');
    delegateAnswers('');
    const ips = [
      { address: '10.5.72.2/24', gateway: '10.5.72.1' },
      { address: 'fd00::2/64', gateway: 'fd00::1' },
    ];
    const routes = [
      { dst: '10.5.0.0/16' },
      { dst: 'fd00::/48', mtu: 1400 },
      { dst: '0.0.0.0/0', gw: '10.5.72.9' },
    ];
    request('CHECK', { prevResult: { ...prevResult, ips, routes } });
    expect(calls()[1]!.config['prevResult']).toEqual({
      ...prevResult,
      ips,
      routes: [
        { dst: '10.5.0.0/16', gw: '10.5.72.1' },
        { dst: 'fd00::/48', mtu: 1400, gw: 'fd00::1' },
        { dst: '0.0.0.0/0', gw: '10.5.72.9' },
      ],
    });
  });

  test("passes the delegate's complaint on", () => {
    request('ADD');
    delegateAnswers('{"code":999,"msg":"eth0 is gone"}', 1);
    expect(errorOf(request('CHECK', { prevResult }))).toMatchObject({
      code: 999,
      msg: 'failed to delegate check: eth0 is gone',
    });
  });

  test("fails for a container whose subnet is not this host's any more, but not while subnet.env is away", () => {
    request('ADD');
    writeFileSync(at('subnet.env'), SUBNET_ENV.replace('10.5.72.1', '10.5.9.1'));
    expect(errorOf(request('CHECK', { prevResult }))).toMatchObject({
      code: 100,
      msg: "the container's subnet 10.5.72.0/24 is not this host's any more, which is 10.5.9.0/24",
    });
    rmSync(at('subnet.env'));
    expect(request('CHECK', { prevResult }).exitCode).toBe(0);
  });

  test('needs a container that was added, the result of that, and a version that has it', () => {
    expect(errorOf(request('CHECK', { prevResult }))).toMatchObject({ code: 3 });
    expect(errorOf(request('CHECK'))).toMatchObject({ code: 7, msg: 'required prevResult missing' });
    expect(errorOf(request('CHECK', { prevResult, cniVersion: '0.3.1' }))).toMatchObject({
      cniVersion: '0.3.1',
      code: 1,
      msg: 'config version does not allow CHECK',
    });
  });
});

describe('STATUS', () => {
  test('is good if there is a subnet and the delegate has nothing against it', () => {
    delegateAnswers('');
    expect(request('STATUS', { cniVersion: '1.1.0' }, { CNI_CONTAINERID: '' })).toEqual(SUCCESS);
    delegateAnswers('{"code":51,"msg":"limited"}', 1);
    expect(errorOf(request('STATUS', { cniVersion: '1.1.0' }))).toMatchObject({ code: 51 });
  });

  test('is "not available" while there is no subnet.env', () => {
    rmSync(at('subnet.env'));
    expect(errorOf(request('STATUS', { cniVersion: '1.1.0' }))).toMatchObject({
      cniVersion: '1.1.0',
      code: 50,
    });
  });

  test('came with version 1.1.0', () => {
    expect(errorOf(request('STATUS'))).toMatchObject({ code: 1 });
  });
});

describe('GC', () => {
  const gc = (conf: object) => request('GC', { cniVersion: '1.1.0', ...conf }, { CNI_CONTAINERID: '' });
  const valid = [{ containerID: 'c2', ifname: 'eth0' }];

  test('has the delegate collect, then forgets the containers of this network that are gone', () => {
    for (const id of ['c1', 'c2', 'c3']) request('ADD', {}, { CNI_CONTAINERID: id });
    request('ADD', { name: 'other' }, { CNI_CONTAINERID: 'c4' });
    calls();
    delegateAnswers('');
    expect(gc({ 'cni.dev/valid-attachments': valid })).toEqual(SUCCESS);
    expect(calls()).toMatchObject([{ config: { type: 'bridge', 'cni.dev/valid-attachments': valid } }]);
    expect(savedFiles().sort()).toEqual(['c2', 'c4']);
  });

  test('forgets nothing if the delegate could not collect', () => {
    request('ADD');
    delegateAnswers('', 1);
    expect(errorOf(gc({ 'cni.dev/valid-attachments': valid }))).toMatchObject({ code: 101 });
    expect(savedFiles()).toEqual(['c1']);
  });

  test('needs no subnet.env, and with nothing saved there is nothing to do', () => {
    request('ADD');
    rmSync(at('subnet.env'));
    delegateAnswers('');
    expect(gc({})).toEqual(SUCCESS);
    expect(calls().map((call) => call.request.slice(0, 2))).toEqual(['AD', 'GC']);
    expect(gc({})).toEqual(SUCCESS);
    expect(calls()).toEqual([]);
  });
});

describe('a request', () => {
  test('for the VERSION is answered in the version asked in', () => {
    const supportedVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];
    expect(JSON.parse(request('VERSION', { cniVersion: '0.4.0' }).output)).toEqual({
      cniVersion: '0.4.0',
      supportedVersions,
    });
    const { output } = answer({ CNI_COMMAND: 'VERSION' }, () => '');
    expect(JSON.parse(output)).toEqual({ cniVersion: '1.1.0', supportedVersions });
  });

  test('in a version that we do not speak is refused', () => {
    expect(errorOf(request('ADD', { cniVersion: '2.0.0' }))).toMatchObject({
      cniVersion: '1.1.0',
      code: 1,
      msg: 'incompatible CNI versions',
      details: expect.stringContaining('"2.0.0"') as string,
    });
  });

  test.each([
    [{ CNI_COMMAND: 'UPDATE' }, 'unknown CNI_COMMAND: UPDATE'],
    [{ CNI_COMMAND: 'constructor' }, 'unknown CNI_COMMAND: constructor'],
    [{ CNI_NETNS: '', CNI_PATH: '' }, 'required env variables [CNI_NETNS,CNI_PATH] missing'],
    [{ CNI_CONTAINERID: '' }, 'required env variables [CNI_CONTAINERID] missing'],
    [{ CNI_CONTAINERID: '../../etc/cron.d/x' }, 'invalid characters in containerID'],
    [{ CNI_CONTAINERID: '..' }, 'invalid characters in containerID'],
    [{ CNI_CONTAINERID: '.c1' }, 'invalid characters in containerID'],
    [{ CNI_CONTAINERID: 'c1@net' }, 'invalid characters in containerID'],
    [{ CNI_CONTAINERID: 'c1\n' }, 'invalid characters in containerID'],
    [{ CNI_CONTAINERID: 'c'.repeat(121) }, 'invalid characters in containerID'],
    [{ CNI_IFNAME: 'a/b' }, 'invalid interface name'],
    [{ CNI_IFNAME: '..' }, 'invalid interface name'],
    [{ CNI_IFNAME: 'sixteen-letters-' }, 'invalid interface name'],
  ])('with %j is refused', (environment, msg) => {
    for (const command of ['ADD', 'DEL']) {
      // DEL works without a network namespace.
      if (command === 'DEL' && 'CNI_NETNS' in environment) continue;
      expect(errorOf(request(command, {}, environment))).toMatchObject({ code: 4, msg });
    }
    expect(calls()).toEqual([]);
  });

  test('that is no JSON is refused', () => {
    const environment = {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'c',
      CNI_NETNS: 'n',
      CNI_IFNAME: 'i',
      CNI_PATH: 'p',
    };
    for (const input of ['', '{', '[]', 'null']) {
      expect(errorOf(answer(environment, () => input))).toMatchObject({ cniVersion: '1.1.0', code: 6 });
    }
  });

  test('by a person, without CNI_COMMAND, is told what this is', () => {
    const { output, remark, exitCode } = answer({}, () => '');
    expect({ output, exitCode }).toEqual({ output: '', exitCode: 0 });
    expect(remark).toContain('CNI protocol versions supported: 0.1.0, ');
  });
});

test('a longest container ID with a longest network name still names a file', () => {
  const name = 'n'.repeat(120);
  const environment = { CNI_CONTAINERID: 'c'.repeat(120) };
  for (const each of ['one', name]) expect(request('ADD', { name: each }, environment).exitCode).toBe(0);
  for (const each of ['one', name]) expect(request('DEL', { name: each }, environment)).toEqual(SUCCESS);
  expect(savedFiles()).toEqual([]);
});

test('the program loads nothing but Node, itself and two small modules without a package', () => {
  const src = resolve(__dirname, '../../src');
  const seen = new Set<string>();
  const foreign = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, isType, name] of text.matchAll(/^(?:import|export) (type )?[^;]*?from '([^']+)';/gms)) {
      if (isType) continue;
      if (name!.startsWith('.')) visit(`${resolve(dirname(file), name!)}.ts`);
      else if (!builtinModules.includes(name!.replace('node:', ''))) foreign.add(name!);
    }
  };
  visit(join(src, 'cni/main.ts'));
  expect([...foreign]).toEqual([]);
  const outside = [...seen].filter((file) => !file.startsWith(join(src, 'cni/')));
  expect(outside).toEqual([join(src, 'regular-file.ts'), join(src, 'model/dotenv.ts')]);
});
