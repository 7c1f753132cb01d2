/** Carries out one command with the real outside world. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Agent } from './agent';
import { version } from '../package.json';
import type { Command } from './cli/command-line';
import { needsRegistry, runConfigCommand } from './cli/config-command';
import { processIo } from './cli/config-io';
import { OPTIONS } from './cli/options';
import { notEffective, printableOptions, type Options } from './cli/read-options';
import { cleanUpKernel, giveBackLeases, keepAgentsOut, reachOf, removeGuards } from './departure';
import { collectWhatIsLeft, compileFromNowOn, optimizeFromNowOn, startFrugally } from './frugality';
import { removeFirewallRules } from './engine/firewall-keeper';
import { lookForUnderlay, type UnderlayOptions } from './engine/prerequisites';
import { readPast } from './engine/past';
import { placeInNetwork, rememberedPlace, type RememberedPlace } from './engine/remembered-place';
import { keepServing } from './engine/serving';
import { EtcdRegistry } from './etcd/registry';
import { FirstHost } from './first-host';
import { requireNetAdmin } from './host/capabilities';
import { MonotonicClock } from './host/clock';
import { openControlSocket, type CloseControlSocket } from './host/control-socket';
import { EmbeddedEtcd, ETCD_PORTS, isOpen } from './host/embedded-etcd';
import { startHealthServer } from './host/health';
import { letHelpersGiveWay } from './host/helper-threads';
import { incarnation } from './host/incarnation';
import { LinuxHost } from './host/linux-host';
import { MACHINE_ID_FILE } from './host/machine-id';
import { stateFileFor } from './host/state-file';
import { notifySystemd, type ServiceState } from './host/systemd';
import { beatWatchdog } from './host/watchdog';
import { openFirewall } from './kernel/firewall/linux-firewall';
import { openVxlanGuard } from './kernel/firewall/vxlan-guard';
import { openKernel } from './kernel/linux-kernel';
import { raiseNeighborLimits, type NeighborLimits } from './kernel/neighbor-limits';
import { createLog, isJournal } from './log';
import { parseIpAddress, type IpAddress } from './model/address';
import { HostError, RegistryError, UsageError, describeError } from './model/errors';
import { withFormerNames } from './model/former-status';
import { mergeSubnetEnv } from './model/subnet-env-codec';
import type { Clock, Host, Kernel, LeaseRegistry, Log } from './ports';
import { kindOf } from './regular-file';

/** For the store alone, with nobody to serve. */
const NOWHERE = { address: '127.0.0.1' as IpAddress, publicIp: '127.0.0.1' as IpAddress };

/** How the process's signals reach what runs; filled in while it runs. */
export interface SignalHooks {
  moreVerbose: () => void;
  lessVerbose: () => void;
  audit: () => void;
  /** Node warns of something. */
  warned: (warning: Error) => void;
}

/** So long after its first pass an agent has settled. */
const SETTLED_MILLISECONDS = 3_000;

/** Returns the exit code. `stop` is what SIGTERM and SIGINT abort. */
export async function execute(
  command: Exclude<Command, { kind: 'print' | 'status' }>,
  hooks: SignalHooks,
  stop: AbortSignal,
): Promise<number> {
  switch (command.kind) {
    case 'run':
      return run(withOwnStateFile(command.options), hooks, stop).catch((error: unknown) => {
        notifySystemd(process.env, { status: describeError(error) });
        throw error;
      });
    case 'leave':
    case 'cleanup':
      return depart({ ...command, options: withOwnStateFile(command.options) }, stop);
    case 'config':
      return needsRegistry(command)
        ? withRegistry(command.options, undefined, (registry) =>
            runConfigCommand(command, registry, processIo(command.options.etcdEndpoints, stop)),
          )
        : runConfigCommand(command, undefined, processIo(command.options.etcdEndpoints, stop));
  }
}

async function run(options: Options, hooks: SignalHooks, stop: AbortSignal): Promise<number> {
  startFrugally();
  letHelpersGiveWay();
  const log = createLog({
    format: options.logFormat,
    verbosity: options.verbosity,
    journald: isJournal(process.env),
  });
  hooks.warned = (warning) => log.debug('Node warns', { text: describeError(warning) });
  let { verbosity } = options;
  const setVerbosity = (wanted: number) => {
    verbosity = Math.max(0, wanted);
    log.setVerbosity(verbosity);
    log.info('log verbosity changed', { verbosity });
  };
  log.info('vtepd starts', { ...printableOptions(options), pid: process.pid });
  for (const notice of [...options.notices, ...notEffective(options)]) log.warn(notice);

  refuseOtherThanFiles(options);
  requireNetAdmin();
  sayLimits(raiseNeighborLimits(), log);
  const kernel = openKernel();
  const guard = openVxlanGuard();
  const host = new LinuxHost({ subnetFile: options.subnetFile, memoryFile: options.stateFile });
  if (host.machineId() === undefined)
    log.warn('this host has no machine ID: it takes another subnet when it comes back with another address', {
      file: MACHINE_ID_FILE,
    });
  const clock = new MonotonicClock();
  const began = clock.now();
  let closeControl: CloseControlSocket | undefined;
  const firstHost = options.embeddedEtcd ? carryEtcd(options, host, clock, log) : undefined;
  const registry = etcdOf(options, log, firstHost?.permit);
  const healthEnd = new AbortController();
  let health: Promise<void> | undefined;
  try {
    const agent = new Agent(
      {
        configPlace: placeOf(options),
        underlay: underlayOf(options),
        resolve:
          options.resolve === 'preload'
            ? { kind: 'preload' }
            : { kind: 'on-demand', idleMilliseconds: options.idleTimeoutSeconds * 1000 },
        hasBlackholeRoute: options.ipBlackholeRoute,
        etcdAddresses: options.etcdEndpoints.flatMap((url) => parseIpAddress(hostOf(url)) ?? []),
        etcdNames: [...new Set(options.etcdEndpoints.map(hostOf))].filter((name) => !parseIpAddress(name)),
        renewMarginSeconds: options.renewMarginMinutes * 60,
        mayRenumber: options.subnetLost === 'renumber',
        peerGraceMilliseconds: options.peerGraceSeconds * 1000,
        firewallResyncSeconds: options.iptablesResyncSeconds,
        firewall: {
          ipMasq: options.ipMasq,
          fullyRandom: !options.ipMasqFullyRandomDisable,
          forward: options.iptablesForwardRules,
        },
        embeddedEtcd: firstHost,
        admitsPeersOnly: options.vxlanAdmission === 'on',
      },
      { registry, kernel, firewall: openFirewall(), guard, host, clock, log },
    );
    // What a start made hot is not hot any more then: it would be optimized for nothing.
    void agent.started
      .then(compileFromNowOn)
      .then(() => clock.sleep(SETTLED_MILLISECONDS, stop))
      .then(optimizeFromNowOn)
      .then(collectWhatIsLeft)
      .catch(() => undefined);
    Object.assign(hooks, {
      moreVerbose: () => setVerbosity(verbosity + 1),
      lessVerbose: () => setVerbosity(verbosity - 1),
      audit: () => agent.reload(),
    });
    closeControl = await openControlSocket((question) =>
      JSON.stringify(
        withFormerNames({
          ...processStatus(clock.now() - began),
          invitation: firstHost?.invitation,
          ...agent.status(question === 'peers'),
        }),
      ),
    ).catch((error: unknown) => {
      log.warn("'vtepd status' will find nobody", { error: describeError(error) });
      return undefined;
    });
    if (options.healthzPort > 0) {
      const { healthzIp: address, healthzPort: port } = options;
      const checks = { live: () => agent.liveness(), ready: () => agent.readiness() };
      const start = () => startHealthServer({ address, port, clock, ...checks });
      health = keepServing(start, clock, log, healthEnd.signal);
    }
    const { env, pid } = process;
    const watchdog = {
      ...{ env, pid, clock },
      notify: (state: ServiceState) => host.notify(state),
      stuck: () => agent.stuck(),
      silent: (reason: string) => log.error('stuck; systemd is to start another agent', { reason }),
    };
    void beatWatchdog(watchdog, stop);
    firstHost?.welcome(etcdOf(options, log, firstHost.reach));
    await agent.run(stop);
    host.notify({ stopping: true });
    log.info('vtepd stops; lease and kernel state stay as they are');
    return 0;
  } finally {
    closeControl?.();
    healthEnd.abort();
    await health;
    guard.close();
    kernel.close();
    registry.close();
    // The last to go: the other hosts ask it, too.
    await firstHost?.stop();
    await log.flush();
  }
}

function processStatus(runningMilliseconds: number) {
  return { version, processId: process.pid, runningSeconds: Math.round(runningMilliseconds / 1000) };
}

function sayLimits(limits: NeighborLimits, log: Log): void {
  if (limits.kind === 'refused')
    log.warn('cannot raise the limits of the neighbor table; set them by sysctl on the host', {
      error: limits.reason,
      missing: limits.missing.join('; '),
    });
  if (limits.kind === 'set' && limits.raised.length > 0) {
    log.info('limits of the neighbor table raised', { changes: limits.raised.join('; ') });
  }
}

async function depart(
  command: Extract<Command, { kind: 'leave' | 'cleanup' }>,
  stop: AbortSignal,
): Promise<number> {
  const { kind, options } = command;
  const keepsLinks = command.kind === 'cleanup' && command.forFlannel;
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  const kernel = openKernel();
  const guard = openVxlanGuard();
  const host = new LinuxHost({ subnetFile: options.subnetFile, memoryFile: options.stateFile });
  try {
    const reachFrom = async (place: RememberedPlace | undefined) => {
      const found = await reachOf(kernel, host, place, stop);
      await keepAgentsOut(kernel, host, stop, found);
      return found;
    };
    const remembered = await rememberedPlace(host, placeOf(options));
    const reach =
      kind === 'cleanup'
        ? await reachFrom(remembered)
        : await withRegistry(options, kernel, async (registry) => {
            const found = await reachFrom(remembered ?? (await storedPlace(registry, stop)));
            const past = await readPast(host, { warn: say }, placeOf(options));
            await giveBackLeases(registry, kernel, underlayOf(options), say, stop, past);
            return found;
          });
    const isKernelClean = await cleanUpKernel(kernel, host, keepsLinks, say, stop, reach);
    const areGuardsGone = removeGuards(guard, say, reach.others);
    const left = await removeFirewallRules(openFirewall(), say, stop, reach.others);
    const isClean = isKernelClean && areGuardsGone && left.length === 0;
    // Its subnet is nobody's now: the next start is to take another's leavings, not ours.
    if (kind === 'leave') {
      await forgetSubnet(host);
      await host.removeMemory();
    }
    if (kind === 'leave' && options.embeddedEtcd)
      say(
        `the etcd of this host keeps its data in ${etcdDirectoryOf(options)}; while no agent runs here, no host can ask it`,
      );
    return isClean ? 0 : 1;
  } finally {
    guard.close();
    kernel.close();
  }
}

/** Overlays of one host share no state file that the user did not name. */
function withOwnStateFile(options: Options): Options {
  const { stateFile, etcdPrefix, explicit } = options;
  const isShared = stateFile !== undefined && explicit.has('etcdPrefix') && !explicit.has('stateFile');
  if (!isShared || etcdPrefix === OPTIONS.etcdPrefix.fallback) return options;
  return { ...options, stateFile: stateFileFor(etcdPrefix, stateFile) };
}

/** The overlay that is meant, where no file of its agent says so: `leave` needs etcd anyway. */
async function storedPlace(registry: LeaseRegistry, stop: AbortSignal): Promise<RememberedPlace | undefined> {
  try {
    const stored = await registry.readConfig(stop);
    return stored && placeInNetwork(stored.text);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

/** Where the network configuration is. */
function placeOf({ etcdPrefix }: Options): string {
  return `${etcdPrefix}/config`;
}

/** Some things can never be such a file; waiting would not help. */
function refuseOtherThanFiles({ subnetFile, stateFile }: Options): void {
  for (const [option, path] of [
    ['--subnet-file', subnetFile],
    ['--state-file', stateFile],
  ] as const) {
    const what = path === undefined ? undefined : whatIsNoFile(path);
    const why = what ?? (/^\/(proc|sys)\//.test(path ?? '') ? 'no place for files' : undefined);
    if (why === undefined) continue;
    throw new UsageError(
      `${option}=${path}: that is ${why}, and a regular file is needed; to have none, give ${option}=`,
    );
  }
}

/** Undefined: a file, or none yet, or one that cannot be looked at now: whoever reads or writes it says so, and tries again. */
function whatIsNoFile(path: string): string | undefined {
  if (path.endsWith('/')) return 'a directory';
  try {
    const status = statSync(path);
    return status.isFile() ? undefined : kindOf(status);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ELOOP') return 'a circle of links';
    return code === 'ENAMETOOLONG' ? 'a name that is too long' : undefined;
  }
}

/** Our lines go; a file that others wrote to, as well, stays with theirs. */
async function forgetSubnet(host: Host): Promise<void> {
  const left = mergeSubnetEnv(await host.readSubnetFile(), undefined);
  if (left === '') await host.removeSubnetFile();
  else await host.writeSubnetFile(left);
}

/** For a command: an etcd that runs only while its agent does is started for as long as the command needs it. */
async function withRegistry<T>(
  options: Options,
  kernel: Kernel | undefined,
  use: (registry: LeaseRegistry) => Promise<T>,
): Promise<T> {
  const firstHost = options.embeddedEtcd ? await borrowEtcd(options, kernel) : undefined;
  const registry = etcdOf(options, undefined, firstHost?.permit ?? (() => refuseAbsent(options)));
  try {
    return await use(registry);
  } finally {
    registry.close();
    await firstHost?.stop();
  }
}

/** Undefined: an agent runs it, or we may not. */
async function borrowEtcd(options: Options, kernel: Kernel | undefined): Promise<FirstHost | undefined> {
  const host = new LinuxHost({ subnetFile: options.subnetFile });
  const log = createLog({ format: options.logFormat, verbosity: options.verbosity, journald: false });
  let firstHost: FirstHost;
  try {
    firstHost = carryEtcd(options, host, new MonotonicClock(), log);
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
  const asked = kernel ?? openKernel();
  try {
    const { choice } = await lookForUnderlay(asked, underlayOf(options), new AbortController().signal);
    firstHost.settle(choice.kind === 'chosen' ? choice.underlay : NOWHERE);
  } finally {
    if (!kernel) asked.close();
  }
  return firstHost;
}

/** Better than that nobody answers at an endpoint which the user did not name. */
async function refuseAbsent(options: Options): Promise<void> {
  const directory = etcdDirectoryOf(options);
  if (options.explicit.has('etcdEndpoints') || options.embeddedEtcd) return;
  if (!existsSync(directory) || (await isOpen(ETCD_PORTS.clientPort))) return;
  throw new RegistryError(
    'unavailable',
    `no etcd runs on this host; its embedded one (${directory}) does while its agent does, or for a command with --embedded-etcd`,
  );
}

/** Throws EBUSY while another agent carries one. */
function carryEtcd(options: Options, host: Host, clock: Clock, log: Log): FirstHost {
  host.lock('etcd');
  const etcd = { directory: etcdDirectoryOf(options), program: 'etcd', ...ETCD_PORTS };
  const { network, etcdPrefix, explicit } = options;
  const plan = {
    network,
    isNetworkAsked: explicit.has('network'),
    joinOptions: explicit.has('etcdPrefix') ? [`--etcd-prefix=${etcdPrefix}`] : [],
  };
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  return new FirstHost(plan, { server: new EmbeddedEtcd(etcd, clock, log), clock, log, say });
}

/** Beside what the agent remembers. */
function etcdDirectoryOf({ stateFile }: Options): string {
  return join(stateFile === undefined ? '/var/lib/vtepd' : dirname(resolve(stateFile)), 'etcd');
}

function etcdOf(
  options: Options,
  log: Log | undefined,
  permit?: (signal: AbortSignal) => Promise<void>,
): EtcdRegistry {
  return new EtcdRegistry({
    endpoints: options.etcdEndpoints,
    prefix: options.etcdPrefix,
    incarnation: incarnation(),
    caFile: options.etcdCafile,
    certFile: options.etcdCertfile,
    keyFile: options.etcdKeyfile,
    username: options.etcdUsername,
    password: options.etcdPassword,
    permit,
    log,
  });
}

function underlayOf({ iface, ifaceRegex, ifaceCanReach, publicIp }: Options): UnderlayOptions {
  return { iface, ifaceRegex, canReach: ifaceCanReach, publicIp };
}

/** The host of a URL; an IPv6 address without its brackets. */
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
