/** `vtepd config set|get|check`: the network configuration as an administrator handles it. */
import { contains, type Subnet } from '../model/address';
import { ConfigError, HostError, RegistryError, describeError } from '../model/errors';
import type { Lease } from '../model/lease';
import type { NetworkConfig } from '../model/network-config';
import { parseNetworkConfig, printNetworkConfig } from '../model/network-config-codec';
import type { LeaseRegistry, StoredConfig } from '../ports';
import type { ConfigCommand } from './command-line';
import {
  costsOf,
  describeChanges,
  describeConfig,
  hiddenAddresses,
  objectionsTo,
  remarksOn,
  remarksOnText,
  type NeededAddress,
} from './config-remarks';

/** What the command may touch. */
export interface ConfigIo {
  /** To standard output. */
  write(text: string): void;
  /** To standard output, byte by byte. */
  copy(text: string): void;
  /** To standard error. */
  complain(text: string): void;
  /** The text of a file, or of standard input for `-`. Throws a {@link HostError}. */
  read(file: string): Promise<string>;
  /** Addresses that this host needs by its underlay: name servers, gateways, etcd. Empty where they cannot be told. */
  needed(): Promise<readonly NeededAddress[]>;
  readonly signal: AbortSignal;
}

/** False for the one thing that works without etcd: to check a file. */
export function needsRegistry(command: ConfigCommand): boolean {
  return command.action !== 'check' || command.file === undefined;
}

/**
 * Does it, and says so. Returns the exit code: 0 done, 1 not done, with the reason on standard error. `registry` may be undefined
 * only where {@link needsRegistry} says so.
 */
export async function runConfigCommand(
  command: ConfigCommand,
  registry: LeaseRegistry | undefined,
  io: ConfigIo,
): Promise<number> {
  try {
    switch (command.action) {
      case 'set':
        return await set(command, registry!, io);
      case 'get':
        return await get(command, registry!, io);
      case 'check':
        return await check(command, registry, io);
    }
  } catch (error) {
    const isExpected =
      error instanceof RegistryError || error instanceof HostError || error instanceof ConfigError;
    if (!isExpected) throw error;
    io.complain(`${describeError(error)}\n`);
    return 1;
  }
}

async function set(command: ConfigCommand, registry: LeaseRegistry, io: ConfigIo): Promise<number> {
  const text = await io.read(command.file!);
  const config = readGood(text, nameOf(command.file!));
  const stored = await registry.readConfig(io.signal);
  const place = placeOf(command);
  if (stored?.text === text) {
    io.write(`${place} is this already; nothing to do\n`);
    return 0;
  }
  await nameCosts(stored, config, registry, io);
  await nameHidden(config, io);
  if (command.dryRun) {
    io.write(`would be stored at ${place}: ${describeConfig(config)}\n`);
    if (stored) io.write(whatChanged(stored, config));
    nameRemarks(text, config, io);
    return 0;
  }
  const outcome = await registry.writeConfig(text, stored?.modRevision, io.signal);
  if (outcome === 'conflict') {
    io.complain(`somebody else changed ${place} just now; nothing was stored: look at it, and try again\n`);
    return 1;
  }
  io.write(`stored at ${place}: ${describeConfig(config)}\n`);
  if (stored) io.write(whatChanged(stored, config));
  nameRemarks(text, config, io);
  await nameStrangers(config, registry, io);
  return 0;
}

async function get(command: ConfigCommand, registry: LeaseRegistry, io: ConfigIo): Promise<number> {
  const { text } = await readStored(command, registry, io);
  if (command.raw) io.copy(text.endsWith('\n') ? text : `${text}\n`);
  else io.write(printNetworkConfig(read(text, placeOf(command))));
  return 0;
}

async function check(
  command: ConfigCommand,
  registry: LeaseRegistry | undefined,
  io: ConfigIo,
): Promise<number> {
  const { file } = command;
  const name = file === undefined ? placeOf(command) : nameOf(file);
  const text = file === undefined ? (await readStored(command, registry!, io)).text : await io.read(file);
  const config = readGood(text, name);
  io.write(`${name} is good: ${describeConfig(config)}\n`);
  await nameHidden(config, io);
  nameRemarks(text, config, io);
  return 0;
}

function read(text: string, name: string): NetworkConfig {
  try {
    return parseNetworkConfig(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`${name} is wrong: ${error.message}`, { cause: error });
  }
}

/** A configuration that agents can carry out. */
function readGood(text: string, name: string): NetworkConfig {
  const config = read(text, name);
  const [objection] = objectionsTo(config);
  if (objection !== undefined) throw new ConfigError(`${name} is of no use to vtepd: ${objection}`);
  return config;
}

async function readStored(
  command: ConfigCommand,
  registry: LeaseRegistry,
  io: ConfigIo,
): Promise<StoredConfig> {
  const stored = await registry.readConfig(io.signal);
  if (stored) return stored;
  throw new ConfigError(`there is nothing at ${placeOf(command)}; store one with 'vtepd config set FILE'`);
}

function nameRemarks(text: string, config: NetworkConfig, io: ConfigIo): void {
  for (const remark of [...remarksOnText(text), ...remarksOn(config)]) io.write(`note: ${remark}\n`);
}

function whatChanged(before: StoredConfig, config: NetworkConfig): string {
  let old: NetworkConfig;
  try {
    old = parseNetworkConfig(before.text);
  } catch (error) {
    return `what it replaces was wrong: ${describeError(error)}\n`;
  }
  const changes = describeChanges(old, config);
  if (changes.length === 0) return 'only the text changed, and nothing of its meaning\n';
  const lines = changes.map((change) => `  ${change}\n`).join('');
  return `changed:\n${lines}agents that run go on with the old one until they are restarted\n`;
}

/** Leases of the old network stay, and their holders go on: an administrator should know. */
async function nameStrangers(config: NetworkConfig, registry: LeaseRegistry, io: ConfigIo): Promise<void> {
  let leases: readonly Lease[];
  try {
    ({ leases } = await registry.list(io.signal));
  } catch (error) {
    // The configuration is stored: that is what was asked for.
    if (!(error instanceof RegistryError)) throw error;
    io.write(
      `note: whether all leases lie in this network could not be looked up: ${describeError(error)}\n`,
    );
    return;
  }
  const isIn = (range: { network: Subnet } | undefined, subnet: Subnet | undefined) =>
    !range || !subnet || contains(range.network, subnet);
  const strangers = leases.filter(
    ({ subnet, ipv6Subnet }) => !isIn(config.ipv4, subnet) || !isIn(config.ipv6, ipv6Subnet),
  );
  if (strangers.length === 0) return;
  const shown = strangers.slice(0, 5).map(({ name }) => name);
  const more = strangers.length > shown.length ? `, … (${strangers.length} in all)` : '';
  io.write(`note: outside this network there are leases: ${shown.join(', ')}${more}\n`);
}

/** Before anything is stored: an administrator may want to stop here, or to choose another hour. */
async function nameCosts(
  stored: StoredConfig | undefined,
  config: NetworkConfig,
  registry: LeaseRegistry,
  io: ConfigIo,
): Promise<void> {
  if (!stored) return;
  try {
    const before = parseNetworkConfig(stored.text);
    const { leases } = await registry.list(io.signal);
    for (const cost of costsOf(before, config, leases)) io.write(`warning: ${cost}\n`);
  } catch (error) {
    // What is there may be wrong, and the leases out of reach: neither keeps a good configuration from being stored.
    if (error instanceof RegistryError)
      io.write(
        `warning: what the change costs the hosts that are there could not be looked up: ${describeError(error)}\n`,
      );
    else if (!(error instanceof ConfigError)) throw error;
  }
}

async function nameHidden(config: NetworkConfig, io: ConfigIo): Promise<void> {
  for (const sentence of hiddenAddresses(config, await io.needed())) io.write(`warning: ${sentence}\n`);
}

function placeOf(command: ConfigCommand): string {
  return `${command.options.etcdPrefix === '/' ? '' : command.options.etcdPrefix}/config`;
}

function nameOf(file: string): string {
  return file === '-' ? 'standard input' : file;
}
