/** Whether the kernel asks for the peers that are not there yet: of that setting it tells nobody. */
import { keyOf, type KernelObject } from '../../src/model/kernel-state';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { ON_DEMAND } from '../support/examples';

/** Somebody switches it off, and the kernel tells of it only who looks. */
function switchOff({ kernel }: AgentOnFakes): KernelObject {
  const [parameters] = [...kernel.state.values()].filter(({ kind }) => kind === 'neighbor-parameters');
  kernel.state.set(keyOf(parameters!), { ...parameters!, appSolicit: 0 } as KernelObject);
  kernel.kernelSettings = { ...kernel.kernelSettings, notAsking: ['flannel.1'] };
  return parameters!;
}

it('on demand, a kernel that does not ask any more is seen within seconds, and made to ask', async () => {
  const host = await new AgentOnFakes({ resolve: ON_DEMAND }).start();
  const before = switchOff(host);
  await host.clock.advance(6_000);
  expect(host.kernel.state.get(keyOf(before))).toEqual(before);
  await host.stop();
});

it('with all peers in place nothing is looked at for it before the next audit', async () => {
  const host = await new AgentOnFakes().start();
  const before = switchOff(host);
  await host.clock.advance(6_000);
  expect(host.kernel.state.get(keyOf(before))).not.toEqual(before);
  await host.clock.advance(60_000);
  expect(host.kernel.state.get(keyOf(before))).toEqual(before);
  await host.stop();
});
