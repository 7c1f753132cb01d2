/** Containers on all hosts reach each other, and hosts may join at any time. */
import type { Host } from '../../support/lab/host';
import { Lab } from '../../support/lab/lab';
import { allReachAll, answered, pingAllPairs, unanswered } from '../../support/lab/ping';

const SCENES = [
  { hosts: 3, etcdMembers: 1, resolve: 'preload' },
  { hosts: 3, etcdMembers: 1, resolve: 'on-demand' },
  { hosts: 3, etcdMembers: 3, resolve: 'preload' },
  { hosts: 3, etcdMembers: 3, resolve: 'on-demand' },
  { hosts: 20, etcdMembers: 1, resolve: 'preload' },
  { hosts: 20, etcdMembers: 1, resolve: 'on-demand' },
  { hosts: 20, etcdMembers: 3, resolve: 'preload' },
];

describe.each(SCENES)('$hosts hosts, $etcdMembers etcd, $resolve', ({ hosts, etcdMembers, resolve }) => {
  let lab: Lab;
  /** All but the last host, which joins later. */
  let early: readonly Host[];
  let joiner: Host;

  beforeAll(async () => {
    lab = await Lab.start({ hosts, etcdMembers, agentOptions: [`--resolve=${resolve}`] });
    early = lab.hosts.slice(0, -1);
    joiner = lab.host(hosts);
    await lab.startAgents(early);
  });

  afterAll(() => lab?.end());

  test('every host has a subnet of its own', () => {
    expect(new Set(early.map((host) => host.subnet)).size).toBe(early.length);
  });

  test('all pairs of containers reach each other', async () => {
    await allReachAll(early);
  });

  test('a host that joins is reachable from every other', async () => {
    await lab.startAgents([joiner]);
    // Long before anybody reads all leases again: each of them was told of it, or asked.
    await answered(
      early.map((host) => host.container),
      joiner.containerAddress,
    );
  });

  test('and it reaches every other', async () => {
    const trips = await pingAllPairs(lab.hosts);
    expect(unanswered(trips)).toEqual([]);
  });
});
