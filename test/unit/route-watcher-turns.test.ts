/** With thousands of peers, and a route of others for each, a look of the route watcher is work for many turns of the event loop. */
import { RouteWatcher } from '../../src/engine/route-watcher';
import { MutablePeerTable } from '../../src/model/peer';
import { offsetAddress, printSubnet, subnet, type IpAddress, type Subnet } from '../../src/model/address';
import type { RouteAnswer, RouteEntry } from '../../src/model/routing';
import type { Kernel } from '../../src/ports';
import { exampleOverlay, examplePeer } from '../support/examples';
import { FakeClock, settle } from '../support/fake-clock';
import { FAKE_UNDERLAY } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { USUAL_RULES } from '../support/fake-routing';
import { foreignRoute } from '../support/kernel-contract';

const PEERS = 5_000;
const NETWORK = subnet('10.0.0.0/8');
/** Steps that fit into a turn by this clock. */
const STEPS = 50;
/** A step looks at one peer, or at one route: some of its parts, a few times. */
const LOOKS_IN_A_STEP = 16;

/** A clock of which each look takes a part of a turn. */
class HurryingClock extends FakeClock {
  #looks = 0;

  override now(): number {
    return this.#looks++ / STEPS;
  }
}

/** Looks at addresses of peers and of foreign routes in this turn, and the most that there were in one. */
const looks = { now: 0, most: 0 };

function counted({ address, prefixLength }: Subnet): Subnet {
  return {
    get address() {
      looks.now++;
      return address;
    },
    prefixLength,
  };
}

const subnetOfPeer = (n: number): Subnet => ({
  address: offsetAddress(NETWORK.address, BigInt(n + 256) * 256n),
  prefixLength: 24,
});

/** Whose way a look asks for last. */
const NAME_SERVER = subnet('10.250.0.0/24').address;

/** Each peer's packets take the route of somebody else. */
function kernelWith(routes: readonly RouteEntry[], byAddress: ReadonlyMap<IpAddress, RouteAnswer>) {
  const asked = { looks: 0 };
  const kernel: Pick<Kernel, 'interfaces' | 'routing' | 'routesOf'> = {
    interfaces: () => Promise.resolve([FAKE_UNDERLAY]),
    routing: () => Promise.resolve({ rules: USUAL_RULES, routes }),
    routesOf: (questions) => {
      if (questions[0]!.destination === NAME_SERVER) asked.looks++;
      const refused: RouteAnswer = { kind: 'refused', code: 'EACCES' };
      return Promise.resolve(questions.map(({ destination }) => byAddress.get(destination) ?? refused));
    },
  };
  return { kernel: kernel as Kernel, asked };
}

test.each(['unicast', 'prohibit'] as const)('where others have a %s route for each', async (type) => {
  const subnets = Array.from({ length: PEERS }, (_, n) => subnetOfPeer(n));
  const peers = subnets.map((each) => ({ ...examplePeer(2), subnet: counted(each) }));
  const hops = type === 'unicast' ? {} : { hops: [] };
  const routes = subnets.map((each): RouteEntry => {
    return { ...foreignRoute(printSubnet(each), { type, ...hops }), destination: counted(each) };
  });
  const byAddress = new Map<IpAddress, RouteAnswer>(
    type === 'unicast'
      ? subnets.map(({ address }, n) => [address, { kind: 'route', route: routes[n]! }])
      : [],
  );
  const overlay = exampleOverlay({ network: NETWORK, subnet: subnet('10.0.1.0/24') });
  const needed = [{ address: NAME_SERVER, what: 'a name server' }];
  const [clock, stop] = [new HurryingClock(), new AbortController()];
  const { kernel, asked } = kernelWith(routes, byAddress);
  const table = new MutablePeerTable(peers);
  const watcher = new RouteWatcher(kernel, clock, new FakeLog(), () => ({ overlay, peers: table, needed }));
  const running = watcher.run(stop.signal);
  const turn = () => {
    looks.most = Math.max(looks.most, looks.now);
    looks.now = 0;
    if (!stop.signal.aborted) setImmediate(turn);
  };
  Object.assign(looks, { now: 0, most: 0 });
  turn();
  watcher.audit();
  while (asked.looks < 1) await settle();
  // The next look goes through what this one has named, too.
  await clock.advance(70_000);
  while (asked.looks < 2) await settle();
  stop.abort();
  await running;
  expect(watcher.trouble!.complaint).toContain(`and ${PEERS - 3} more`);
  expect(looks.most).toBeGreaterThan(0);
  expect(looks.most).toBeLessThan(STEPS * LOOKS_IN_A_STEP);
});
