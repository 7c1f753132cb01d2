import { FakeVxlanGuard } from '../support/fake-vxlan-guard';
import { describeVxlanGuardContract } from '../support/vxlan-guard-contract';

describeVxlanGuardContract('the fake', () => {
  const guard = new FakeVxlanGuard();
  return { guard, flush: (link) => guard.flush(link), close: () => undefined };
});
