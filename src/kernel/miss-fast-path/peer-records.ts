/** Peers as the addon's thread is told of them: see `MissFastPathThread.put`. */
import { familyOf } from '../../model/address';
import type { Peer } from '../../model/peer';
import { encodeAddress, encodeMac } from '../wire';

const RECORD_BYTES = 16;
const LENGTH = 4;
const MAC = 6;
const DESTINATION = 12;

/** The thread answers for peers with addresses of IPv4. Others have the event loop. */
export function isAnswered({ subnet, publicIp }: Peer): boolean {
  return familyOf(subnet.address) === 'ipv4' && familyOf(publicIp) === 'ipv4';
}

export function recordsOf(peers: readonly Peer[]): Uint8Array {
  const records = new Uint8Array(peers.length * RECORD_BYTES);
  peers.forEach(({ subnet, vtepMac, publicIp }, at) => {
    const start = at * RECORD_BYTES;
    encodeAddress(records, start, subnet.address);
    records[start + LENGTH] = subnet.prefixLength;
    encodeMac(records, start + MAC, vtepMac);
    encodeAddress(records, start + DESTINATION, publicIp);
  });
  return records;
}
