/** What a start says of itself, before it knows. */
import { AgentOnFakes, NETWORK_CONFIG } from '../support/agent-on-fakes';

let host: AgentOnFakes;
afterEach(() => host.stop());

const statesOf = () => new Map(host.agent.readiness().map(({ name, state }) => [name, state]));
const namesIn = (wanted: string) =>
  [...statesOf()].filter(([, state]) => state === wanted).map(([name]) => name);

it('an agent that waits for its configuration calls nothing well that it has not looked at', async () => {
  host = new AgentOnFakes();
  host.store.delete('config');
  await host.start();
  expect(namesIn('failing')).toEqual(['start']);
  // Etcd has answered, the underlay was chosen; the host wants neither firewall rules nor admission.
  expect(namesIn('ok')).toEqual(['etcd', 'underlay', 'firewall', 'vxlan admission']);
  expect(host.agent.status(false).isReady).toBe(false);
  expect(host.host.serviceState.status).toMatch(
    /^starting: waiting for the network configuration: there is none at \/coreos\.com\/network\/config in etcd; /,
  );
  host.store.put('config', NETWORK_CONFIG);
  await host.clock.advance(10_000);
  expect([namesIn('failing'), namesIn('unknown')]).toEqual([[], []]);
  expect(host.host.serviceState.status).toMatch(/^10\.5\.\d+\.0\/24 on flannel\.1, 0 peers$/);
});

it('an agent that waits for etcd says so, and what it waits for', async () => {
  host = new AgentOnFakes();
  host.registry.down = true;
  await host.start();
  expect(namesIn('failing')).toEqual(['start', 'etcd']);
  expect(namesIn('ok')).toEqual(['underlay', 'firewall', 'vxlan admission']);
  expect(host.host.serviceState.status).toMatch(
    /^starting: waiting for the network configuration: the registry cannot be reached: nobody answers; /,
  );
});

it('systemd hears what a start waits for before anything else, and after ten seconds that it need not wait', async () => {
  host = new AgentOnFakes();
  host.registry.down = true;
  await host.start();
  expect(host.host.notified[0]).toEqual({
    status: expect.stringMatching(/^starting: waiting for /) as string,
  });
  await host.clock.advance(8_000);
  expect(host.host.serviceState.ready).toBeUndefined();
  await host.clock.advance(2_000);
  expect(host.host.serviceState).toMatchObject({
    ready: true,
    status: expect.stringMatching(/^starting: waiting for the network configuration: /) as string,
  });
  expect(host.agent.status(false).isReady).toBe(false);
  await host.clock.advance(60_000);
  expect(host.host.notified.filter(({ ready }) => ready)).toHaveLength(1);

  host.registry.down = false;
  await host.clock.advance(30_000);
  expect(host.host.subnetFile).toContain('FLANNEL_SUBNET=');
  expect(host.host.serviceState.status).toMatch(/^10\.5\.\d+\.0\/24 on flannel\.1, 0 peers$/);
});

it('before anything has failed systemd is told what is waited for', async () => {
  host = new AgentOnFakes();
  host.registry.slowMilliseconds = 60_000;
  await host.start();
  expect(namesIn('failing')).toEqual([]);
  expect(host.host.serviceState.status).toBe(
    'starting: waiting for etcd; the network configuration; a subnet lease; and 2 more',
  );
});

it('a start that is over in time is told of once', async () => {
  host = await new AgentOnFakes().start();
  await host.clock.advance(60_000);
  expect(host.host.notified.filter(({ ready }) => ready)).toHaveLength(1);
});

it('also after its start it tells systemd that etcd is away, and when that is over', async () => {
  host = await new AgentOnFakes().start();
  host.registry.down = true;
  await host.clock.advance(10_000);
  expect(host.host.serviceState.status).toMatch(
    /, 0 peers; etcd: .*nobody answers; our lease is good until /,
  );
  host.registry.down = false;
  await host.clock.advance(30_000);
  expect(host.host.serviceState.status).toMatch(/, 0 peers$/);
});
