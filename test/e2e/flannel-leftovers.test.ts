/** Routes that flannel left go once ours are there, and what only looks like them stays. */
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { pingAllPairs, unanswered } from '../support/lab/ping';
import { bothWays, withoutLoss } from '../support/lab/stream';
import { until } from '../support/lab/until';

let lab: Lab;
let host: Host;
let peer: Host;

afterEach(() => lab?.end());

/** As flannel's host-gw and DirectRouting make them, and its `--ip-blackhole-route`, before the route of the bridge. */
const leftovers = (): string[] => [
  `${peer.subnet} via ${peer.publicIp} dev eth0`,
  `blackhole ${host.subnet}`,
];

async function routes(): Promise<string> {
  return host.namespace.ip('route');
}

test.each(['preload', 'on-demand'])('with --resolve=%s', async (mode) => {
  lab = await Lab.start({ hosts: 2, agentOptions: [`--resolve=${mode}`] });
  [host, peer] = [lab.host(1), lab.host(2)];
  await lab.startAgents();
  const absent = `${await lab.freeSubnet()}.0/24`;
  const foreign = [
    `${absent} via 172.30.255.1 dev eth0`,
    `10.5.0.0/24 via ${peer.publicIp} dev eth0 proto static`,
    'blackhole 10.5.0.128/25',
  ];
  await host.agent.end();
  for (const route of [...leftovers(), ...foreign])
    await host.namespace.ip('route', 'prepend', ...route.split(' '));
  await withoutLoss(bothWays(host, peer).slice(0, 1), async (traffic) => {
    await traffic.sends();
    host.agent.start();
    await host.agent.ready();
    await until('the leftovers are gone', async () => {
      const text = await routes();
      return leftovers().every((route) => !text.includes(route));
    });
    await traffic.sends();
  });
  for (const route of foreign) expect(await routes()).toContain(route);
  expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
  // One that comes back, for a peer whose lease changes: found with the look at that peer.
  await host.agent.end();
  for (const route of leftovers()) await host.namespace.ip('route', 'prepend', ...route.split(' '));
  expect(await host.agent.command('cleanup')).toMatchObject({ status: 0 });
  for (const route of leftovers()) expect(await routes()).not.toContain(route);
  for (const route of foreign) expect(await routes()).toContain(route);
});
