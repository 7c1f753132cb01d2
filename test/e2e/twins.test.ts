/** Two hosts with one PublicIP, both with an agent: a cloned machine, addresses behind a NAT. */
import { Lab, PREFIX } from '../support/lab/lab';
import { Stream } from '../support/lab/stream';

let lab: Lab;
afterEach(() => lab?.end());

test('the first keeps its lease, the second says what to do, nobody loses a packet, and the second takes over when the first has gone', async () => {
  lab = await Lab.start({ hosts: 3 });
  const [first, second, third] = [lab.host(1), lab.host(2), lab.host(3)];
  await lab.startAgents([first, third]);
  const { subnet } = first;
  const key = `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
  const value = await lab.etcd.etcdctl('get', key);
  const streams = [await Stream.start(first, third), await Stream.start(third, first)];

  second.agent.start({ args: [`--public-ip=${first.publicIp}`] });
  const complaint = await second.agent.logged(({ message }) => /another host has our PublicIP/.test(message));
  expect(complaint).toMatchObject({ level: 'warn', publicIp: first.publicIp });
  expect(String(complaint['error'])).toContain('give one of them another by --public-ip or --iface');
  const objection = await first.agent.logged(({ message }) => /another host has our PublicIP/.test(message));
  expect(String(objection['error'])).toContain('we were there first, and keep it');
  await new Promise((resolve) => setTimeout(resolve, 16_000));

  expect(await lab.etcd.etcdctl('get', key)).toBe(value);
  expect(first.subnet).toBe(subnet);
  expect(second.agent.log().filter(({ message }) => /subnet file/.test(message))).toEqual([]);
  for (const stream of streams) expect(await stream.end()).toMatchObject({ lost: 0 });

  await first.agent.end('SIGTERM');
  await second.agent.ready(70_000);
  expect(second.subnet).toBe(subnet);
}, 150_000);
