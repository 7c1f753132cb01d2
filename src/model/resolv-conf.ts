/** resolv.conf(5), as far as it names servers. */
import { parseIpAddress, type IpAddress } from './address';

/** As many as the C library asks. */
const MOST_SERVERS = 3;
const LONGEST_LINE = 256;

/** The name servers, in their order. What makes no sense is left out, as by the C library. */
export function parseNameServers(text: string): IpAddress[] {
  return text
    .split('\n')
    .filter((line) => line.length <= LONGEST_LINE)
    .flatMap((line) => parseIpAddress(/^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '') ?? [])
    .slice(0, MOST_SERVERS);
}
