/** vtepd-cni as a container runtime uses it, with Debian's bridge and host-local, in network namespaces. */
import { readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CNI_PLUGIN, CniHost, type CniResult } from '../support/cni-host';
import { exitOf } from '../support/lab/command';
import type { Namespace } from '../support/lab/namespace';
import { until } from '../support/lab/until';

const IPV4 = { NETWORK: '10.5.0.0/16', SUBNET: '10.5.72.1/24', MTU: '1450', IPMASQ: 'true' };
const DUAL_STACK = {
  ...IPV4,
  NETWORK: '10.5.0.0/16,10.6.0.0/16',
  IPV6_NETWORK: 'fd00:5::/48',
  IPV6_SUBNET: 'fd00:5:0:72::1/64',
  MTU: '1430',
};

let host: CniHost;
beforeEach(() => {
  host = new CniHost();
  host.writeSubnetFile(IPV4);
});
afterEach(() => host.end());

interface LinkRow {
  readonly ifname: string;
  readonly mtu: number;
}

interface RouteRow {
  readonly dst: string;
  readonly gateway?: string;
}

const routesOf = async (container: Namespace, family: '-4' | '-6') =>
  Object.fromEntries(
    (await container.ipJson<RouteRow>(family, 'route', 'show')).map(({ dst, gateway }) => [dst, gateway]),
  );

const pings = async (from: Namespace, address: string) =>
  (await from.attempt('ping', ['-c', '1', '-W', '10', address])).status === 0;

const addressesOf = ({ ips }: CniResult) => ips.map(({ address }) => address.split('/')[0]!);

test("a container gets an address of the host's subnet, the MTU, and a route to the network", async () => {
  const container = host.container();
  const result = await host.add(container);
  expect(result.cniVersion).toBe('1.0.0');
  expect(result.ips).toMatchObject([{ address: '10.5.72.2/24', gateway: '10.5.72.1' }]);

  const [eth0] = await container.ipJson<LinkRow>('link', 'show', 'eth0');
  expect(eth0!.mtu).toBe(1450);
  expect(await routesOf(container, '-4')).toEqual({
    default: '10.5.72.1',
    '10.5.0.0/16': '10.5.72.1',
    '10.5.72.0/24': undefined,
  });
  await host.check(container, result);
  expect(await pings(container, '10.5.72.1')).toBe(true);
});

test("two containers reach each other, and a gone one's address is free again", async () => {
  const [one, two] = [host.container(), host.container()];
  await host.add(one);
  const second = await host.add(two);
  expect(await pings(one, addressesOf(second)[0]!)).toBe(true);
  expect(host.saved).toHaveLength(2);
  expect(host.allocated).toEqual(['10.5.72.2', '10.5.72.3']);

  await host.remove(one);
  await host.remove(one);
  await host.remove(two, { conf: { prevResult: second }, environment: { CNI_NETNS: '' } });
  expect(host.allocated).toEqual([]);
  expect(host.saved).toEqual([]);
  expect(await one.ipJson<LinkRow>('link', 'show', 'type', 'veth')).toEqual([]);
});

test('with both families, containers have both addresses and reach each other by both', async () => {
  host.writeSubnetFile(DUAL_STACK);
  const [one, two] = [host.container(), host.container()];
  const first = await host.add(one);
  expect(first.ips.map(({ address }) => address)).toEqual(['10.5.72.2/24', 'fd00:5:0:72::2/64']);
  expect(await routesOf(one, '-4')).toMatchObject({ '10.5.0.0/16': '10.5.72.1', '10.6.0.0/16': '10.5.72.1' });
  expect(await routesOf(one, '-6')).toMatchObject({ 'fd00:5::/48': 'fd00:5:0:72::1' });
  await host.check(one, first);

  const second = await host.add(two);
  expect(await Promise.all(addressesOf(second).map((address) => pings(one, address)))).toEqual([true, true]);
  await host.remove(one);
  await host.remove(two);
  expect(host.allocated).toEqual([]);
});

test('with IPv6 alone, too', async () => {
  host.writeSubnetFile({ ...DUAL_STACK, NETWORK: '', SUBNET: '' });
  const container = host.container();
  const result = await host.add(container);
  expect(addressesOf(result)).toEqual(['fd00:5:0:72::2']);
  await host.check(container, result);
  await host.remove(container);
});

test('DEL replays what ADD did, whether the subnet has changed or subnet.env is gone', async () => {
  const [before, after] = [host.container(), host.container()];
  const first = await host.add(before);
  host.writeSubnetFile({ ...IPV4, SUBNET: '10.5.9.1/24' });
  expect(await host.fail('CHECK', before, { conf: { prevResult: first } })).toMatchObject({ code: 100 });
  // A bridge that still has the old subnet's address must not be given a second one behind its back.
  const other = { delegate: { bridge: 'cni1' } };
  expect(addressesOf(await host.add(after, { conf: other }))).toEqual(['10.5.9.2']);

  await host.remove(before);
  expect(host.allocated).toEqual(['10.5.9.2']);
  rmSync(host.subnetFile);
  await host.remove(after);
  expect(host.allocated).toEqual([]);
  expect(await host.fail('ADD', after)).toMatchObject({ code: 11 });
  expect(host.saved).toEqual([]);
});

test('CHECK finds a container that lost its address', async () => {
  const container = host.container();
  const result = await host.add(container);
  await container.ip('address', 'flush', 'dev', 'eth0');
  expect((await host.fail('CHECK', container, { conf: { prevResult: result } })).msg).toMatch(
    /^failed to delegate check: /,
  );
});

test("a delegate's refusal is the runtime's to read", async () => {
  const container = host.container();
  await host.add(container);
  const error = await host.fail('ADD', container);
  expect(error.msg).toMatch(/^failed to delegate add: .*(eth0|allocat)/);
  await host.remove(container);
});

test.each(['0.3.1', '0.4.0', '1.0.0'])(
  'a runtime that speaks version %s is answered in it',
  async (cniVersion) => {
    const container = host.container();
    const result = await host.add(container, { conf: { cniVersion } });
    expect(result.cniVersion).toBe(cniVersion);
    await host.remove(container, { conf: { cniVersion, prevResult: result } });
    expect(host.allocated).toEqual([]);
  },
);

describe.each([
  ['before the delegate does anything', ''],
  ['when the delegate has done everything', '/usr/lib/cni/bridge > /dev/null'],
])('killed %s', (_when, work) => {
  test('ADD leaves nothing that DEL does not clean up, and can be made again', async () => {
    const container = host.container();
    const note = join(host.directory, 'delegate.pid');
    const path = host.putDelegate(
      'bridge',
      `${work}\necho $$ > ${note}.new && mv ${note}.new ${note}\nexec sleep 60`,
    );
    const [program, ...args] = host.commandLine();
    const plugin = host.namespace.start(program!, args, {
      env: host.environment('ADD', container, { CNI_PATH: path }),
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    plugin.stdin!.end(host.conf());
    const delegate = await until('the delegate runs', () => Number(readFileSync(note, 'utf8')));
    plugin.kill('SIGKILL');
    await exitOf(plugin);
    process.kill(delegate, 'SIGKILL');
    expect(host.saved).toEqual([container.name]);

    await host.remove(container);
    expect(host.allocated).toEqual([]);
    expect(host.saved).toEqual([]);
    const result = await host.add(container);
    await host.check(container, result);
    await host.remove(container);
  });
});

test('the plugin loads one file of its own, and starts its delegate once', async () => {
  const container = host.container();
  const environment = { CNI_PATH: host.putDelegate('quick', `echo '{"cniVersion":"1.0.0"}'`) };
  const trace = join(host.directory, 'trace');
  const [program, ...args] = host.commandLine();
  const { status } = await host.namespace.attempt(
    'strace',
    ['-f', '-qq', '-o', trace, '-e', 'trace=openat,execve', '-e', 'signal=none', program!, ...args],
    {
      env: host.environment('ADD', container, environment),
      input: host.conf({ delegate: { type: 'quick' } }),
    },
  );
  expect(status).toBe(0);
  const calls = readFileSync(trace, 'utf8').split('\n');
  const opened = calls.flatMap(
    (line) => /openat\(\w+, "([^"]+\.(?:js|json|node))", .*= \d/.exec(line)?.[1] ?? [],
  );
  expect(opened.filter((path) => !path.startsWith(host.directory) && !path.endsWith('package.json'))).toEqual(
    [realpathSync(CNI_PLUGIN)],
  );
  expect(calls.filter((line) => /execve\("[^"]*\/quick".*= 0/.test(line))).toHaveLength(1);
});
