/** Ethernet addresses of VTEPs. */

/** Six octets in lower-case hex, separated by colons: `c6:d2:32:6f:8f:44`. */
export type MacAddress = string & { readonly brand: 'MacAddress' };

/** The canonical form of `text`, or undefined when it is not a 48-bit MAC address. */
export function parseMacAddress(text: string): MacAddress | undefined {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? (text.toLowerCase() as MacAddress) : undefined;
}

/** As Go's net.ParseMAC reads what people write: `c6-d2-32-6f-8f-44` and `c6d2.326f.8f44`, too. */
export function parseSpelledMacAddress(text: string): MacAddress | undefined {
  const mac = parseMacAddress(text);
  if (mac !== undefined || text.length > LONGEST_SPELLING) return mac;
  if (text.includes('-')) return text.includes(':') ? undefined : parseMacAddress(text.replaceAll('-', ':'));
  const isDotted = /^[\da-f]{4}\.[\da-f]{4}\.[\da-f]{4}$/i.test(text);
  return isDotted ? parseMacAddress(text.replaceAll('.', '').replace(/..(?!$)/g, '$&:')) : undefined;
}

const LONGEST_SPELLING = 17;

/** Like {@link parseMacAddress} for text that is known to be good; throws a RangeError otherwise. */
export function macAddress(text: string): MacAddress {
  const mac = parseMacAddress(text);
  if (mac === undefined) throw new RangeError(`not a MAC address: '${text}'`);
  return mac;
}

/** Six octets to a MAC address; throws a RangeError for any other length. */
export function bytesToMac(bytes: Uint8Array): MacAddress {
  if (bytes.length !== 6) throw new RangeError(`not a MAC address: ${bytes.length} bytes`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':') as MacAddress;
}

export function macToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from(mac.split(':'), (octet) => parseInt(octet, 16));
}

/** Makes a locally administered unicast address of six random octets, as flannel does for its VTEPs. */
export function localMacOf(random: Uint8Array): MacAddress {
  const bytes = Uint8Array.from(random);
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return bytesToMac(bytes);
}

/** True if frames can be sent to this address as one station: neither multicast (odd first octet) nor all zero. */
export function isUnicast(mac: MacAddress): boolean {
  // parseInt reads up to the first colon.
  return (parseInt(mac, 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}
