/** Hosts whose address is on the loopback and told to the network by a routing protocol, as with BGP on the host. */
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { allReachAll, ping } from '../support/lab/ping';
import { until } from '../support/lab/until';

let lab: Lab;

afterEach(() => lab?.end());

const loopbackOf = ({ index }: Host) => `172.31.0.${index}`;

test('carry the overlay by whatever interface the routes name, in packets that fit it', async () => {
  lab = await Lab.start({ hosts: 2, underlayOptions: ['--iface=lo'] });
  const [host, peer] = lab.hosts as [Host, Host];
  for (const { namespace, index } of lab.hosts)
    await namespace.batch([
      `address add 172.31.0.${index}/32 dev lo`,
      ...lab.hosts
        .filter((other) => other.index !== index)
        .map((other) => `route add ${loopbackOf(other)}/32 via ${other.publicIp} src 172.31.0.${index}`),
    ]);
  await lab.startAgents();
  expect(JSON.stringify([...(await lab.leases()).values()])).toContain(loopbackOf(host));
  await allReachAll(lab.hosts);
  expect(host.environment['FLANNEL_MTU']).toBe('1450');
  const size = ['-M', 'do', '-s', '1422', '-c', '1', '-W', '10'];
  await host.container.run('ping', [...size, peer.containerAddress]);
  // The interface that carried it fails, and the routes name another.
  await lab.hub.batch([
    'link add other1 type veth peer name eth1 netns ' + host.namespace.name,
    'link add other2 type veth peer name eth1 netns ' + peer.namespace.name,
    'link add br1 type bridge',
    'link set br1 up',
    'link set other1 master br1 up',
    'link set other2 master br1 up',
  ]);
  for (const each of lab.hosts) {
    const other = each === host ? peer : host;
    await each.namespace.batch([
      `address add 192.168.77.${each.index}/24 dev eth1`,
      'link set eth1 up',
      `route replace ${loopbackOf(other)}/32 via 192.168.77.${other.index} src ${loopbackOf(each)}`,
    ]);
  }
  await until('packets go by the other interface', async () => {
    const answers = await ping(host.container, [peer.containerAddress], 2_000);
    return answers.size === 1;
  });
});
