/** Leases of hosts that exist on paper, or all on one far host. */
import { PREFIX } from '../support/lab/lab';

/** The networks of the bench hold 65 280 subnets. */
export const BENCH_CONFIG = { Network: '10.0.0.0/8', Backend: { Type: 'vxlan' } };

/** Subnet number n (0…65 000): 10.64.0.0/24 and on. */
export function subnetOfPeer(n: number): string {
  return `10.${64 + (n >> 8)}.${n & 255}`;
}

export function macOfPeer(n: number): string {
  return `0e:2a:00:00:${hex(n >> 8)}:${hex(n & 255)}`;
}

/** The key and value of peer n, as flannel writes them. */
export function leaseOfPeer(
  n: number,
  publicIp = `198.18.${(n >> 8) & 255}.${n & 255}`,
  mac = macOfPeer(n),
): [string, string] {
  const value = {
    PublicIP: publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: mac },
  };
  return [`${PREFIX}/subnets/${subnetOfPeer(n)}.0-24`, JSON.stringify(value)];
}

export function leasesOfPeers(from: number, count: number): [string, string][] {
  return Array.from({ length: count }, (_, index) => leaseOfPeer(from + index));
}

function hex(byte: number): string {
  return (byte & 255).toString(16).padStart(2, '0');
}
