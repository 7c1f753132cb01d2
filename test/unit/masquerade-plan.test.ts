import {
  chooseTool,
  desiredBlocks,
  planFirewall,
  planFirewallRemoval,
  type FirewallWish,
} from '../../src/core/firewall';
import { subnet } from '../../src/model/address';
import {
  FLANNELD,
  printFirewallOperation,
  printFirewallRule,
  type FilterTool,
  type FirewallRole,
  type FirewallState,
  type ForwardGate,
  type InstalledBlock,
  type ToolState,
} from '../../src/model/firewall';

const IDLE: ToolState = { version: '1.8.9', hasFullyRandom: true, isDefault: false, isInUse: false };
const USED = { ...IDLE, isInUse: true };
const DEFAULT = { ...IDLE, isDefault: true };

function wishOf(options: Partial<FirewallWish['options']> = {}): FirewallWish {
  return {
    link: 'flannel.1',
    overlays: [{ network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') }],
    options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: undefined, ...options },
  };
}

function stateOf(
  tools: Partial<Record<FilterTool, ToolState>>,
  others: Partial<Omit<FirewallState, 'tools'>> = {},
): FirewallState {
  const entries = Object.entries(tools) as [FilterTool, ToolState][];
  return { tools: new Map(entries), problems: [], blocks: [], gates: [], ...others };
}

function planted(tool: FilterTool, role: FirewallRole = 'masquerade', owner = 'flannel.1'): InstalledBlock {
  return { place: { tool, family: 'ipv4', role }, owner, rules: [], inEffect: true };
}

describe('which tool holds the masquerade rules', () => {
  const all = { nftables: IDLE, 'iptables-nft': DEFAULT, 'iptables-legacy': IDLE };
  it.each<[string, FilterTool | undefined, Partial<FirewallWish['options']>, FirewallState]>([
    ['nftables, when the configuration asks for it', 'nftables', { enableNfTables: true }, stateOf(all)],
    ['the default iptables, when it asks for that', 'iptables-nft', { enableNfTables: false }, stateOf(all)],
    [
      'the iptables that others use, when it asks for that',
      'iptables-legacy',
      { enableNfTables: false },
      stateOf({ ...all, 'iptables-legacy': USED }),
    ],
    ['nftables, when nobody uses iptables', 'nftables', {}, stateOf(all)],
    ['iptables, when others use it', 'iptables-nft', {}, stateOf({ ...all, 'iptables-nft': USED })],
    [
      'the default iptables, when others use both',
      'iptables-legacy',
      {},
      stateOf({ nftables: IDLE, 'iptables-nft': USED, 'iptables-legacy': { ...USED, isDefault: true } }),
    ],
    [
      'the one that holds ours already, whatever others began to use since',
      'nftables',
      {},
      stateOf({ ...all, 'iptables-nft': USED }, { blocks: [planted('nftables')] }),
    ],
    [
      'the one that real flannel used',
      'iptables-legacy',
      {},
      stateOf(all, { blocks: [planted('iptables-legacy', 'masquerade', FLANNELD)] }),
    ],
    ['iptables, without nft', 'iptables-nft', {}, stateOf({ 'iptables-nft': DEFAULT })],
    [
      'iptables, when nft is asked for and missing',
      'iptables-nft',
      { enableNfTables: true },
      stateOf({ 'iptables-nft': IDLE }),
    ],
    [
      'nftables, when iptables is asked for and missing',
      'nftables',
      { enableNfTables: false },
      stateOf({ nftables: IDLE }),
    ],
    ['none, when there is none', undefined, {}, stateOf({})],
  ])('%s', (_, tool, options, state) => {
    expect(chooseTool(wishOf(options), state)?.tool).toBe(tool);
  });

  it('says why when it is not the one that was asked for', () => {
    const state = stateOf(
      { 'iptables-nft': IDLE },
      { problems: ['nft (package nftables) is not installed'] },
    );
    expect(chooseTool(wishOf({ enableNfTables: true }), state)?.unmet).toBe(
      'EnableNFTables is set; nft (package nftables) is not installed',
    );
    expect(chooseTool(wishOf(), state)?.unmet).toBeUndefined();
  });
});

describe('what should be there', () => {
  const texts = (wish: FirewallWish, tool: FilterTool, state: FirewallState) =>
    desiredBlocks(wish, tool, state).map((block) => printFirewallOperation({ verb: 'put', block }));
  const gate = (tool: FilterTool, drops: boolean, chain?: string): ForwardGate => ({
    place: { tool, family: 'ipv4', role: 'forward', ...(chain ? { chain } : {}) },
    drops,
  });

  it('masquerade rules in the tool chosen, forward rules in every filter of iptables, and in other chains that drop', () => {
    const state = stateOf(
      { nftables: IDLE },
      {
        gates: [
          gate('iptables-nft', false),
          gate('iptables-legacy', true),
          gate('nftables', true, 'inet firewalld filter_FORWARD'),
          gate('nftables', false, 'inet filter forward'),
        ],
      },
    );
    expect(texts(wishOf(), 'nftables', state)).toEqual([
      'put forward rules (ipv4, iptables-nft) of flannel.1',
      'put forward rules (ipv4, iptables-legacy) of flannel.1',
      'put forward rules (ipv4, nftables, in inet firewalld filter_FORWARD) of flannel.1',
      'put masquerade rules (ipv4, nftables) of flannel.1',
    ]);
  });

  describe('arrival rules', () => {
    const raw = { tool: 'iptables-nft', family: 'ipv4', role: 'arrival' } as const;
    const PUT = 'put arrival rules (ipv4, iptables-nft) of flannel.1';
    const state = (drops: boolean, blocks: InstalledBlock[] = []) =>
      stateOf({ nftables: IDLE }, { gates: [{ place: raw, drops }], blocks });

    it('where Docker drops what does not come from its bridge, and nowhere else', () => {
      expect(texts(wishOf(), 'nftables', state(true))).toContain(PUT);
      expect(texts(wishOf(), 'nftables', state(false))).not.toContain(PUT);
      expect(texts(wishOf({ forward: false }), 'nftables', state(true))).not.toContain(PUT);
    });

    it('stay when its last container goes, for the sake of the next', () => {
      const ours = { ...planted('iptables-nft', 'arrival'), inEffect: true };
      expect(texts(wishOf(), 'nftables', state(false, [ours]))).toContain(PUT);
    });

    it('let pass what comes out of the tunnel for our subnet, and nothing else', () => {
      const [block] = desiredBlocks(wishOf(), 'nftables', state(true)).filter(
        ({ place }) => place.role === 'arrival',
      );
      expect(block!.rules.map(printFirewallRule)).toEqual(['to 10.5.1.0/24 by flannel.1 accept']);
    });
  });

  it('forward rules in the iptables chosen, even before it has a filter', () => {
    expect(texts(wishOf(), 'iptables-nft', stateOf({}))).toContain(
      'put forward rules (ipv4, iptables-nft) of flannel.1',
    );
  });

  it('nothing of what was switched off', () => {
    expect(texts(wishOf({ ipMasq: false, forward: false }), 'iptables-nft', stateOf({}))).toEqual([]);
  });

  it('random ports only where the tool can', () => {
    const old = stateOf({ 'iptables-legacy': { ...IDLE, version: '1.6.1', hasFullyRandom: false } });
    const rules = desiredBlocks(wishOf({ forward: false }), 'iptables-legacy', old).flatMap(
      (block) => block.rules,
    );
    expect(rules.map(printFirewallRule).join('\n')).not.toContain('random');
  });
});

describe('the plan', () => {
  const wish = wishOf({ forward: false });
  const state = stateOf({ nftables: IDLE });
  const desired = desiredBlocks(wish, 'nftables', state);
  const installed = desired.map((block) => ({
    ...block,
    rules: block.rules.map(printFirewallRule),
    inEffect: true,
  }));
  const planWith = (blocks: InstalledBlock[]) => {
    const { puts, removals } = planFirewall('flannel.1', desired, { ...state, blocks });
    return [...puts, ...removals].map(printFirewallOperation);
  };

  it('is empty when all is in place', () => {
    expect(planWith(installed)).toEqual([]);
  });

  it.each<[string, Partial<InstalledBlock>]>([
    ['are not in effect', { inEffect: false }],
    ['differ', { rules: ['mark 0x4000/0x4000 return'] }],
    ['are in another order', { rules: [...installed[0]!.rules].reverse() }],
  ])('puts rules that %s', (_, change) => {
    expect(planWith([{ ...installed[0]!, ...change }])).toEqual([
      'put masquerade rules (ipv4, nftables) of flannel.1',
    ]);
  });

  it("puts first, then removes ours from elsewhere and real flannel's; what other links have stays", () => {
    const elsewhere = [
      planted('iptables-nft'),
      planted('iptables-nft', 'forward', FLANNELD),
      planted('nftables', 'masquerade', 'flannel.7'),
    ];
    expect(planWith(elsewhere)).toEqual([
      'put masquerade rules (ipv4, nftables) of flannel.1',
      'remove masquerade rules (ipv4, iptables-nft) of flannel.1',
      'remove forward rules (ipv4, iptables-nft) of flanneld',
    ]);
  });

  it("of a clean-up removes everything of ours, and leaves real flannel's", () => {
    const blocks = [
      ...installed,
      planted('nftables', 'masquerade', 'flannel.7'),
      planted('nftables', 'masquerade', FLANNELD),
    ];
    expect(planFirewallRemoval({ ...state, blocks }).map(printFirewallOperation)).toEqual([
      'remove masquerade rules (ipv4, nftables) of flannel.1',
      'remove masquerade rules (ipv4, nftables) of flannel.7',
    ]);
  });
});
