/** What real flannel left in iptables: its chains, its commented rules, and the plain rules of its early versions. */
import { overlap, parseSubnet, sameSubnet, type Subnet } from '../../model/address';
import { concernsNetworks, type FirewallRole } from '../../model/firewall';
import { optionOf, type SavedRule, type SavedTable } from './iptables-syntax';
import { FLANNEL_CHAINS, FLANNEL_COMMENTS } from './owner-marks';

export interface FlannelRules {
  /** Those in the built-in chain that jump to flannel's own, or carry its comment. */
  readonly marked: readonly SavedRule[];
  readonly chains: readonly string[];
  /** Those in the built-in chain that flannel 0.5 to 0.9 wrote without any mark, with the network they are for. */
  readonly plain: readonly { readonly rule: SavedRule; readonly network: Subnet }[];
  /** The networks that all of them name. */
  readonly networks: readonly Subnet[];
}

const SUBNET = String.raw`(\d[\d.]*\/\d+)`;
/** flannel's `network/ipmasq.go`, as iptables-save prints its rules; the first parenthesis is the network. */
const PLAIN = [
  `-s ${SUBNET} -d ${SUBNET} -j (?:RETURN|ACCEPT)`,
  `-s ${SUBNET} ! -d 224\\.0\\.0\\.0/4 -j MASQUERADE(?: --random-fully)?`,
  `! -s ${SUBNET} -d ${SUBNET} -j (?:RETURN|MASQUERADE(?: --random-fully)?)`,
].map((pattern) => new RegExp(`^${pattern}$`));
/** Administrators and libvirt write such a rule, too: it is flannel's beside others of the same network. */
const COMMON = new RegExp(`^-s ${SUBNET} ! -d ${SUBNET} -j MASQUERADE(?: --random-fully)?$`);

/** `home` is the built-in chain. */
export function flannelRulesIn(table: SavedTable, role: FirewallRole, home: string): FlannelRules {
  const chains = FLANNEL_CHAINS[role].filter((chain) => table.policies.has(chain));
  const inHome = table.rules.filter((rule) => rule.chain === home);
  const marked = inHome.filter((rule) => isMarked(rule, role));
  const certain = role === 'masquerade' ? inHome.flatMap((rule) => ruleLike(PLAIN, rule) ?? []) : [];
  const own = [...marked, ...table.rules.filter((rule) => chains.includes(rule.chain))];
  const known = [...own.flatMap(subnetsIn), ...certain.map(({ network }) => network)];
  const common = role === 'masquerade' ? inHome.flatMap((rule) => ruleLike([COMMON], rule) ?? []) : [];
  const plain = [
    ...certain,
    ...common.filter(({ network }) => known.some((each) => sameSubnet(each, network))),
  ];
  const networks = [...own.flatMap(subnetsIn), ...plain.map(({ network }) => network)];
  return { marked, chains, plain, networks };
}

/** Commands that remove what concerns these networks (undefined: whatever is marked). */
export function removalOfFlannels(
  found: FlannelRules,
  home: string,
  ours: readonly Subnet[] | undefined,
): string[] {
  const markedNetworks = found.networks.filter(
    (network) => !found.plain.some((plain) => plain.network === network),
  );
  const isMarkedOurs = ours === undefined || concernsNetworks(markedNetworks, ours);
  const plain = found.plain.filter(({ network }) => ours?.some((own) => sameSubnet(own, network)));
  const rules = [...(isMarkedOurs ? found.marked : []), ...plain.map(({ rule }) => rule)];
  const chains = isMarkedOurs ? found.chains : [];
  return [
    ...rules.map(({ text }) => `-D ${home} ${text}`),
    ...chains.flatMap((chain) => [`-F ${chain}`, `-X ${chain}`]),
  ];
}

function isMarked(rule: SavedRule, role: FirewallRole): boolean {
  const chains = FLANNEL_CHAINS[role];
  if (chains.length === 0) return false;
  const isJump = chains.includes(optionOf(rule, '-j') ?? '');
  return isJump || optionOf(rule, '--comment') === FLANNEL_COMMENTS[role];
}

/** Both subnets are the network, but for the one of the host in `! -s NETWORK -d SUBNET -j RETURN`. */
function ruleLike(
  patterns: readonly RegExp[],
  rule: SavedRule,
): { rule: SavedRule; network: Subnet } | undefined {
  for (const pattern of patterns) {
    const [, first, second] = pattern.exec(rule.text) ?? [];
    const network = parseSubnet(first ?? '');
    if (!network) continue;
    const other = second === undefined ? network : parseSubnet(second);
    const isReturnOfSubnet = rule.words[0] === '!' && rule.words.at(-1) === 'RETURN';
    if (!other || !overlap(network, other)) return undefined;
    return isReturnOfSubnet || sameSubnet(network, other) ? { rule, network } : undefined;
  }
  return undefined;
}

function subnetsIn({ words }: SavedRule): Subnet[] {
  return words.flatMap((word) => parseSubnet(word) ?? []);
}
