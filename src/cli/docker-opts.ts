/** `vtepd docker-opts`: what Docker must be told of our subnet, in an environment file. Takes flannel's mk-docker-opts.sh's place. */
import { parseSubnet, printSubnet, type Subnet } from '../model/address';
import { parseDotenv } from '../model/dotenv';
import { describeError } from '../model/errors';
import { shorten } from '../model/json-fields';
import { parseDockerOptsArguments, type DockerOptsChoices } from './docker-opts-arguments';

/** The process and the host, as far as this command touches them. */
export interface DockerOptsIo {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** To standard output. */
  write(text: string): void;
  /** To standard error; `line` ends with a line feed. */
  complain(line: string): void;
  /** The file's text; undefined when there is no such file. */
  read(file: string): Promise<string | undefined>;
  /** Puts the text in the place of the file's at once, making its directory. A device or a pipe is written to instead. */
  replace(file: string, text: string): Promise<void>;
  /** The routes to exactly this subnet that go via a gateway, as `ip route show` prints them. */
  routesVia(subnet: Subnet): Promise<readonly string[]>;
  /** Before the next look at a file that is waited for. Rejects when we are asked to stop. */
  rest(): Promise<void>;
}

/** Runs the command with the words behind its name; returns the exit code, 0 or 1. Says on standard error why it is 1. */
export async function runDockerOpts(words: readonly string[], io: DockerOptsIo): Promise<number> {
  const choices = parseDockerOptsArguments(words);
  if (choices.kind === 'usage') {
    if (choices.isAsked) io.write(choices.text);
    else io.complain(choices.text);
    return choices.isAsked ? 0 : 1;
  }
  try {
    return await writeDockerOpts(choices, io);
  } catch (error) {
    io.complain(`vtepd docker-opts: ${describeError(error)}\n`);
    return 1;
  }
}

async function writeDockerOpts(choices: DockerOptsChoices, io: DockerOptsIo): Promise<number> {
  const { envFile, outputFile } = choices;
  const { values, lacks } = await (choices.waits ? awaitComplete(envFile, io) : look(envFile, io));
  if (lacks !== undefined) {
    io.complain(
      `vtepd docker-opts: ${envFile} ${lacks}; ${choices.isRequired ? 'nothing is written' : 'Docker will choose its own bridge address and MTU'}. ` +
        'vtepd writes it once this host has a subnet: see whether it runs, and what it waits for.\n',
    );
    if (choices.isRequired) return 1;
  }
  const output = dockerOptsText(values, choices, io.environment);
  if (outputFile === '-') io.write(output);
  else await io.replace(outputFile, output);

  const routes = (await Promise.all(ownSubnets(values).map((subnet) => io.routesVia(subnet)))).flat();
  for (const route of routes) io.complain(`Your routing table already contains the subnet: ${route}\n`);
  return routes.length > 0 ? 1 : 0;
}

interface SubnetFileLook {
  readonly values: ReadonlyMap<string, string>;
  /** Undefined: nothing. */
  readonly lacks: string | undefined;
}

async function look(envFile: string, io: DockerOptsIo): Promise<SubnetFileLook> {
  const text = await io.read(envFile);
  const { values } = parseDotenv(text ?? '');
  return { values, lacks: whatIsLacking(values, text !== undefined) };
}

/** Says what is lacking once, and again when it is something else. */
async function awaitComplete(envFile: string, io: DockerOptsIo): Promise<SubnetFileLook> {
  let said: string | undefined;
  for (;;) {
    const seen = await look(envFile, io);
    if (seen.lacks === undefined) return seen;
    if (seen.lacks !== said) {
      said = seen.lacks;
      io.complain(
        `vtepd docker-opts: ${envFile} ${said}; waiting for it. ` +
          "vtepd writes it once this host has a subnet: 'systemctl status vtepd' says what it waits for.\n",
      );
    }
    await io.rest();
  }
}

function whatIsLacking(values: ReadonlyMap<string, string>, exists: boolean): string | undefined {
  if (!exists) return 'does not exist';
  if (!values.get('FLANNEL_SUBNET') && !values.get('FLANNEL_IPV6_SUBNET')) return 'names no subnet';
  if (!values.get('FLANNEL_MTU')) return 'has no FLANNEL_MTU';
  return undefined;
}

/**
 * The output: a line for each option, and one with all of them behind what the environment has under that name already. Variables
 * named DOCKER_OPT_… that are in the environment count as options too. Throws an Error for values that Docker would not take.
 */
export function dockerOptsText(
  values: ReadonlyMap<string, string>,
  choices: Pick<DockerOptsChoices, 'individual' | 'combined' | 'combinedKey' | 'withIpMasq'>,
  environment: DockerOptsIo['environment'],
): string {
  const { combinedKey } = choices;
  const options = new Map(
    Object.entries(environment).filter(([name]) => /^DOCKER_OPT_\w*$/.test(name) && name !== combinedKey),
  );
  for (const [name, value] of ownOptions(values, choices.withIpMasq)) options.set(name, value);
  const sorted = [...options]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [name, value ?? ''] as const);

  const all = sorted.map(([, value]) => ` ${value}`).join('');
  // Docker's own unit reads this file too: what we gave it last time must not come back to us, to be given twice.
  // Nor may an earlier subnet's, of which Docker would find two.
  const before = withoutOptions(
    environment[combinedKey] ?? '',
    sorted.map(([, value]) => value),
  );
  return [
    ...(choices.individual ? sorted : []),
    ...(choices.combined ? [[combinedKey, `${before && `${before} `}${all}`] as const] : []),
  ]
    .map(([name, value]) => `${name}="${value.replace(/["\\$`]/g, '\\$&')}"\n`)
    .join('');
}

/** A command line without the options that stand in `options`, whatever their values are. */
function withoutOptions(line: string, options: readonly string[]): string {
  let left = line;
  for (const option of options) {
    const name = /^--?([\w-]+)/.exec(option)?.[1];
    if (name === undefined) continue;
    const value = option.includes('=') && !/=(true|false)$/.test(option) ? '(?:=|\\s+)\\S+' : '(?:=\\S+)?';
    left = left.replace(new RegExp(`(^|\\s)--?${name}${value}(?=\\s|$)`, 'g'), '');
  }
  return left.trimEnd();
}

function* ownOptions(values: ReadonlyMap<string, string>, withIpMasq: boolean): Generator<[string, string]> {
  const ipv4 = values.get('FLANNEL_SUBNET');
  const ipv6 = values.get('FLANNEL_IPV6_SUBNET');
  const mtu = values.get('FLANNEL_MTU');
  const ipMasq = values.get('FLANNEL_IPMASQ');
  // The bridge's own address: the text as it is, not the subnet.
  if (ipv4) {
    subnetIn('FLANNEL_SUBNET', ipv4);
    yield ['DOCKER_OPT_BIP', `--bip=${ipv4}`];
  }
  if (ipv6) {
    // Docker gives the first address of it to the bridge, which is the one FLANNEL_IPV6_SUBNET names.
    yield [
      'DOCKER_OPT_FIXED_CIDR_V6',
      `--fixed-cidr-v6=${printSubnet(subnetIn('FLANNEL_IPV6_SUBNET', ipv6))}`,
    ];
    yield ['DOCKER_OPT_IPV6', '--ipv6'];
  }
  if (ipMasq && withIpMasq) {
    if (ipMasq !== 'true' && ipMasq !== 'false')
      throw new Error(`Invalid value of FLANNEL_IPMASQ: ${shorten(ipMasq)}`);
    // One of the two masquerades, never both.
    yield ['DOCKER_OPT_IPMASQ', `--ip-masq=${ipMasq !== 'true'}`];
  }
  if (mtu) {
    if (!/^\d+$/.test(mtu)) throw new Error(`Invalid value of FLANNEL_MTU: ${shorten(mtu)}`);
    yield ['DOCKER_OPT_MTU', `--mtu=${mtu}`];
  }
}

function ownSubnets(values: ReadonlyMap<string, string>): Subnet[] {
  return ['FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET'].flatMap((key) => {
    const text = values.get(key);
    return text ? [subnetIn(key, text)] : [];
  });
}

function subnetIn(key: string, text: string): Subnet {
  const subnet = parseSubnet(text);
  if (subnet) return subnet;
  throw new Error(`Invalid value of ${key}: ${shorten(text)}`);
}
