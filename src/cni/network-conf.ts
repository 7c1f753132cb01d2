/** The network configuration that the runtime hands us, as flannel's CNI plugin defines it. */
import { CNI_CODES, CniError } from './cni-error';
import { isIdentifier } from './request';
import { readVersion, type CniVersion } from './versions';

export type JsonObject = Readonly<Record<string, unknown>>;

export interface NetworkConf {
  readonly cniVersion: CniVersion;
  /** As it stands in the file: a delegate gets a version only if we got one. */
  readonly statedVersion: string | undefined;
  readonly name: string;
  readonly subnetFile: string;
  /** Where the delegates' configurations are kept, by container. */
  readonly dataDir: string;
  /** What the user wants of the delegate, as it stands there: DEL must not fail because of it. */
  readonly delegate: JsonObject;
  /** What the user wants of the delegate's IPAM plugin. */
  readonly ipam: JsonObject;
  readonly runtimeConfig: JsonObject | undefined;
  readonly prevResult: JsonObject | undefined;
  /** GC: the container IDs of all attachments that are still in use, whatever their interface. */
  readonly validAttachments: readonly JsonObject[];
}

const DEFAULTS = { subnetFile: '/run/flannel/subnet.env', dataDir: '/var/lib/cni/flannel' };

/** The version that a request states, without a look at the rest; undefined when there is none, or no JSON. */
export function statedVersionOf(text: string): string | undefined {
  try {
    const { cniVersion } = JSON.parse(text) as JsonObject;
    return typeof cniVersion === 'string' && cniVersion !== '' ? cniVersion : undefined;
  } catch {
    return undefined;
  }
}

/** Reads a configuration. Throws code 6 for what is no JSON or has a wrong type, 1 for its version, 7 for what it asks. */
export function parseNetworkConf(text: string): NetworkConf {
  const conf = parseObject(text, 'failed to load netconf');
  const cniVersion = readVersion(conf['cniVersion']);
  const name = stringOf(conf, 'name') ?? '';
  if (name === '') throw invalid('missing network name');
  if (!isIdentifier(name)) throw invalid('invalid characters found in network name', name);
  return {
    cniVersion,
    statedVersion: stringOf(conf, 'cniVersion') || undefined,
    name,
    subnetFile: pathOf(conf, 'subnetFile'),
    dataDir: pathOf(conf, 'dataDir'),
    delegate: objectOf(conf, 'delegate') ?? {},
    ipam: objectOf(conf, 'ipam') ?? {},
    runtimeConfig: objectOf(conf, 'runtimeConfig'),
    prevResult: objectOf(conf, 'prevResult'),
    validAttachments: listOf(conf, 'cni.dev/valid-attachments') as readonly JsonObject[],
  };
}

/** The JSON object that this text is; throws code 6 otherwise. */
export function parseObject(text: string, failure: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(CNI_CODES.undecodable, `${failure}: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new CniError(CNI_CODES.undecodable, `${failure}: not a JSON object`);
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for a name that can only be a file's in one of CNI_PATH's directories. */
export function isPluginName(type: string): boolean {
  return type !== '' && type !== '.' && type !== '..' && !/[/\0]/.test(type);
}

function stringOf(conf: JsonObject, key: string): string | undefined {
  const value = conf[key] ?? undefined;
  if (value === undefined || typeof value === 'string') return value;
  throw wrongType(key, 'text');
}

function objectOf(conf: JsonObject, key: string): JsonObject | undefined {
  const value = conf[key] ?? undefined;
  if (value === undefined || isObject(value)) return value;
  throw wrongType(key, 'an object');
}

function listOf(conf: JsonObject, key: string): readonly unknown[] {
  const value = conf[key] ?? [];
  if (Array.isArray(value)) return value;
  throw wrongType(key, 'a list');
}

function pathOf(conf: JsonObject, key: keyof typeof DEFAULTS): string {
  const path = stringOf(conf, key) || DEFAULTS[key];
  if (!path.startsWith('/') || path.includes('\0'))
    throw invalid(`${key} must be an absolute path, not ${JSON.stringify(path)}`);
  return path;
}

function wrongType(key: string, what: string): CniError {
  return new CniError(CNI_CODES.undecodable, `failed to load netconf: ${key} must be ${what}`);
}

function invalid(message: string, details?: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, message, details);
}
