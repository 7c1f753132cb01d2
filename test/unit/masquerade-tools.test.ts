/** The tools' languages: what we write is what we read, and what others write does not deceive us. */
import { arrivalRules, forwardRules, masqueradeRules } from '../../src/core/masquerade';
import { subnet } from '../../src/model/address';
import { printFirewallRule } from '../../src/model/firewall';
import { hasRuleChange } from '../../src/kernel/firewall/change-monitor';
import { dropPosition, isInPlace, type FilterRule } from '../../src/kernel/firewall/forward-path';
import {
  isBridgeGuard,
  parseSaved,
  printIptablesRule,
  readIptablesFilterRule,
  readIptablesRule,
} from '../../src/kernel/firewall/iptables-syntax';
import { readDefaultRoutes } from '../../src/kernel/firewall/outside-links';
import { printNftRule, readNftFilterRule, readNftRule } from '../../src/kernel/firewall/nft-syntax';

const OVERLAY = { network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') };
const RULES = [
  ...masqueradeRules(OVERLAY, true),
  ...masqueradeRules(OVERLAY, false),
  ...forwardRules(OVERLAY.network),
  ...arrivalRules('flannel.1', OVERLAY.subnet),
];

describe('iptables', () => {
  it('is written in the spelling of iptables-save', () => {
    expect(masqueradeRules(OVERLAY, true).map(printIptablesRule)).toEqual([
      '-m mark --mark 0x4000/0x4000 -j RETURN',
      '-s 10.5.1.0/24 -d 10.5.0.0/16 -j RETURN',
      '-s 10.5.0.0/16 -d 10.5.1.0/24 -j RETURN',
      '! -s 10.5.0.0/16 -d 10.5.1.0/24 -j RETURN',
      '-s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully',
      '! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE --random-fully',
    ]);
  });

  it('what was written is read again', () => {
    const saved = ['*nat', ':X - [0:0]', ...RULES.map((rule) => `-A X ${printIptablesRule(rule)}`), 'COMMIT'];
    const table = parseSaved(saved.join('\n')).get('nat')!;
    expect(table.rules.map(readIptablesRule)).toEqual(RULES.map(printFirewallRule));
  });

  it.each([
    '-s 10.5.0.0/16 -p tcp -j RETURN',
    '-s 10.5.0.0/16 -j MASQUERADE --to-ports 1000-2000',
    '-m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-s 10.5.0.0/16 -j SOMEWHERE',
    '-s 10.5.0.0/16',
  ])('a rule that we could not have written stays in its own words: %s', (text) => {
    const table = parseSaved(`*nat\n-A X ${text}\nCOMMIT`).get('nat')!;
    expect(table.rules.map(readIptablesRule)).toEqual([text]);
  });

  it('comments may look like options', () => {
    const [rule] = parseSaved('*filter\n-A FORWARD -m comment --comment "a \\"b\\" -i eth9" -j DROP').get(
      'filter',
    )!.rules;
    expect(rule!.words).toEqual(['-m', 'comment', '--comment', 'a "b" -i eth9', '-j', 'DROP']);
    expect(readIptablesFilterRule(rule!)).toEqual({
      input: undefined,
      output: undefined,
      isSpecial: false,
      action: 'drop',
    });
  });
});

it.each([
  ['-d 172.17.0.2/32 ! -i docker0 -j DROP', true],
  ['-d 172.18.0.2/32 ! -i br-3cdb1cb92a36 -p tcp -m tcp --dport 1000 -j DROP', true],
  ['-d 172.17.0.2/32 -i eth0 -j DROP', false],
  ['-d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8080 -j ACCEPT', false],
  ['! -i eth0 -j DROP', false],
  ['-p tcp -j DROP', false],
])('keeps everybody but a bridge from a container: %s? %s', (text, expected) => {
  const table = parseSaved(`*raw\n-A PREROUTING ${text}\nCOMMIT`).get('raw')!;
  expect(isBridgeGuard(table.rules[0]!)).toBe(expected);
});

describe('nftables', () => {
  it('is written as nft(8) reads it', () => {
    expect(masqueradeRules(OVERLAY, true).map((rule) => printNftRule(rule, 'ipv4'))).toEqual([
      'meta mark & 0x4000 == 0x4000 return',
      'ip saddr 10.5.1.0/24 ip daddr 10.5.0.0/16 return',
      'ip saddr 10.5.0.0/16 ip daddr 10.5.1.0/24 return',
      'ip saddr != 10.5.0.0/16 ip daddr 10.5.1.0/24 return',
      'ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random',
      'ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random',
    ]);
  });

  it.each([
    [[{ masquerade: null }], 'masquerade'],
    [[{ masquerade: { flags: 'fully-random' } }], 'masquerade fully-random'],
    [[{ masquerade: { flags: ['fully-random'] } }], 'masquerade fully-random'],
    [[{ masquerade: { flags: 'random' } }], '[{"masquerade":{"flags":"random"}}]'],
    [[{ counter: null }, { accept: null }], '[{"counter":null},{"accept":null}]'],
    [
      [
        { match: { op: '==', left: { payload: { protocol: 'ip', field: 'saddr' } }, right: '10.5.0.7' } },
        { return: null },
      ],
      'from 10.5.0.7/32 return',
    ],
  ])('%j reads as %s', (expr, text) => {
    expect(readNftRule({ family: 'ip', table: 't', chain: 'c', handle: 1, expr })).toBe(text);
  });

  it('a set of interfaces is read, a named set is a special case', () => {
    const on = (right: unknown) =>
      readNftFilterRule({
        family: 'ip',
        table: 't',
        chain: 'c',
        handle: 1,
        expr: [{ match: { op: '!=', left: { meta: { key: 'iifname' } }, right } }, { drop: null }],
      });
    expect(on({ set: ['eth0', 'veth*'] })).toMatchObject({
      input: { names: ['eth0', 'veth*'], negated: true },
      isSpecial: false,
    });
    expect(on('@zone')).toMatchObject({ isSpecial: true });
  });
});

describe('where a filter drops the overlay', () => {
  const position = (...lines: string[]) => {
    const table = parseSaved(['*filter', ...lines].join('\n')).get('filter')!;
    const chains = new Map<string, FilterRule[]>();
    for (const rule of table.rules) {
      chains.set(rule.chain, [...(chains.get(rule.chain) ?? []), readIptablesFilterRule(rule)]);
    }
    const dropsByPolicy = table.policies.get('FORWARD') === 'DROP';
    return dropPosition({ chains, base: 'FORWARD', dropsByPolicy, outside: new Set(['wan0']) }, 'flannel.1');
  };

  it.each<[string, number | undefined, string[]]>([
    ['nowhere without rules', undefined, []],
    ['at the end, by policy', 1, [':FORWARD DROP', '-A FORWARD -i lo -j ACCEPT']],
    [
      'at a catch-all',
      1,
      ['-A FORWARD -s 10.5.1.7/32 -j DROP', '-A FORWARD -j REJECT --reject-with icmp-host-prohibited'],
    ],
    ['not at what concerns other interfaces', undefined, ['-A FORWARD -i eth1 -o eth2 -j DROP']],
    ["not at a bridge's own traffic", undefined, ['-A FORWARD -i docker0 -o docker0 -j DROP']],
    ['at what concerns all but one interface', 0, ['-A FORWARD ! -i docker0 -o docker0 -j DROP']],
    ['at what names our link', 0, ['-A FORWARD -o flannel.1 -j DROP']],
    ['at what names it by a wildcard', 0, ['-A FORWARD -o flannel+ -j DROP']],
    [
      "not in Docker's isolation",
      undefined,
      [
        '-A FORWARD -j ISOLATION-1',
        '-A ISOLATION-1 -i docker0 ! -o docker0 -j ISOLATION-2',
        '-A ISOLATION-2 -o br-1 -m comment --comment x -j DROP',
        '-A ISOLATION-2 -j RETURN',
      ],
    ],
    [
      'inside a chain that is called',
      1,
      ['-A FORWARD -j USER', '-A FORWARD -j REJECTS', '-A USER -j RETURN', '-A REJECTS -j DROP'],
    ],
    ['not behind what surely accepts', 0, ['-A FORWARD -j DROP', '-A FORWARD -j ACCEPT']],
    ['by the policy, where a goto ends', 1, [':FORWARD DROP', '-A FORWARD -g X', '-A X -i lo -j ACCEPT']],
    ['nowhere, when all is accepted first', undefined, ['-A FORWARD -j ACCEPT', '-A FORWARD -j DROP']],
    ['nowhere in a loop of chains', undefined, ['-A FORWARD -j A', '-A A -j A']],
    ['not where the outside is kept from containers', undefined, ['-A FORWARD -i wan0 -j DROP']],
    ['at what keeps all but the outside from containers', 0, ['-A FORWARD ! -i wan0 -j DROP']],
    ['at what keeps a bridge from containers', 0, ['-A FORWARD -i docker0 -j DROP']],
    ['not at a target that only notes', undefined, ['-A FORWARD -j LOG --log-prefix "x"']],
  ])('%s', (_, expected, lines) => {
    expect(position(...lines)).toBe(expected);
  });
});

describe('where our rules stand among those of others', () => {
  const rule = (action: FilterRule['action'], isSpecial = false): FilterRule => ({
    input: undefined,
    output: undefined,
    isSpecial,
    action,
  });
  const user = rule({ jump: 'DOCKER-USER', isFinal: false });

  it.each<[string, boolean, { rules: FilterRule[]; latest: number; at: number }]>([
    ['at the end of nothing', true, { rules: [], latest: 0, at: 0 }],
    ['at the end', true, { rules: [user], latest: 1, at: 1 }],
    ['before what an administrator owns', false, { rules: [user], latest: 1, at: 0 }],
    ['directly before what drops', true, { rules: [user, rule('drop')], latest: 1, at: 1 }],
    ['behind what drops', false, { rules: [rule('drop'), user], latest: 0, at: 1 }],
    ['before a special case', false, { rules: [rule('drop', true)], latest: 1, at: 0 }],
    ['before what only notes', false, { rules: [rule('other', true)], latest: 1, at: 0 }],
    ['before what accepts, as we do', true, { rules: [rule('accept', true)], latest: 1, at: 0 }],
  ])('%s: right? %s', (_, expected, { rules, latest, at }) => {
    expect(isInPlace(rules, latest, at)).toBe(expected);
  });
});

describe('the interfaces outside', () => {
  const HEADER = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n';
  it.each([
    ['none without routes', HEADER, []],
    [
      'that of the default route',
      `${HEADER}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`,
      ['eth0'],
    ],
    [
      'not that of a half of all addresses',
      `${HEADER}tun0\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n`,
      [],
    ],
    ['not where packets end', `${HEADER}*\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\n`, []],
    ['not of a line that is cut off', `${HEADER}eth0\t00000000\t0102`, []],
  ])('%s', (_, text, expected) => {
    expect([...readDefaultRoutes(text)]).toEqual(expected);
  });
});

describe('what the kernel tells', () => {
  const message = (type: number) => {
    const buffer = Buffer.alloc(20);
    buffer.writeUInt32LE(20, 0);
    buffer.writeUInt16LE(type, 4);
    return buffer;
  };

  it.each([
    ['a new rule', 0x0a06, true],
    ['a table that went', 0x0a02, true],
    ['an element of a set', 0x0a0c, false],
    ['a new generation', 0x0a0f, false],
    ['something of another subsystem', 0x0102, false],
  ])('%s: a change of rules?', (_, type, expected) => {
    expect(hasRuleChange(Buffer.concat([message(0x0a0c), message(type)]))).toBe(expected);
  });
});
