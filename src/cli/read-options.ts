/** Options from what was written on the command line, in the environment and in vtepd.conf. */
import { printSubnet } from '../model/address';
import { UsageError } from '../model/errors';
import { shorten } from '../model/json-fields';
import { parseConfigFile, type ConfigLines, type ReadConfigFile } from './config-file';
import { nearest } from './nearest';
import { BadValue, SecretBadValue, isFalse, withSchemes } from './option-values';
import {
  OPTIONS,
  OPTION_KEYS,
  dashed,
  namesOf,
  variableOf,
  type OptionKey,
  type OptionSpec,
  type OptionValues,
} from './options';
import { IGNORED, REFUSED } from './refused-options';
import { RENAMED, renamedNotice } from './renamed-options';

export interface Options extends OptionValues {
  /** What the user set, by command line, environment or file. */
  readonly explicit: ReadonlySet<OptionKey>;
  /** Oddities that are no errors, each a sentence for the log. */
  readonly notices: readonly string[];
}

/** What stands on the command line for an option: each occurrence, in order. */
export type WrittenOptions = Readonly<Partial<Record<OptionKey, readonly string[]>>>;

/**
 * The command line wins over the environment, the environment over the file, the file over the defaults; empty variables count
 * as unset. `remarks` on the command line go before all notices. Throws a {@link UsageError} that names the option, variable or line, what is wrong with it and what is allowed.
 */
export function readOptions(
  written: WrittenOptions,
  env: NodeJS.ProcessEnv,
  readFile: ReadConfigFile,
  remarks: readonly string[] = [],
): Options {
  const notices = [...remarks, ...noticesOfEnvironment(env)];
  const fromFile = readFromFile(written, env, readFile, notices);
  const explicit = new Set<OptionKey>();
  const values: Partial<Record<OptionKey, unknown>> = {};
  for (const key of OPTION_KEYS) {
    const spec = OPTIONS[key] as OptionSpec<unknown>;
    const source = sourceOf(key, written, env) ?? fromFile.get(key);
    if (source) explicit.add(key);
    values[key] = source ? readSource(spec, source) : readDefault(spec);
  }
  const read = values as unknown as OptionValues;
  const usesTls = read.etcdCafile !== undefined || read.etcdCertfile !== undefined;
  const options: Options = {
    ...read,
    etcdEndpoints: withSchemes(read.etcdEndpoints, usesTls),
    explicit,
    notices,
  };
  refuseContradictions(options);
  if (options.embeddedEtcd) Object.assign(options, { etcdEndpoints: [EMBEDDED_ENDPOINT] });
  notices.push(...whatHasNoEffect(options), ...whatIsUnsafe(options, env));
  return Object.freeze(options);
}

/** Each occurrence of an option in the place that counts, in order. */
type Source = readonly {
  /** `--iface`, `FLANNELD_IFACE` or `/etc/vtepd/vtepd.conf, line 3: iface`. */
  readonly name: string;
  readonly text: string;
}[];

function sourceOf(key: OptionKey, written: WrittenOptions, env: NodeJS.ProcessEnv): Source | undefined {
  const texts = written[key];
  if (texts) return texts.map((text) => ({ name: dashed(OPTIONS[key].name), text }));
  const variable = namesOf(key)
    .map(variableOf)
    .find((name) => env[name]);
  return variable === undefined ? undefined : [{ name: variable, text: env[variable]! }];
}

function readFromFile(
  written: WrittenOptions,
  env: NodeJS.ProcessEnv,
  readFile: ReadConfigFile,
  notices: string[],
): ConfigLines {
  const spec = OPTIONS.configFile;
  const source = sourceOf('configFile', written, env);
  const path = (source?.at(-1)?.text ?? spec.fallback) || undefined;
  const file = path === undefined ? undefined : readFile(path);
  if (path === undefined || !file) {
    if (path !== undefined && source)
      throw new UsageError(`${source.at(-1)!.name}: there is no file ${path}`);
    return new Map();
  }
  const lines = parseConfigFile(file.text, path);
  if (file.isPublic && lines.has('etcdPassword'))
    notices.push(
      `every user of this host can read the password in ${path}: chgrp vtepd ${path}; chmod 640 ${path}`,
    );
  for (const [key, written] of lines)
    for (const { name, isRenamed } of written)
      if (isRenamed) notices.push(renamedNotice(name, OPTIONS[key].name));
  return lines;
}

function readSource(spec: OptionSpec<unknown>, source: Source): unknown {
  // `--iface=` names none, as with flannel.
  const given = spec.repeatable ? source.filter(({ text }) => text !== '') : source;
  const values = given.map(({ name, text }): unknown => {
    try {
      return spec.read(text);
    } catch (error) {
      if (!(error instanceof BadValue)) throw error;
      const shown =
        spec.secret || error instanceof SecretBadValue ? '' : `, not '${shorten(text, LONGEST_SHOWN)}'`;
      throw new UsageError(`${name} ${error.message}${shown}`);
    }
  });
  return spec.repeatable ? Object.freeze(values) : values.at(-1);
}

function readDefault(spec: OptionSpec<unknown>): unknown {
  if (spec.fallback !== undefined) return spec.read(spec.fallback);
  return spec.repeatable ? Object.freeze([]) : undefined;
}

const PREFIX = 'FLANNELD_';
/** Some write our name instead. */
const MISTAKEN_PREFIX = 'VTEPD_';
/** Of a wrong value, so many characters are shown. */
const LONGEST_SHOWN = 200;

/** Flannel's other variables: those of refused options are refused too, those of nobody may be typing errors. */
function noticesOfEnvironment(env: NodeJS.ProcessEnv): string[] {
  const known = [...OPTION_KEYS.map((key) => OPTIONS[key].name), ...Object.keys(IGNORED)].map(variableOf);
  const notices: string[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (text && variable.startsWith(MISTAKEN_PREFIX)) {
      const meant = `${PREFIX}${variable.slice(MISTAKEN_PREFIX.length)}`;
      if (known.includes(meant))
        notices.push(`the variable ${variable} has no meaning; did you mean ${meant}?`);
    }
    if (!variable.startsWith(PREFIX) || !text || known.includes(variable)) continue;
    const former = Object.keys(RENAMED).find((name) => variableOf(name) === variable);
    if (former !== undefined) {
      notices.push(renamedNotice(variable, variableOf(OPTIONS[RENAMED[former]!].name)));
      continue;
    }
    const name = Object.keys(REFUSED).find((refused) => variableOf(refused) === variable);
    if (name !== undefined) {
      const { boolean, advice } = REFUSED[name]!;
      if (boolean && isFalse(text)) continue;
      throw new UsageError(`${variable} ${advice}`);
    }
    const meant = nearest(
      variable.slice(PREFIX.length),
      known.map((each) => each.slice(PREFIX.length)),
    );
    notices.push(
      `the variable ${variable} has no meaning${meant ? `; did you mean ${PREFIX}${meant}?` : ''}`,
    );
  }
  return notices;
}

/** Where the agent reaches the etcd of its own host. */
const EMBEDDED_ENDPOINT = 'http://127.0.0.1:2379';

/** What is about an etcd that somebody else runs. */
const ELSEWHERE = [
  ...(['etcdEndpoints', 'etcdCafile', 'etcdCertfile', 'etcdKeyfile'] as const),
  ...(['etcdUsername', 'etcdPassword'] as const),
];

function refuseContradictions(options: Options): void {
  if (options.embeddedEtcd) {
    const other = ELSEWHERE.find((key) => options.explicit.has(key));
    if (other)
      throw new UsageError(
        `--embedded-etcd is an etcd of this host's own, without TLS and users: leave out --${OPTIONS[other].name}, or say --embedded-etcd=false`,
      );
  }
  const together = (one: OptionKey, other: OptionKey) => {
    if (options[one] !== undefined && options[other] === undefined)
      throw new UsageError(`--${OPTIONS[one].name} needs --${OPTIONS[other].name} too`);
  };
  together('etcdKeyfile', 'etcdCertfile');
  together('etcdCertfile', 'etcdKeyfile');
  together('etcdUsername', 'etcdPassword');
  together('etcdPassword', 'etcdUsername');
}

function whatHasNoEffect(options: Options): string[] {
  const notices: string[] = [];
  const isTlsUsed = options.etcdEndpoints.some((url) => /^https:/i.test(url));
  for (const key of ['etcdCafile', 'etcdCertfile'] as const) {
    if (options[key] !== undefined && !isTlsUsed)
      notices.push(`--${OPTIONS[key].name} has no effect: no etcd endpoint begins with https://`);
  }
  if (options.explicit.has('network') && !options.embeddedEtcd)
    notices.push(
      "--network has no effect without --embedded-etcd; elsewhere 'vtepd config set' stores the network",
    );
  if (options.explicit.has('idleTimeoutSeconds') && options.resolve !== 'on-demand')
    notices.push('--idle-timeout has no effect without --resolve=on-demand');
  return notices;
}

/** Node heeds it in all that a process does by TLS. */
function whatIsUnsafe({ etcdEndpoints }: Options, env: NodeJS.ProcessEnv): string[] {
  const isTlsUsed = etcdEndpoints.some((url) => /^https:/i.test(url));
  if (!isTlsUsed || env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return [];
  return [
    "the variable NODE_TLS_REJECT_UNAUTHORIZED=0 makes anybody pass for etcd; unset it, and name who signed etcd's certificate: --etcd-cafile",
  ];
}

/** A sentence for each option that the user set to something that is not effective yet. */
export function notEffective(options: Options): readonly string[] {
  return [...options.explicit].flatMap((key) => {
    const spec = OPTIONS[key] as OptionSpec<unknown>;
    return spec.notEffective?.(options[key]) ?? [];
  });
}

/** What the user set, as `name → value`, for the log; secrets are not shown. */
export function printableOptions(options: Options): Readonly<Record<string, string>> {
  const entries = [...options.explicit].map((key) => {
    const { name, secret } = OPTIONS[key];
    return [name, secret ? '(not shown)' : print(options[key])] as const;
  });
  return Object.fromEntries(entries);
}

function print(value: OptionValues[OptionKey]): string {
  // Given as nothing: no such file.
  if (value === undefined) return '';
  return typeof value === 'object' && 'prefixLength' in value ? printSubnet(value) : String(value);
}
