/** Which configurations this agent can carry out. */
import { ConfigError } from '../model/errors';
import { shorten } from '../model/json-fields';
import type { SubnetRange, VxlanBackend } from '../model/network-config';
import { parseNetworkConfig } from '../model/network-config-codec';

/** A configuration this agent can carry out. */
export interface Network {
  /** As it is stored. */
  readonly text: string;
  readonly range: SubnetRange;
  readonly backend: VxlanBackend;
  /** Undefined: what this host uses. */
  readonly enableNfTables: boolean | undefined;
  /** What it asks for and does not get, each a sentence. */
  readonly remarks: readonly string[];
}

/** Reads a configuration; throws a {@link ConfigError} for one that is malformed, or that asks for what we cannot do. */
export function readNetwork(text: string): Network {
  const { ipv4, ipv6, backend, enableNfTables } = parseNetworkConfig(text);
  if (backend.type !== 'vxlan') {
    const name = backend.name === '' ? 'a backend without a Type' : `backend '${shorten(backend.name)}'`;
    throw new ConfigError(`it asks for ${name}; vtepd knows vxlan: {"Backend": {"Type": "vxlan"}}`);
  }
  if (!ipv4) throw new ConfigError('it disables IPv4; an overlay of IPv6 alone is not supported yet');
  const remarks: string[] = [];
  if (ipv6) remarks.push('IPv6 of the network configuration is not effective yet; the overlay carries IPv4');
  if (backend.directRouting)
    remarks.push(
      'Backend.DirectRouting is ignored: we send everything by VXLAN, and take what flannel sends around it',
    );
  return { text, range: ipv4, backend, enableNfTables, remarks };
}
