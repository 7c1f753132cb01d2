import { forwardRules, masqueradeRules } from '../../src/core/masquerade';
import { subnet } from '../../src/model/address';
import { printFirewallRule } from '../../src/model/firewall';

const IPV4 = { network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') };
const IPV6 = { network: subnet('fd05::/48'), subnet: subnet('fd05:0:0:1::/64') };

describe('masquerade rules', () => {
  it("are flannel's, in flannel's order", () => {
    expect(masqueradeRules(IPV4, true).map(printFirewallRule)).toEqual([
      'mark 0x4000/0x4000 return',
      'from 10.5.1.0/24 to 10.5.0.0/16 return',
      'from 10.5.0.0/16 to 10.5.1.0/24 return',
      'from !10.5.0.0/16 to 10.5.1.0/24 return',
      'from 10.5.0.0/16 to !224.0.0.0/4 masquerade fully-random',
      'from !10.5.0.0/16 to 10.5.0.0/16 masquerade fully-random',
    ]);
  });

  it('are the same for IPv6, with its own multicast', () => {
    expect(masqueradeRules(IPV6, false).map(printFirewallRule)).toEqual([
      'mark 0x4000/0x4000 return',
      'from fd05:0:0:1::/64 to fd05::/48 return',
      'from fd05::/48 to fd05:0:0:1::/64 return',
      'from !fd05::/48 to fd05:0:0:1::/64 return',
      'from fd05::/48 to !ff00::/8 masquerade',
      'from !fd05::/48 to fd05::/48 masquerade',
    ]);
  });
});

it('forward rules accept the overlay both ways', () => {
  expect(forwardRules(IPV4.network).map(printFirewallRule)).toEqual([
    'from 10.5.0.0/16 accept',
    'to 10.5.0.0/16 accept',
  ]);
});
