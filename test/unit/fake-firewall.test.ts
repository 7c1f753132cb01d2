import { FakeFirewall } from '../support/fake-firewall';
import { describeFirewallContract } from '../support/firewall-contract';

describeFirewallContract('the fake', () =>
  Promise.resolve({ firewall: new FakeFirewall(), close: () => Promise.resolve() }),
);
