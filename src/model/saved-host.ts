/** What the state file says of the host that wrote it: by this a host knows its lease again after its address has changed. */
import { parseIpAddress, type IpAddress, type Subnet } from './address';
import { parseLeaseName, vtepMacOf } from './lease-codec';
import { parseMacAddress, type MacAddress } from './mac';
import { parseMemory } from './memory-codec';

export interface SavedHost {
  /** Tells machines apart, except for clones; undefined where the machine has none. */
  readonly machineId: string | undefined;
  /** Our VXLAN device: `flannel.1`. */
  readonly link: string;
  /** The underlay: its interface, with its hardware address where it has one, and its own address. */
  readonly interface: string;
  readonly hardwareAddress: MacAddress | undefined;
  readonly address: IpAddress;
}

/** The lease that this host held when the file was written. */
export interface SavedLease {
  readonly subnet: Subnet;
  readonly publicIp: IpAddress | undefined;
  readonly vtepMac: MacAddress | undefined;
  /** Undefined in a file of v0.1.0 and before. */
  readonly host: SavedHost | undefined;
}

/** In the file, all that is not a lease comes before the leases. Inside a JSON string its quotes would be escaped. */
const LEASES = ',"leases":[';

/**
 * The lease and the host of a state file, without reading all its leases. Undefined for a file of another network (`place` is where
 * the configuration is), and for a damaged one.
 */
export function parseSavedLease(text: string, place: string): SavedLease | undefined {
  const head = headOf(text);
  if (!head || (head['place'] ?? place) !== place || typeof head['ownLease'] !== 'string') return undefined;
  const subnet = parseLeaseName(head['ownLease'])?.subnet;
  if (!subnet) return undefined;
  const fields = isRecord(head['host']) ? head['host'] : undefined;
  const host = fields && hostOf(fields);
  if (!fields || !host) {
    const own = parseMemory(text)?.leases.find(({ name }) => name === head['ownLease']);
    return { subnet, publicIp: own?.attributes.publicIp, vtepMac: own && vtepMacOf(own), host: undefined };
  }
  return { subnet, publicIp: addressOf(fields['publicIp']), vtepMac: macOf(fields['vtepMac']), host };
}

/** What {@link parseSavedLease} reads back, beside the name of our lease. */
export function printSavedHost(
  host: SavedHost,
  { publicIp, vtepMac }: Pick<SavedLease, 'publicIp' | 'vtepMac'>,
) {
  return { ...host, publicIp, vtepMac };
}

function headOf(text: string): Record<string, unknown> | undefined {
  const end = text.indexOf(LEASES);
  try {
    const value: unknown = JSON.parse(end < 0 ? text : `${text.slice(0, end)}}`);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function hostOf(fields: Record<string, unknown>): SavedHost | undefined {
  const { machineId, link, interface: name } = fields;
  const address = addressOf(fields['address']);
  if (typeof link !== 'string' || typeof name !== 'string' || address === undefined) return undefined;
  return {
    machineId: typeof machineId === 'string' ? machineId : undefined,
    link,
    interface: name,
    hardwareAddress: macOf(fields['hardwareAddress']),
    address,
  };
}

function addressOf(value: unknown): IpAddress | undefined {
  return typeof value === 'string' ? parseIpAddress(value) : undefined;
}

function macOf(value: unknown): MacAddress | undefined {
  return typeof value === 'string' ? parseMacAddress(value) : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
