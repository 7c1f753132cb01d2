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
  const ASKED = 'the network configuration asks for it';
  const HOME = 'it holds such rules already';
  const USED_BY_OTHERS = 'others have rules in it';
  const OF_THIS_HOST = 'it is the iptables of this host';
  const UNUSED = 'nobody uses iptables here';

  it.each<[string, FilterTool, string, Partial<FirewallWish['options']>, FirewallState]>([
    [
      'nftables, when the configuration asks for it',
      'nftables',
      ASKED,
      { enableNfTables: true },
      stateOf(all),
    ],
    [
      'the default iptables, when it asks for that',
      'iptables-nft',
      OF_THIS_HOST,
      { enableNfTables: false },
      stateOf(all),
    ],
    [
      'any iptables, when none is the default',
      'iptables-nft',
      OF_THIS_HOST,
      { enableNfTables: false },
      stateOf({ ...all, 'iptables-nft': IDLE }),
    ],
    [
      'the iptables that others use, when it asks for that',
      'iptables-legacy',
      USED_BY_OTHERS,
      { enableNfTables: false },
      stateOf({ ...all, 'iptables-legacy': USED }),
    ],
    [
      'the iptables that holds ours already, when it asks for that, whatever others use',
      'iptables-legacy',
      HOME,
      { enableNfTables: false },
      stateOf(
        { ...all, 'iptables-nft': { ...USED, isDefault: true } },
        { blocks: [planted('iptables-legacy')] },
      ),
    ],
    [
      'the default iptables, when it asks for that and nftables holds ours',
      'iptables-nft',
      OF_THIS_HOST,
      { enableNfTables: false },
      stateOf(all, { blocks: [planted('nftables')] }),
    ],
    ['nftables, when nobody uses iptables', 'nftables', UNUSED, {}, stateOf(all)],
    ['nftables, when there is no iptables', 'nftables', UNUSED, {}, stateOf({ nftables: IDLE })],
    [
      'iptables, when others use it',
      'iptables-nft',
      USED_BY_OTHERS,
      {},
      stateOf({ ...all, 'iptables-nft': USED }),
    ],
    [
      'the default iptables, when others use both',
      'iptables-legacy',
      OF_THIS_HOST,
      {},
      stateOf({ nftables: IDLE, 'iptables-nft': USED, 'iptables-legacy': { ...USED, isDefault: true } }),
    ],
    [
      'the one that holds ours already, whatever others began to use since',
      'nftables',
      HOME,
      {},
      stateOf({ ...all, 'iptables-nft': USED }, { blocks: [planted('nftables')] }),
    ],
    [
      'the one that holds ours, rather than the one that real flannel used',
      'iptables-nft',
      HOME,
      {},
      stateOf(all, { blocks: [planted('iptables-legacy', 'masquerade', FLANNELD), planted('iptables-nft')] }),
    ],
    [
      'the one that real flannel used',
      'iptables-legacy',
      HOME,
      {},
      stateOf(all, { blocks: [planted('iptables-legacy', 'masquerade', FLANNELD)] }),
    ],
    [
      'none for what stands in it for another link, or does not masquerade',
      'nftables',
      UNUSED,
      {},
      stateOf(all, {
        blocks: [planted('iptables-nft', 'masquerade', 'flannel.7'), planted('iptables-nft', 'forward')],
      }),
    ],
    [
      'none for what stands in it, if it does not work any more',
      'nftables',
      UNUSED,
      {},
      stateOf({ nftables: IDLE }, { blocks: [planted('iptables-legacy')] }),
    ],
    ['iptables, without nft', 'iptables-nft', OF_THIS_HOST, {}, stateOf({ 'iptables-nft': DEFAULT })],
  ])('%s', (_, tool, because, options, state) => {
    expect(chooseTool(wishOf(options), state)).toEqual({ tool, because });
  });

  it.each<[string, FilterTool, string, boolean, string]>([
    ['iptables', 'iptables-nft', OF_THIS_HOST, true, 'EnableNFTables is set'],
    ['nftables', 'nftables', 'it is the only one', false, 'EnableNFTables is false'],
  ])(
    '%s, when the other is asked for and missing, and that is said',
    (_, tool, because, enableNfTables, said) => {
      const choiceWith = (problems: string[]) =>
        chooseTool(wishOf({ enableNfTables }), stateOf({ [tool]: IDLE }, { problems }));
      expect(choiceWith(['a is not installed', 'b is too old'])).toEqual({
        tool,
        because,
        unmet: `${said}; a is not installed; b is too old`,
      });
      expect(choiceWith([])?.unmet).toBe(`${said}; that does not work here`);
    },
  );

  it.each([true, false, undefined])(
    'none, when there is none, whatever is asked for (%s)',
    (enableNfTables) => {
      expect(chooseTool(wishOf({ enableNfTables }), stateOf({}))).toBeUndefined();
    },
  );
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

    it('are not ours to keep where another link has some', () => {
      const theirs = planted('iptables-nft', 'arrival', 'flannel.7');
      expect(texts(wishOf(), 'nftables', state(false, [theirs]))).not.toContain(PUT);
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

  it('rules for the gates of its own family alone', () => {
    const ipv6: ForwardGate = {
      place: { tool: 'iptables-nft', family: 'ipv6', role: 'forward' },
      drops: true,
    };
    expect(texts(wishOf(), 'nftables', stateOf({ nftables: IDLE }, { gates: [ipv6] }))).toEqual([
      'put masquerade rules (ipv4, nftables) of flannel.1',
    ]);
  });

  it('random ports where they are wanted and the tool has them', () => {
    const rulesWith = (fullyRandom: boolean, state: FirewallState) =>
      desiredBlocks(wishOf({ forward: false, fullyRandom }), 'nftables', state)
        .flatMap(({ rules }) => rules.map(printFirewallRule))
        .filter((rule) => rule.endsWith(' masquerade fully-random'));
    expect(rulesWith(true, stateOf({ nftables: IDLE }))).toHaveLength(2);
    expect(rulesWith(false, stateOf({ nftables: IDLE }))).toEqual([]);
    expect(rulesWith(true, stateOf({}))).toEqual([]);
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
    ['lack one', { rules: installed[0]!.rules.slice(0, -1) }],
    ['have one more', { rules: [...installed[0]!.rules, 'accept'] }],
    ['differ in one', { rules: ['accept', ...installed[0]!.rules.slice(1)] }],
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
