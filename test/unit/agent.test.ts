/** The whole agent on fakes: what only shows when all its loops run together. */
import { Agent } from '../../src/agent';
import { FakeClock } from '../support/fake-clock';
import { FakeHost } from '../support/fake-host';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const clock = new FakeClock();
const store = new FakeStore(clock);
const kernel = new FakeKernel();
const host = new FakeHost();
const stop = new AbortController();
let agent: Agent;
let running: Promise<void>;

beforeAll(async () => {
  store.put('config', '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}');
  agent = new Agent(
    {
      configPlace: '/coreos.com/network/config',
      underlay: { iface: ['eth0'], ifaceRegex: [], canReach: undefined, publicIp: undefined },
      resolve: { kind: 'preload' },
      hasBlackholeRoute: true,
      admitsPeersOnly: false,
      etcdAddresses: [],
      renewMarginSeconds: 3600,
      mayRenumber: true,
      peerGraceMilliseconds: 0,
      firewallResyncSeconds: 5,
      firewall: { ipMasq: false, fullyRandom: true, forward: true },
    },
    {
      registry: store.client(),
      kernel,
      firewall: undefined,
      guard: undefined,
      host,
      clock,
      log: new FakeLog(),
    },
  );
  running = agent.run(stop.signal);
  await clock.advance(1_000);
});

afterAll(async () => {
  stop.abort();
  await running;
});

test('it is ready when the kernel holds what it should and subnet.env is written', () => {
  expect(agent.readiness().filter(({ ok }) => !ok)).toEqual([]);
  expect(host.subnetFile).toContain('FLANNEL_SUBNET=');
  expect(kernel.printedState().join()).toContain('route blackhole 10.5.');
});

test('it is not live while a pass lasts for longer than any pass could, and live again when it ends', async () => {
  expect(agent.liveness()).toMatchObject([{ name: 'loops', ok: true }]);
  const release = kernel.hold();
  agent.audit('test');
  await clock.advance(119_000);
  expect(agent.liveness()).toMatchObject([{ ok: true }]);
  await clock.advance(10_000);
  expect(agent.liveness()).toMatchObject([
    {
      ok: false,
      reason: expect.stringMatching(/a pass over the kernel state has lasted for 1\d\d s/) as string,
    },
  ]);
  release();
  await clock.advance(1_000);
  expect(agent.liveness()).toMatchObject([{ ok: true }]);
});
