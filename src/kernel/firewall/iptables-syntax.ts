/** iptables' language, as far as we write it, in the spelling of `iptables-save`. */
import { parseSubnet } from '../../model/address';
import { printFirewallRule, type AddressMatch, type FirewallRule } from '../../model/firewall';
import type { FilterRule, InterfaceMatch } from './forward-path';

/** One `-A` line. */
export interface SavedRule {
  readonly chain: string;
  /** What follows the chain's name, exactly as saved: good for a `-D`. */
  readonly text: string;
  readonly words: readonly string[];
}

export interface SavedTable {
  /** Policies of built-in chains; `-` for the others. */
  readonly policies: ReadonlyMap<string, string>;
  readonly rules: readonly SavedRule[];
}

/** What `iptables-save` printed, by table. */
export function parseSaved(text: string): Map<string, SavedTable> {
  const tables = new Map<string, { policies: Map<string, string>; rules: SavedRule[] }>();
  let table = { policies: new Map<string, string>(), rules: [] as SavedRule[] };
  for (const line of text.split('\n')) {
    const [, kind, name, rest = ''] = /^(\*|:|-A )(\S+) ?(.*)$/.exec(line) ?? [];
    if (kind === '*') tables.set(name!, (table = { policies: new Map(), rules: [] }));
    else if (kind === ':') table.policies.set(name!, rest.split(' ')[0]!);
    else if (kind) table.rules.push({ chain: name!, text: rest, words: wordsOf(rest) });
  }
  return tables;
}

function wordsOf(text: string): string[] {
  const words = text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g);
  return Array.from(words, ([, quoted, plain]) => plain ?? quoted!.replaceAll(/\\(.)/g, '$1'));
}

/** The value that follows an option; undefined without one. */
export function optionOf({ words }: SavedRule, option: string): string | undefined {
  const at = words.indexOf(option);
  return at < 0 ? undefined : words[at + 1];
}

/** `-s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully` */
export function printIptablesRule({ mark, source, destination, input, verdict }: FirewallRule): string {
  const match = (option: string, { subnet, negated }: AddressMatch) =>
    `${negated ? '! ' : ''}${option} ${subnet.address}/${subnet.prefixLength}`;
  const parts: string[] = [];
  if (source) parts.push(match('-s', source));
  if (destination) parts.push(match('-d', destination));
  if (input !== undefined) parts.push(`-i ${input}`);
  if (mark) parts.push(`-m mark --mark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`);
  const [target, option] = verdict.split(' ');
  return [...parts, `-j ${target!.toUpperCase()}`, ...(option ? ['--random-fully'] : [])].join(' ');
}

const VERDICTS: Readonly<Record<string, FirewallRule['verdict']>> = {
  RETURN: 'return',
  ACCEPT: 'accept',
  MASQUERADE: 'masquerade',
  'MASQUERADE --random-fully': 'masquerade fully-random',
};

/** A rule that was saved, as {@link printFirewallRule} prints it; in its own words if we could not have written it. */
export function readIptablesRule(rule: SavedRule): string {
  const words = [...rule.words];
  const parts: { -readonly [K in keyof FirewallRule]?: FirewallRule[K] } = {};
  while (words.length > 0) {
    const negated = words[0] === '!';
    if (negated) words.shift();
    const [option, value = ''] = words.splice(0, 2);
    const subnet = parseSubnet(value);
    const mark = /^(0x[0-9a-f]+)\/(0x[0-9a-f]+)$/.exec(value);
    if (option === '-s' && subnet) parts.source = { subnet, negated };
    else if (option === '-d' && subnet) parts.destination = { subnet, negated };
    else if (option === '-i' && !negated) parts.input = value;
    else if (option === '-m' && value === 'mark' && !negated) continue;
    else if (option === '--mark' && mark && !negated)
      parts.mark = { value: Number(mark[1]), mask: Number(mark[2]) };
    else if (option === '-j' && !negated) parts.verdict = VERDICTS[[value, ...words.splice(0)].join(' ')];
    else return rule.text;
  }
  return parts.verdict ? printFirewallRule(parts as FirewallRule) : rule.text;
}

/** A rule of somebody's filter, as far as it matters to the way of the overlay's packets. */
export function readIptablesFilterRule(rule: SavedRule): FilterRule {
  const words = [...rule.words];
  let input: InterfaceMatch | undefined;
  let output: InterfaceMatch | undefined;
  let isSpecial = false;
  while (words.length > 0) {
    const negated = words[0] === '!';
    if (negated) words.shift();
    const [option, value = ''] = words.splice(0, 2);
    if (option === '-i') input = { names: [value], negated };
    else if (option === '-o') output = { names: [value], negated };
    else if (option === '-j' || option === '-g') {
      // What follows are options of the target.
      return { input, output, isSpecial, action: actionOf(value, option === '-g') };
    } else if (!(option === '-m' && value === 'comment') && option !== '--comment') isSpecial = true;
  }
  return { input, output, isSpecial, action: 'other' };
}

/** Docker's way (since 28) to keep everybody but its own bridge from a container: `-d ADDRESS ! -i BRIDGE … -j DROP`. */
export function isBridgeGuard(rule: SavedRule): boolean {
  const { input, action } = readIptablesFilterRule(rule);
  return input?.negated === true && action === 'drop' && optionOf(rule, '-d') !== undefined;
}

function actionOf(target: string, isFinal: boolean): FilterRule['action'] {
  if (target === 'ACCEPT') return 'accept';
  if (target === 'DROP' || target === 'REJECT') return 'drop';
  if (target === 'RETURN') return 'return';
  // LOG, MARK and the like are no chains: nothing is found under their names, and the packet goes on.
  return { jump: target, isFinal };
}
