/** A CNI plugin of type flannel: it tells another plugin what this host's subnet is, and leaves the work to it. */
import { CNI_CODES, CniError, cniErrorOf, printError } from './cni-error';
import { runDelegate } from './delegate';
import { delegateConfig, subnetsOf } from './delegate-config';
import {
  parseNetworkConf,
  parseObject,
  statedVersionOf,
  type JsonObject,
  type NetworkConf,
} from './network-conf';
import { withGateways } from './prev-result';
import { readRequest, type Request } from './request';
import { SavedConfigs, type SavedConfig } from './saved-configs';
import { readSubnetFile, type HostSubnets } from './subnet-file';
import { VERSIONS, requireCommand } from './versions';

export interface Answer {
  /** For standard output. */
  readonly output: string;
  /** For standard error. */
  readonly remark: string;
  readonly exitCode: 0 | 1;
}

/** What a runtime with this environment, and this on our standard input, gets. Never throws. */
export function answer(environment: NodeJS.ProcessEnv, readInput: () => string): Answer {
  if (!environment['CNI_COMMAND']) return { output: '', remark: about(), exitCode: 0 };
  let version: string | undefined;
  try {
    const request = readRequest(environment);
    const input = readInput();
    version = statedVersionOf(input);
    if (request.command === 'VERSION') {
      const cniVersion = version ?? VERSIONS.at(-1);
      return success(JSON.stringify({ cniVersion, supportedVersions: VERSIONS }));
    }
    const conf = parseNetworkConf(input);
    requireCommand(request.command, conf.cniVersion);
    return carryOut(request, conf);
  } catch (error) {
    const speaks = VERSIONS.find((each) => each === version) ?? VERSIONS.at(-1)!;
    return { output: printError(cniErrorOf(error), speaks), remark: '', exitCode: 1 };
  }
}

function carryOut(request: Request, conf: NetworkConf): Answer {
  switch (request.command) {
    case 'ADD':
      return add(request, conf);
    case 'DEL':
      return remove(request, conf);
    case 'CHECK':
      return check(request, conf);
    case 'STATUS':
      return status(request, conf);
    case 'GC':
      return collect(request, conf);
    case 'VERSION':
      throw new Error('VERSION needs no configuration');
  }
}

/** Saves what the delegate will be told before it is told: whatever happens from here on, DEL finds it. */
function add(request: Request, conf: NetworkConf): Answer {
  const config = delegateConfig(conf, hostSubnets(conf, CNI_CODES.tryAgainLater));
  const savedConfigs = savedConfigsOf(conf);
  const before = savedConfigs.load(request.containerId);
  savedConfigs.save(request.containerId, JSON.stringify(config));
  let result: string;
  try {
    result = runDelegate(request, config);
  } catch (error) {
    // The delegate did not begin: its DEL would be refused in the same way, for ever.
    const saved = wasRefused(error) && !before && savedConfigs.load(request.containerId);
    if (saved) savedConfigs.remove(saved);
    throw error;
  }
  parseObject(result, `${String(config['type'])} did not answer ADD with a result`);
  return success(result);
}

/** The file goes only when the delegate has cleaned up, so that a DEL that failed can be repeated, and any number may follow. */
function remove(request: Request, conf: NetworkConf): Answer {
  const savedConfigs = savedConfigsOf(conf);
  const saved = savedConfigs.load(request.containerId);
  if (!saved) {
    savedConfigs.removeUnfinished(request.containerId);
    return success();
  }
  let config: JsonObject;
  try {
    config = replayed(saved, conf);
  } catch (error) {
    // As flannel's plugin: a DEL that can never succeed would keep the runtime from removing the container.
    return success(
      '',
      `${cniErrorOf(error).message}; nothing is cleaned up, and the file stays for a look at it\n`,
    );
  }
  try {
    runDelegate(request, config);
  } catch (error) {
    if (!wasRefused(error)) throw error;
    savedConfigs.remove(saved);
    return success(
      '',
      `${cniErrorOf(error).message}; the delegate made nothing in this version, and it is forgotten\n`,
    );
  }
  savedConfigs.remove(saved);
  return success();
}

/** The delegate does not speak the version it was asked in, so it has made nothing in it. */
function wasRefused(error: unknown): boolean {
  return error instanceof CniError && error.code === CNI_CODES.incompatibleVersion;
}

function check(request: Request, conf: NetworkConf): Answer {
  if (!conf.prevResult) throw new CniError(CNI_CODES.invalidConfig, 'required prevResult missing');
  const saved = savedConfigsOf(conf).load(request.containerId);
  if (!saved)
    throw new CniError(CNI_CODES.unknownContainer, `nothing is saved for this container in ${conf.dataDir}`);
  const config = replayed(saved, { ...conf, prevResult: withGateways(conf.prevResult) });
  // Without the file we do not know: packets flow while the agent is away.
  const now = readSubnetFile(conf.subnetFile)?.subnets;
  const strayed = now && subnetsOf(config).filter((subnet) => !now.includes(subnet));
  if (strayed && strayed.length > 0) {
    throw new CniError(
      CNI_CODES.subnetChanged,
      `the container's subnet ${strayed.join(' and ')} is not this host's any more, which is ${now.join(' and ')}`,
      'other hosts cannot reach the container; it gets a new address when it is made anew',
    );
  }
  runDelegate(request, config);
  return success();
}

function status(request: Request, conf: NetworkConf): Answer {
  runDelegate(request, delegateConfig(conf, hostSubnets(conf, CNI_CODES.notAvailable)));
  return success();
}

/** The delegate collects its own first: only then nobody will need what we saved. */
function collect(request: Request, conf: NetworkConf): Answer {
  const savedConfigs = savedConfigsOf(conf);
  const all = savedConfigs.list();
  const host = readSubnetFile(conf.subnetFile);
  const config = host ? delegateConfig(conf, host) : all[0] && replayed(all[0], conf);
  if (!config) return success();
  const valid = new Set(conf.validAttachments.map((each) => each['containerID']));
  runDelegate(request, { ...config, 'cni.dev/valid-attachments': conf.validAttachments });
  for (const saved of all) if (!valid.has(saved.containerId)) savedConfigs.remove(saved);
  return success();
}

/** What the delegate was told at ADD, with the result of that. A result in another version it would not understand. */
function replayed(saved: SavedConfig, conf: NetworkConf): JsonObject {
  const config = parseObject(saved.text, `what is saved in ${conf.dataDir}/${saved.file} is damaged`);
  const isSameVersion = config['cniVersion'] === conf.statedVersion;
  return conf.prevResult && isSameVersion ? { ...config, prevResult: conf.prevResult } : config;
}

function hostSubnets({ subnetFile }: NetworkConf, code: number): HostSubnets {
  const host = readSubnetFile(subnetFile);
  if (host) return host;
  throw new CniError(
    code,
    `open ${subnetFile}: no such file or directory`,
    'vtepd (or flanneld) writes it as soon as this host has a subnet; is it running, and ready?',
  );
}

function savedConfigsOf(conf: NetworkConf): SavedConfigs {
  return new SavedConfigs(conf.dataDir, conf.name);
}

function success(output = '', remark = ''): Answer {
  return { output, remark, exitCode: 0 };
}

function about(): string {
  return (
    'vtepd-cni is a CNI plugin of type flannel: container runtimes run it, with CNI_COMMAND set.\n' +
    `CNI protocol versions supported: ${VERSIONS.join(', ')}\n`
  );
}
