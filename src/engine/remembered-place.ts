/** Which overlay a command is about: what the files of its agent say. */
import { readNetwork, type Network } from '../core/network';
import { parseSubnet, type IpAddress, type Subnet } from '../model/address';
import { parseDotenv } from '../model/dotenv';
import { ConfigError, HostError } from '../model/errors';
import { parseLeaseName } from '../model/lease-codec';
import { isMemoryOf, parseMemory, type Memory } from '../model/memory-codec';
import type { OwnPlaces } from '../model/ownership';
import { linkNameOf } from '../model/overlay';
import { parsePreviousSubnets } from '../model/subnet-env-codec';
import type { Host } from '../ports';

/** The place of this host in one overlay; its link may not be known. */
export interface RememberedPlace extends Omit<OwnPlaces, 'link'> {
  readonly link: string | undefined;
}

/** By the state file, if it is of the overlay whose configuration is at `place`, and by subnet.env; undefined where neither tells. */
export async function rememberedPlace(host: Host, place: string): Promise<RememberedPlace | undefined> {
  const [state, env] = await Promise.all([
    readOrNothing(host.readMemory()),
    readOrNothing(host.readSubnetFile()),
  ]);
  const memory = state === undefined ? undefined : parseMemory(state);
  const ours = memory && isMemoryOf(memory, place) ? memory : undefined;
  const network = ours && networkOf(ours.config);
  const saved = ours && parseLeaseName(ours.ownLease)?.subnet;
  const ownSubnets = [saved, env === undefined ? undefined : parsePreviousSubnets(env).ipv4].filter(
    (subnet) => subnet !== undefined,
  );
  const networks = [network?.range.network, ...networksOf(env), ...ownSubnets].filter(
    (subnet) => subnet !== undefined,
  );
  if (networks.length === 0) return undefined;
  const link = network && linkNameOf(network.backend);
  return { link, networks, ownSubnets, peerAddresses: addressesOf(ours) };
}

/** By the network's configuration alone; undefined where that cannot be used. */
export function placeInNetwork(config: string): RememberedPlace | undefined {
  const network = networkOf(config);
  return network && { link: linkNameOf(network.backend), networks: [network.range.network] };
}

function readOrNothing(reading: Promise<string | undefined>): Promise<string | undefined> {
  return reading.catch((error: unknown) => {
    if (error instanceof HostError) return undefined;
    throw error;
  });
}

function networkOf(config: string): Network | undefined {
  try {
    return readNetwork(config);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** `FLANNEL_NETWORK` may be a list. */
function networksOf(env: string | undefined): Subnet[] {
  const value = env === undefined ? undefined : parseDotenv(env).values.get('FLANNEL_NETWORK');
  return (value ?? '').split(',').flatMap((text) => parseSubnet(text.trim()) ?? []);
}

function addressesOf(memory: Memory | undefined): Set<IpAddress> {
  return new Set(memory?.leases.flatMap(({ attributes }) => attributes.publicIp ?? []));
}
