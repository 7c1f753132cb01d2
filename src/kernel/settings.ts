/** Reading settings of the kernel: sysctl(8). */
import { readFileSync } from 'node:fs';
import type { KernelSettings } from '../model/kernel-settings';

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
    isBridgedFiltered: isSet('bridge/bridge-nf-call-iptables'),
  };
}
