/** The addresses behind host names. */
import { lookup } from 'node:dns/promises';
import { parseIpAddress, type IpAddress } from '../model/address';

/** A name server may say anything. */
const MOST_ADDRESSES = 16;

/** As every program of this host finds them: hosts(5), then DNS. In order; none for a name that cannot be resolved. */
export async function lookUpAddresses(name: string): Promise<IpAddress[]> {
  try {
    const found = await lookup(name, { all: true });
    const addresses = found.flatMap(({ address }) => parseIpAddress(address) ?? []);
    // Name servers tell them in another order each time.
    return [...new Set(addresses)].sort().slice(0, MOST_ADDRESSES);
  } catch {
    return [];
  }
}
