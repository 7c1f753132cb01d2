/** Options about masquerading, forwarding and admission. */
import type { Topic, ValuesOf } from './option';
import { oneOf, readBoolean, readInteger } from './values';

export const firewall = {
  title: 'Masquerade and forwarding',
  options: {
    ipMasq: {
      name: 'ip-masq',
      fallback: 'false',
      read: readBoolean,
      since: '0.1.0',
      help: 'Masquerade what leaves the overlay. `FLANNEL_IPMASQ=true` in the subnet file tells Docker and CNI to leave it to us.',
    },
    ipMasqFullyRandomDisable: {
      name: 'ip-masq-fully-random-disable',
      fallback: 'false',
      read: readBoolean,
      since: '0.27.4',
      help: 'Masquerade without fully random source ports.',
    },
    iptablesForwardRules: {
      name: 'iptables-forward-rules',
      fallback: 'true',
      read: readBoolean,
      since: '0.11.0',
      help: 'Let packets of the overlay pass where another firewall (Docker’s, for one) would drop what is forwarded.',
    },
    iptablesResyncSeconds: {
      name: 'iptables-resync',
      placeholder: 'SECONDS',
      fallback: '5',
      read: readInteger(1, 86_400, 'seconds'),
      since: '0.11.0',
      help: 'How often the firewall rules are looked at, besides when the kernel tells that they changed.',
    },
    ipBlackholeRoute: {
      name: 'ip-blackhole-route',
      fallback: 'false',
      read: readBoolean,
      since: '0.27.1',
      help:
        'Drop what is for our own subnet while no bridge has it, by a `blackhole` route behind that of the bridge: else such a ' +
        'packet leaves by another route, and may come back.',
    },
    vxlanAdmission: {
      name: 'vxlan-admission',
      placeholder: 'MODE',
      fallback: 'off',
      ...oneOf('off', 'on'),
      help:
        '`on`: only peers may send to our VXLAN port, each by its PublicIP and with inner sources of its own subnet. `off`: ' +
        'anybody, as with flannel. Not for hosts whose packets arrive from another address than their PublicIP.',
    },
  },
} satisfies Topic;

/** What the agent does with the packet filter, and with packets that no rule of it sees. */
export function firewallSettings(values: ValuesOf<typeof firewall.options>) {
  return {
    hasBlackholeRoute: values.ipBlackholeRoute,
    firewallResyncSeconds: values.iptablesResyncSeconds,
    firewall: {
      ipMasq: values.ipMasq,
      fullyRandom: !values.ipMasqFullyRandomDisable,
      forward: values.iptablesForwardRules,
    },
    admitsPeersOnly: values.vxlanAdmission === 'on',
  };
}
