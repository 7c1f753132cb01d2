/** One network, two versions: a host that v0.1.0 runs and two that the build under test runs see each other come, move and go. */
import { AGENT } from '../support/lab/agent';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { POLL_MILLISECONDS, allReachAll, ping } from '../support/lab/ping';
import { builtRevision, RELEASE } from '../support/lab/revision';
import { until } from '../support/lab/until';

const OLD = 1;

let released: string;

beforeAll(async () => {
  released = await builtRevision(RELEASE);
});

describe.each(['preload', 'on-demand'])('with --resolve=%s,', (mode) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.start({ hosts: 3, agentOptions: [`--resolve=${mode}`, '--vxlan-admission=on'] });
    lab.host(OLD).agent.program = released;
    await lab.startAgents();
  });

  afterAll(() => lab?.end());

  test('every container reaches every other', async () => {
    expect(lab.hosts.map(({ agent }) => agent.program)).toEqual([released, AGENT, AGENT]);
    await allReachAll(lab.hosts);
  });

  describe.each([
    ['of this build, seen by one of each', 3],
    ['of v0.1.0, seen by two of this build', OLD],
  ])('a host %s,', (_, number) => {
    let subject: Host;
    let others: Host[];

    beforeAll(() => {
      subject = lab.host(number);
      others = lab.hosts.filter((host) => host !== subject);
    });

    /** What another host holds for the subject: where its FDB entry leads, and whether it has a route. */
    async function heldBy(other: Host, mac: string, subnet: string) {
      const [fdb, neighbors, routes] = await Promise.all([other.fdb(), other.neighbors(), other.routes()]);
      return {
        leadsTo: fdb.filter((entry) => entry.mac === mac).map(({ dst }) => dst),
        isNeighbor: neighbors.some(({ lladdr }) => lladdr === mac),
        hasRoute: routes.some(({ dst }) => dst === subnet),
      };
    }

    /** All others have its address, and use it. */
    async function isReachedAt(address: string): Promise<void> {
      const mac = (await subject.vtepMac())!;
      for (const other of others) {
        await until(`${other.name} reaches ${subject.name} at ${address}`, async () => {
          for (const [from, to] of [
            [other, subject],
            [subject, other],
          ] as const)
            if ((await ping(from.container, [to.containerAddress], POLL_MILLISECONDS)).size === 0)
              return false;
          const { leadsTo, hasRoute } = await heldBy(other, mac, subject.subnet);
          return hasRoute && leadsTo.join() === address;
        });
      }
    }

    test('moves to another address, with its subnet and its device', async () => {
      const before = { subnet: subject.subnet, mac: await subject.vtepMac() };
      const address = `172.30.9.${number}`;
      // The other way round the kernel would take both away.
      await subject.namespace.batch([
        `address del ${subject.publicIp}/16 dev eth0`,
        `address add ${address}/16 dev eth0`,
      ]);
      await isReachedAt(address);
      expect({ subnet: subject.subnet, mac: await subject.vtepMac() }).toEqual(before);
      await subject.namespace.batch([
        `address del ${address}/16 dev eth0`,
        `address add ${subject.publicIp}/16 dev eth0`,
      ]);
      await isReachedAt(subject.publicIp);
    });

    test('leaves, and the others forget it', async () => {
      const { subnet } = subject;
      const mac = (await subject.vtepMac())!;
      await subject.agent.end();
      expect(await subject.agent.command('leave')).toMatchObject({ status: 0 });
      for (const other of others)
        await until(`${other.name} has forgotten ${subject.name}`, async () => {
          const { leadsTo, isNeighbor, hasRoute } = await heldBy(other, mac, subnet);
          return leadsTo.length === 0 && !isNeighbor && !hasRoute;
        });
      expect((await lab.leases()).size).toBe(2);
    });

    test('joins, and the others know it', async () => {
      await lab.startAgents([subject]);
      await isReachedAt(subject.publicIp);
    });
  });
});
