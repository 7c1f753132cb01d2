import { executeWith } from '../../src/kernel/firewall/execute';
import { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { describeFirewallContract } from '../support/firewall-contract';
import { FirewallLab } from '../support/firewall-lab';

describeFirewallContract('Linux', async () => {
  const lab = await FirewallLab.bare();
  const firewall = new LinuxFirewall(
    executeWith(['nsenter', `--net=${lab.host.path}`]),
    () => {
      throw new Error('nobody listens in this test');
    },
    () => undefined,
  );
  return { firewall, close: () => lab.remove() };
});
