import { FakeVxlanGuard } from '../support/fake-vxlan-guard';
import { describeVxlanGuardContract } from '../support/vxlan-guard-contract';

describeVxlanGuardContract('the fake', () =>
  Promise.resolve({ guard: new FakeVxlanGuard(), close: () => Promise.resolve() }),
);
