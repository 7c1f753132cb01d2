/** Options from what was written on the command line, in the environment and in vtepd.conf. */
import { printSubnet } from '../../model/address';
import { UsageError } from '../../model/errors';
import { shorten } from '../../model/json-fields';
import { parseConfigFile, type ConfigLines, type ReadConfigFile } from '../config-file';
import { nearest } from '../nearest';
import {
  OPTIONS,
  OPTION_KEYS,
  dashed,
  keyOfOption,
  namesOf,
  renamedNotice,
  variableOf,
  type OptionKey,
  type OptionSpec,
  type OptionValues,
} from '.';
import { effectiveEndpoints, ineffectiveEtcdOptions, unsafeVariables } from './etcd';
import { ineffectivePeersOptions } from './peers';
import { IGNORED, REFUSED } from './refused';
import { BadValue, SecretBadValue, isFalse } from './values';

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
    const spec = OPTIONS[key];
    const source = sourceOf(key, written, env) ?? fromFile.get(key);
    if (source) explicit.add(key);
    values[key] = source ? readSource(spec, source) : readDefault(spec);
  }
  const read = values as unknown as OptionValues;
  const etcdEndpoints = effectiveEndpoints(read, explicit);
  const options: Options = { ...read, etcdEndpoints, explicit, notices };
  refuseMissingPartners(options);
  notices.push(
    ...ineffectiveEtcdOptions(options, explicit),
    ...ineffectivePeersOptions(options, explicit),
    ...unsafeVariables(options, env),
  );
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
  if (file.isPublic && [...lines.keys()].some((key) => OPTIONS[key].secret))
    notices.push(
      `every user of this host can read the password in ${path}: chgrp vtepd ${path}; chmod 640 ${path}`,
    );
  for (const [key, written] of lines)
    for (const { name, isRenamed } of written)
      if (isRenamed) notices.push(renamedNotice(name, OPTIONS[key].name));
  return lines;
}

function readSource(spec: OptionSpec, source: Source): unknown {
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

function readDefault(spec: OptionSpec): unknown {
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
    const renamed = OPTION_KEYS.find((key) => namesOf(key).map(variableOf).includes(variable));
    if (renamed !== undefined) {
      notices.push(renamedNotice(variable, variableOf(OPTIONS[renamed].name)));
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

function refuseMissingPartners(options: Options): void {
  for (const key of OPTION_KEYS) {
    const { name, needs } = OPTIONS[key];
    if (needs !== undefined && options[key] !== undefined && options[keyOfOption(needs)!] === undefined)
      throw new UsageError(`--${name} needs --${needs} too`);
  }
}

/** A sentence for each option that the user set to something that is not effective yet. */
export function notEffective(options: Options): readonly string[] {
  return [...options.explicit].flatMap((key) => OPTIONS[key].notEffective ?? []);
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
