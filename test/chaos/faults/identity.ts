/** A host's addresses come late, float between hosts, or go for a while: it stays who it is. */
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';

const COMMON = { group: 'underlay', withinMilliseconds: 10_000 } as const;
const FLOATING = '172.30.77.77/32';
/** For ever, unlike an address by DHCP: what a choice among addresses might like better. */
const BY_DHCP = 'valid_lft 3600 preferred_lft 3600';

export const IDENTITY_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'floating-address',
    short: true,
    throughLoss: 'none',
    what: 'gives host 1 a floating address, and then host 2; their agents are started anew while they have it: no lease changes',
    provoke: async (scene) => {
      const { lab, victim, peer } = scene;
      const before = JSON.stringify([...(await lab.leases())].sort());
      await victim.namespace.ip(
        'address',
        'change',
        `${victim.publicIp}/16`,
        'dev',
        'eth0',
        ...BY_DHCP.split(' '),
      );
      scene.atEnd(() => victim.namespace.ip('address', 'change', `${victim.publicIp}/16`, 'dev', 'eth0'));
      for (const { agent, namespace } of [victim, peer]) {
        const give = () => namespace.attempt('ip', ['address', 'del', FLOATING, 'dev', 'eth0']);
        scene.atEnd(give);
        await namespace.ip('address', 'add', FLOATING, 'dev', 'eth0');
        await agent.end('SIGKILL');
        agent.start();
        await agent.ready();
        await scene.followsEtcd();
        await give();
      }
      await scene.compared();
      const after = JSON.stringify([...(await lab.leases())].sort());
      if (after !== before) throw new Error(`the leases were ${before}, and are ${after}`);
      return undefined;
    },
  },
  {
    ...COMMON,
    name: 'late-dhcp',
    throughLoss: 'counted',
    plan: { underlayOptions: ['--iface-regex=^(10|172)\\.'] },
    what: 'starts the agent, which looks for an address by a regular expression, before eth0 has one: it waits, and takes nothing of its own',
    provoke: async (scene) => {
      const { agent, namespace, publicIp } = scene.victim;
      const give = () => namespace.attempt('ip', ['address', 'add', `${publicIp}/16`, 'dev', 'eth0']);
      scene.atEnd(give);
      await agent.end('SIGKILL');
      await namespace.ip('address', 'del', `${publicIp}/16`, 'dev', 'eth0');
      agent.start();
      await agent.logged(({ message }) => /waiting for the underlay/.test(message));
      await scene.sends();
      const start = performance.now();
      await give();
      await agent.ready();
      await scene.settle();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'underlay-address-gone-for-a-while',
    short: true,
    throughLoss: 'counted',
    what: 'takes the address of eth0 away, and gives it back a second later, as a DHCP server does that was away',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const value = async () => (await lab.leases()).get(victim.subnet.replace('/', '-'));
      const before = await value();
      const give = () =>
        victim.namespace.attempt('ip', ['address', 'add', `${victim.publicIp}/16`, 'dev', 'eth0']);
      scene.atEnd(give);
      await victim.namespace.ip('address', 'del', `${victim.publicIp}/16`, 'dev', 'eth0');
      await scene.lasts(1000);
      const start = performance.now();
      await give();
      await scene.settle();
      await scene.reachesPeer();
      const milliseconds = performance.now() - start;
      await until('the lease is what it was', async () => (await value()) === before);
      return milliseconds;
    },
  },
];
