/** What others set before our routes: named in the log and in status, left alone, and forgotten when it is gone. */
import type { ProcessStatus } from '../../src/model/status';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { ping } from '../support/lab/ping';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;
let peer: Host;

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2 });
  await lab.startAgents();
  [host, peer] = [lab.host(1), lab.host(2)];
  for (const each of lab.hosts) await each.attachContainer();
  await until('they know each other', async () => (await reached()) === 1);
});

afterAll(() => lab?.end());

const ip = (...words: string[]) => host.namespace.ip(...words.join(' ').split(' '));
const reached = async () => (await ping(host.namespace, [peer.vtepAddress])).size;

async function check(name: string) {
  const { stdout } = await host.agent.command('status', '--json');
  const { checks, isReady } = JSON.parse(stdout) as ProcessStatus;
  return { ...checks.find((each) => each.name === name)!, isReady };
}

/** In status, and in the log. */
async function named(pattern: RegExp, name = 'routes to peers'): Promise<string> {
  const { reason, isReady } = await until(`'${name}' says ${pattern}`, async () => {
    const found = await check(name);
    return found.reason !== undefined && pattern.test(found.reason) ? found : undefined;
  });
  expect(isReady).toBe(true);
  await host.agent.logged(({ level, error }) => level === 'warn' && pattern.test(String(error)));
  return reason!;
}

const isOver = (name = 'routes to peers') =>
  until(`'${name}' is well again`, async () => (await check(name)).ok);

test('a route of the same subnet', async () => {
  const words = `${peer.subnet} via ${peer.publicIp} dev eth0`;
  await ip('route add', words);
  const reason = await named(new RegExp(`packets for peer ${peer.subnet} .* the route '${words}'`));
  expect(reason).toContain(`ip route del ${words}`);
  expect(await ip('route show proto boot')).toContain(`${peer.subnet} via ${peer.publicIp}`);
  await ip('route del', words);
  await isOver();
  await until('packets go by the overlay again', async () => (await reached()) === 1);
  await host.agent.logged(({ message }) => message === 'packets for all peers go by our routes again');
});

test('a black hole for a part of it, and a prohibition', async () => {
  const part = peer.subnet.replace('.0/24', '.128/25');
  await ip('route add blackhole', part);
  await named(new RegExp(`they end at the route 'blackhole ${part}'`));
  await ip('route replace prohibit', part);
  await named(new RegExp(`they end at the route 'prohibit ${part}'`));
  await ip('route del prohibit', part);
  await isOver();
});

test('a rule to another table, and one for containers alone', async () => {
  await ip('route add default via 172.30.255.1 table 77 onlink dev eth0');
  await ip('rule add to 10.5.0.0/16 lookup 77 pref 1000');
  await named(/because of the rule '1000: from all to 10\.5\.0\.0\/16 lookup 77'; .* ip rule del pref 1000/);
  await ip('rule del pref 1000');
  await isOver();
  await ip('rule add iif docker0 lookup 77 pref 1001');
  await named(/^packets of containers behind docker0 for peer .* '1001: from all iif docker0 lookup 77'/);
  await ip('rule del pref 1001');
  await ip('route flush table 77');
  await isOver();
});

test('rules that pass over our routes, and rules for one container or for what comes from one peer', async () => {
  await ip('rule add pref 1000 to', peer.subnet, 'goto 32767');
  await named(/the rule '1000: from all to \S+ goto 32767' passes over ours; .* ip rule del pref 1000/);
  await ip('rule del pref 1000');
  await isOver();
  await ip('rule add pref 32765 lookup main suppress_prefixlength 24');
  await ip('rule del pref 32766');
  await named(/the rule '32765: from all lookup main suppress_prefixlength 24' passes over ours/);
  await ip('rule add pref 32766 lookup main');
  await ip('rule del pref 32765');
  await isOver();
  await ip('rule add pref 1000 from', host.containerAddress, 'prohibit');
  await named(new RegExp(`^packets of containers of ${host.containerAddress}/32 behind docker0 for peer `));
  await ip('rule del pref 1000');
  await isOver();
  await ip('rule add pref 1000 from', peer.subnet, 'prohibit');
  await named(/^packets of other hosts for our subnet .* '1000: from \S+ prohibit'/);
  await ip('rule del pref 1000');
  await isOver();
});

test("a rule by which the peer's PublicIP is not reached from this host's address", async () => {
  await ip('rule add pref 1000 from', host.publicIp, 'to', peer.publicIp, 'unreachable');
  await named(new RegExp(`there is no route to any peer: ${peer.publicIp}`), 'underlay');
  await ip('rule del pref 1000');
  await isOver('underlay');
});

test("a bridge with the peer's subnet: it goes with its routes, of which the kernel tells nothing", async () => {
  await ip('link add br-other type bridge');
  await ip('link set br-other up');
  await ip('address add', peer.subnet.replace('.0/24', '.1/24'), 'dev br-other');
  await named(new RegExp(`they go to br-other, which has the network ${peer.subnet}; remove br-other`));
  await named(
    new RegExp(`it takes the packets for peer ${peer.subnet}; remove it, or give it a subnet`),
    'bridge',
  );
  await ip('link del br-other');
  await isOver();
  await isOver('bridge');
  await until('packets go by the overlay again', async () => (await reached()) === 1);
});

test('a rule for what is marked, and routes elsewhere, are not', async () => {
  await ip('rule add fwmark 7 lookup 77 pref 1000');
  await ip('route add 192.0.2.0/24 via 172.30.255.1 dev eth0 onlink');
  await ip('route add', `${peer.subnet} via ${peer.publicIp} dev eth0 metric 4000000000`);
  // What is noticed after them proves that they have been looked at.
  const words = `${peer.subnet} via ${peer.publicIp} dev eth0 metric 0`;
  await ip('route add', words);
  await named(new RegExp(`'${peer.subnet} via ${peer.publicIp} dev eth0'`));
  await ip('route del', words);
  await isOver();
  for (const line of ['rule del pref 1000', 'route del 192.0.2.0/24']) await ip(line);
});
