/** Options about the interface that carries the overlay. */
import { parseIpAddress, parseSubnet } from '../../model/address';
import { readRegex } from './go-regex';
import type { Topic, ValuesOf } from './option';
import { BadValue, readAddress } from './values';

export const underlay = {
  title: 'Which interface carries the overlay',
  options: {
    /** Names or addresses, in order of preference. */
    iface: {
      name: 'iface',
      placeholder: 'NAME|IP',
      read: readInterface,
      repeatable: true,
      completion: 'interface',
      since: '0.1.0',
      help: 'The interface, by name or address. May be repeated: the first that is there wins.',
    },
    /** Sources of JavaScript regular expressions, in order of preference. */
    ifaceRegex: {
      name: 'iface-regex',
      placeholder: 'REGEX',
      read: readRegex,
      repeatable: true,
      since: '0.8.0',
      help: 'The first interface with an address, or else a name, that matches; tried after every `--iface`. May be repeated.',
    },
    ifaceCanReach: {
      name: 'iface-can-reach',
      placeholder: 'IP',
      read: readAddress('any', 'destination'),
      since: '0.18.0',
      help: 'The interface that the kernel would take to this address; tried last. With none of the three: by `--public-ip`, else the one of the default route.',
    },
    publicIp: {
      name: 'public-ip',
      placeholder: 'IP',
      read: readAddress('ipv4', 'advertise'),
      since: '0.5.2',
      help: "The address that other hosts send to; else the interface's own.",
    },
    publicIpv6: {
      name: 'public-ipv6',
      placeholder: 'IP',
      read: readAddress('ipv6', 'advertise'),
      since: '0.15.0',
      help: 'The same for IPv6. Not effective yet.',
      notEffective: '--public-ipv6 is not effective yet: the overlay carries IPv4',
    },
  },
} satisfies Topic;

/** Which interface is looked for. */
export function underlaySettings(values: ValuesOf<typeof underlay.options>) {
  const { iface, ifaceRegex, ifaceCanReach, publicIp } = values;
  return { iface, ifaceRegex, canReach: ifaceCanReach, publicIp };
}

/** An interface's name or address. */
function readInterface(text: string): string {
  if (text === '' || /[\s/]/.test(text)) {
    const hint = parseSubnet(text) ? ', without a prefix length' : '';
    throw new BadValue(`must be the name or the address of an interface${hint}`);
  }
  // Written as the kernel's addresses are, so that they compare.
  return parseIpAddress(text) ?? text;
}
