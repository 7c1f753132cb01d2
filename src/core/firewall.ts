/** Where our rules belong on this host, and what must be done so that they are there. */
import { familyOf, type Subnet } from '../model/address';
import {
  FLANNELD,
  concernsNetworks,
  printFirewallPlace,
  printFirewallRule,
  type FilterTool,
  type FirewallBlock,
  type FirewallOperation,
  type FirewallPlace,
  type FirewallState,
  type InstalledBlock,
} from '../model/firewall';
import { arrivalRules, forwardRules, masqueradeRules, type OverlayAddresses } from './masquerade';

export interface FirewallOptions {
  /** `--ip-masq` */
  readonly ipMasq: boolean;
  /** Not `--ip-masq-fully-random-disable` */
  readonly fullyRandom: boolean;
  /** `--iptables-forward-rules` */
  readonly forward: boolean;
  /** `EnableNFTables` of the network configuration; undefined: what this host uses. */
  readonly enableNfTables: boolean | undefined;
}

/** What should be in the packet filter for one link. */
export interface FirewallWish {
  readonly link: string;
  /** One for each family. */
  readonly overlays: readonly OverlayAddresses[];
  readonly options: FirewallOptions;
}

export interface ToolChoice {
  readonly tool: FilterTool;
  readonly because: string;
  /** Why it is not what was asked for, if so. */
  readonly unmet?: string;
}

/**
 * Which tool holds our masquerade rules; undefined when none works. Nothing asked for: the one that holds them already (a
 * Docker that comes later must not make us move), else the iptables that others have rules in, else nftables, else iptables.
 */
export function chooseTool(wish: FirewallWish, state: FirewallState): ToolChoice | undefined {
  const { enableNfTables } = wish.options;
  const iptables = chooseIptables(wish, state);
  const nftables: ToolChoice | undefined = state.tools.has('nftables')
    ? { tool: 'nftables', because: 'the network configuration asks for it' }
    : undefined;
  if (enableNfTables === true) {
    return nftables ?? (iptables && { ...iptables, unmet: `EnableNFTables is set; ${reasons(state)}` });
  }
  if (enableNfTables === false) {
    if (iptables) return iptables;
    const unmet = `EnableNFTables is false; ${reasons(state)}`;
    return nftables && { tool: 'nftables', because: 'it is the only one', unmet };
  }
  const home = homeOf(wish.link, state);
  if (home) return { tool: home, because: 'it holds such rules already' };
  if (iptables && (state.tools.get(iptables.tool)?.isInUse || !nftables)) return iptables;
  return nftables && { tool: 'nftables', because: 'nobody uses iptables here' };
}

function chooseIptables(wish: FirewallWish, state: FirewallState): ToolChoice | undefined {
  const variants = (['iptables-nft', 'iptables-legacy'] as const).filter((tool) => state.tools.has(tool));
  const home = homeOf(wish.link, state);
  if (home && home !== 'nftables') return { tool: home, because: 'it holds such rules already' };
  const used = variants.filter((tool) => state.tools.get(tool)!.isInUse);
  if (used.length === 1) return { tool: used[0]!, because: 'others have rules in it' };
  const byDefault = variants.find((tool) => state.tools.get(tool)!.isDefault) ?? variants[0];
  return byDefault && { tool: byDefault, because: 'it is the iptables of this host' };
}

/** Where our masquerade rules are, or else flannel's. */
function homeOf(link: string, state: FirewallState): FilterTool | undefined {
  const homes = state.blocks.filter(
    ({ place }) => place.role === 'masquerade' && state.tools.has(place.tool),
  );
  const home = homes.find(({ owner }) => owner === link) ?? homes.find(({ owner }) => owner === FLANNELD);
  return home?.place.tool;
}

function reasons(state: FirewallState): string {
  return state.problems.join('; ') || 'that does not work here';
}

/**
 * The rules that should be there. Masquerade rules stand in the one chosen tool. Forward rules stand wherever somebody could
 * drop the overlay's packets: in each iptables that has a filter table, whatever its policy is today, so that a Docker
 * that sets it to DROP tomorrow loses no packet; and in chains of other nftables tables that do drop. Arrival rules stand where
 * what arrives is dropped, and stay there: the next container is not to wait for them.
 */
export function desiredBlocks(wish: FirewallWish, tool: FilterTool, state: FirewallState): FirewallBlock[] {
  const { link, overlays, options } = wish;
  const fullyRandom = options.fullyRandom && (state.tools.get(tool)?.hasFullyRandom ?? false);
  return overlays.flatMap((overlay) => {
    const family = familyOf(overlay.network.address);
    const blocks: FirewallBlock[] = [];
    if (options.forward) {
      const places = new Map<string, FirewallPlace>();
      const add = (place: FirewallPlace) => places.set(printFirewallPlace(place), place);
      if (tool !== 'nftables') add({ tool, family, role: 'forward' });
      const isOurs = (place: FirewallPlace) =>
        state.blocks.some((block) => keyOfBlock(block) === keyOfBlock({ place, owner: link }));
      for (const { place, drops } of state.gates) {
        const isKept = place.role === 'forward' ? place.chain === undefined : isOurs(place);
        if (place.family === family && (drops || isKept)) add(place);
      }
      const rules = { forward: forwardRules(overlay.network), arrival: arrivalRules(link, overlay.subnet) };
      for (const place of places.values()) {
        if (place.role !== 'masquerade') blocks.push({ place, owner: link, rules: rules[place.role] });
      }
    }
    if (options.ipMasq) {
      const place = { tool, family, role: 'masquerade' } as const;
      blocks.push({ place, owner: link, rules: masqueradeRules(overlay, fullyRandom) });
    }
    return blocks;
  });
}

export interface FirewallPlan {
  readonly puts: readonly FirewallOperation[];
  /** Only when the masquerade rules that take their place are there: until then both may be, but never none. */
  readonly removals: readonly FirewallOperation[];
}

/** The difference; empty when all is as it should be. What other links own stays; what real flannel has for our networks goes. */
export function planFirewall(
  link: string,
  desired: readonly FirewallBlock[],
  state: FirewallState,
  networks?: readonly Subnet[],
): FirewallPlan {
  const installed = new Map(state.blocks.map((block) => [keyOfBlock(block), block]));
  const wanted = new Set(desired.map(keyOfBlock));
  const puts = desired
    .filter((block) => !isInPlace(block, installed.get(keyOfBlock(block))))
    .map((block) => ({ verb: 'put', block }) as const);
  const removals = state.blocks
    .filter(({ owner }) => owner === link || owner === FLANNELD)
    .filter((block) => !wanted.has(keyOfBlock(block)) && concerns(block, networks))
    .map((block) => {
      const isFlannels = block.owner === FLANNELD && networks !== undefined;
      return { verb: 'remove', block: isFlannels ? { ...block, networks } : block } as const;
    });
  return { puts, removals };
}

/** Everything of ours, but for what links of other overlays have: what `cleanup` removes. Real flannel's stays. */
export function planFirewallRemoval(
  state: FirewallState,
  others: ReadonlySet<string> = new Set(),
): FirewallOperation[] {
  return state.blocks
    .filter(({ owner }) => owner !== FLANNELD && !others.has(owner))
    .map((block) => ({ verb: 'remove', block }) as const);
}

/** Flannel may carry another overlay on this host. */
function concerns({ networks }: InstalledBlock, ours: readonly Subnet[] | undefined): boolean {
  return networks === undefined || ours === undefined || concernsNetworks(networks, ours);
}

function isInPlace(block: FirewallBlock, installed: InstalledBlock | undefined): boolean {
  if (!installed?.inEffect) return false;
  const rules = block.rules.map(printFirewallRule);
  return rules.length === installed.rules.length && rules.every((rule, i) => rule === installed.rules[i]);
}

function keyOfBlock({ place, owner }: Pick<FirewallBlock, 'place' | 'owner'>): string {
  return `${owner} ${printFirewallPlace(place)}`;
}
