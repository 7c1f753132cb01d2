/**
 * Every option there is. Each is declared once, in the file of its topic: name, default, how it is read, help, and where its value
 * goes. The command line, the variables, vtepd.conf, the help, the man page and the completions are made from the declarations.
 */
import { etcd } from './etcd';
import { firewall } from './firewall';
import { health } from './health';
import { host } from './host';
import { logging } from './logging';
import type { OptionSpec, Topic, ValuesOf } from './option';
import { peers } from './peers';
import { underlay } from './underlay';

export type { OptionSpec, Topic } from './option';

/** In the order of the help. */
export const TOPICS: readonly Topic[] = [etcd, underlay, host, peers, firewall, health, logging];

const DECLARED = {
  ...etcd.options,
  ...underlay.options,
  ...host.options,
  ...peers.options,
  ...firewall.options,
  ...health.options,
  ...logging.options,
};

/** What the options say, each checked; a list or undefined where nothing is the default. */
export type OptionValues = ValuesOf<typeof DECLARED>;

export type OptionKey = keyof OptionValues;

export const OPTIONS: Readonly<Record<OptionKey, OptionSpec>> = DECLARED;

export const OPTION_KEYS = Object.keys(OPTIONS) as OptionKey[];

/** `FLANNELD_ETCD_ENDPOINTS` for `etcd-endpoints`. */
export function variableOf(name: string): string {
  return `FLANNELD_${name.toUpperCase().replace(/[-.]/g, '_')}`;
}

/** `--iface`, `-v` */
export function dashed(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

/** The name of an option, and then its former ones. */
export function namesOf(key: OptionKey): readonly string[] {
  return [OPTIONS[key].name, ...(OPTIONS[key].formerNames ?? [])];
}

/** The key of the option with that name, or that former name, without dashes. */
export function keyOfOption(name: string): OptionKey | undefined {
  return (
    OPTION_KEYS.find((key) => OPTIONS[key].name === name) ??
    OPTION_KEYS.find((key) => OPTIONS[key].formerNames?.includes(name))
  );
}

/** A sentence for the log: `--old` (or a variable, or a line of the file) was written, and `present` is what it is now. */
export function renamedNotice(written: string, present: string): string {
  return `${written} is the former name of ${present}; the next release will not know it`;
}

export function isBoolean(key: OptionKey): boolean {
  return OPTIONS[key].placeholder === undefined;
}
