/** Reading settings of the kernel: sysctl(8). */
import { readFileSync } from 'node:fs';
import type { KernelSettings } from '../model/kernel-settings';
import type { Message } from './message';
import { AttributeIndex } from './wire';

/** struct netconfmsg, padded */
const HEADER = 4;
/** linux/netconf.h */
const NETCONFA = { FORWARDING: 2, RP_FILTER: 3 } as const;
const attributes = new AttributeIndex(NETCONFA.RP_FILTER);

/** True for an RTM_NEWNETCONF which tells that forwarding was switched, on one interface or all. */
export function isForwardingSet({ buffer, start, end }: Message): boolean {
  attributes.read(buffer, start + HEADER, end);
  return (
    attributes.u32(NETCONFA.FORWARDING) !== undefined && attributes.u32(NETCONFA.RP_FILTER) === undefined
  );
}

/** See `Kernel.settings`. */
export function readSettings(links: readonly string[], root = '/proc/sys/net'): KernelSettings {
  const isSet = (path: string): boolean | undefined => {
    try {
      return readFileSync(`${root}/${path}`, 'utf8').trim() !== '0';
    } catch {
      return undefined;
    }
  };
  return {
    isForwarding: isSet('ipv4/ip_forward'),
    notForwarding: links.filter((link) => isSet(`ipv4/conf/${link}/forwarding`) === false),
    notAsking: links.filter((link) => isSet(`ipv4/neigh/${link}/app_solicit`) === false),
    isBridgedFiltered: isSet('bridge/bridge-nf-call-iptables'),
  };
}
