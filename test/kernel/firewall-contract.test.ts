import { forwardRules, masqueradeRules } from '../../src/core/masquerade';
import type { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { subnet } from '../../src/model/address';
import { printFirewallRule, type FirewallBlock } from '../../src/model/firewall';
import { describeFirewallContract } from '../support/firewall-contract';
import { FirewallLab, firewallOf } from '../support/firewall-lab';

const signal = new AbortController().signal;

describeFirewallContract('Linux', async () => {
  const lab = await FirewallLab.bare();
  return { firewall: firewallOf(lab), close: () => lab.remove() };
});

describe('on Linux', () => {
  const network = subnet('10.5.0.0/16');
  const ours: FirewallBlock = {
    place: { tool: 'nftables', family: 'ipv4', role: 'masquerade' },
    owner: 'flannel.1',
    rules: masqueradeRules({ network, subnet: subnet('10.5.1.0/24') }, true),
  };
  let lab: FirewallLab;
  let firewall: LinuxFirewall;

  beforeAll(async () => {
    lab = await FirewallLab.bare();
    firewall = firewallOf(lab);
  });
  afterAll(() => lab.remove());
  beforeEach(() => lab.clearRules());

  const put = async (...blocks: FirewallBlock[]) =>
    expect(
      await firewall.apply(
        blocks.map((block) => ({ verb: 'put', block })),
        signal,
      ),
    ).toEqual([]);
  const found = async () => (await firewall.observe(['ipv4', 'ipv6'], signal)).blocks;
  const nft = (input: string) => lab.host.run('nft', ['-f', '-'], { input: `${input}\n` });
  /** Writes our table anew with that in place of this. */
  const rewrite = async (what: string, by: string) => {
    const listed = await lab.host.run('nft', ['list', 'table', 'ip', 'vtepd-flannel.1']);
    expect(listed).toContain(what);
    await nft(`delete table ip vtepd-flannel.1\n${listed.replace(what, by)}`);
  };

  it.each([
    [
      'its chain is at another place among those of others',
      () => rewrite('priority srcnat', 'priority filter'),
    ],
    ['there is another chain in it', () => nft('add chain ip vtepd-flannel.1 other')],
  ])('our table of nftables is not in effect when %s, and a put makes it so', async (_, damage) => {
    await put(ours);
    expect(await found()).toMatchObject([{ inEffect: true }]);
    await damage();
    expect(await found()).toMatchObject([{ inEffect: false }]);
    await put(ours);
    expect(await found()).toMatchObject([{ inEffect: true }]);
  });

  it.each([
    [
      'ipv4',
      true,
      [
        'meta mark & 0x00004000 == 0x00004000 return',
        'ip saddr 10.5.1.0/24 ip daddr 10.5.0.0/16 return',
        'ip saddr 10.5.0.0/16 ip daddr 10.5.1.0/24 return',
        'ip saddr != 10.5.0.0/16 ip daddr 10.5.1.0/24 return',
        'ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random',
        'ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random',
      ],
    ],
    [
      'ipv6',
      false,
      [
        'meta mark & 0x00004000 == 0x00004000 return',
        'ip6 saddr fd05:0:0:1::/64 ip6 daddr fd05::/48 return',
        'ip6 saddr fd05::/48 ip6 daddr fd05:0:0:1::/64 return',
        'ip6 saddr != fd05::/48 ip6 daddr fd05:0:0:1::/64 return',
        'ip6 saddr fd05::/48 ip6 daddr != ff00::/8 masquerade',
        'ip6 saddr != fd05::/48 ip6 daddr fd05::/48 masquerade',
      ],
    ],
  ] as const)(
    'what is written by netlink is what nft(8) lists, and reads again (%s)',
    async (family, random, rules) => {
      const six = { network: subnet('fd05::/48'), subnet: subnet('fd05:0:0:1::/64') };
      const overlay = family === 'ipv4' ? { network, subnet: subnet('10.5.1.0/24') } : six;
      await put({ ...ours, place: { ...ours.place, family }, rules: masqueradeRules(overlay, random) });
      const before = await found();
      const listed = await lab.host.run('nft', ['list', 'ruleset']);
      const table = family === 'ipv4' ? 'ip' : 'ip6';
      expect(listed.split('\n').map((line) => line.trim())).toEqual([
        `table ${table} vtepd-flannel.1 {`,
        'chain postrouting {',
        'type nat hook postrouting priority srcnat; policy accept;',
        ...rules,
        '}',
        '}',
        '',
      ]);
      await nft(`flush ruleset\n${listed}`);
      expect(await lab.host.run('nft', ['list', 'ruleset'])).toBe(listed);
      expect(await found()).toEqual(before);
    },
  );

  it.each([
    [
      'as v0.1.0 wrote it, by nft(8)',
      'ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade',
      'from 10.5.0.0/16 to !224.0.0.0/4 masquerade',
    ],
    ['a host', 'ip saddr 10.5.1.7 return', 'from 10.5.1.7/32 return'],
    ['a mark', 'meta mark & 0x4000 == 0x4000 return', 'mark 0x4000/0x4000 return'],
    ['a link', 'iifname "flannel.1" accept', 'by flannel.1 accept'],
    ['a port of TCP', 'tcp dport 22 accept', 'unknown rule: meta compare payload compare verdict'],
    ['a counter', 'ip saddr 10.5.0.0/16 counter return', 'unknown rule: payload compare counter verdict'],
    [
      'two sources',
      'ip saddr 10.5.0.0/16 ip saddr 10.5.1.0/24 return',
      'unknown rule: payload compare payload compare verdict',
    ],
    ['ports to masquerade by', 'meta l4proto tcp masquerade to :1000-2000', undefined],
    ['another masquerade', 'masquerade random', 'unknown rule: masquerade'],
    ['every other mark', 'meta mark & 0x4000 != 0x4000 return', 'unknown rule: meta mask compare verdict'],
  ])('a rule of our table is read, %s', async (_, text, printed) => {
    await nft(
      `table ip vtepd-flannel.1 { \n chain postrouting { \n type nat hook postrouting priority 100; \n ${text} \n } \n }`,
    );
    const [block] = await found();
    expect(block!.rules).toHaveLength(1);
    if (printed === undefined) expect(block!.rules[0]).toMatch(/^unknown rule: meta compare .*masq/);
    else expect(block!.rules).toEqual([printed]);
  });

  it('a prefix of any length is listed as one', async () => {
    const lengths = [1, 7, 8, 9, 15, 17, 23, 25, 31, 32];
    const within = (length: number) => ({ subnet: subnet(`128.0.0.0/${length}`), negated: false });
    const rules = lengths.map((length) => ({ source: within(length), verdict: 'return' }) as const);
    await put({ ...ours, rules });
    expect(await found()).toMatchObject([{ rules: rules.map(printFirewallRule) }]);
  });

  it('in a chain of others, the rules of one link, and of one family, do not touch those of another', async () => {
    await nft(
      'table inet mine { \n chain through { \n type filter hook forward priority 0; policy drop; \n } \n }',
    );
    const blockOf = (owner: string, family: 'ipv4' | 'ipv6'): FirewallBlock => ({
      place: { tool: 'nftables', family, role: 'forward', chain: 'inet mine through' },
      owner,
      rules: forwardRules(family === 'ipv4' ? network : subnet('fd05::/48')),
    });
    const [one, six, other] = [
      blockOf('flannel.1', 'ipv4'),
      blockOf('flannel.1', 'ipv6'),
      blockOf('flannel.2', 'ipv4'),
    ];
    const kept = ({ place, owner }: FirewallBlock) =>
      expect.objectContaining({ place, owner, inEffect: true }) as unknown;
    await put(one, six, other);
    expect(await found()).toHaveLength(3);
    await put(one);
    expect(await found()).toHaveLength(3);
    expect(await found()).toEqual(expect.arrayContaining([one, six, other].map(kept)));
    for (const [gone, left] of [
      [other, [one, six]],
      [six, [one]],
      [one, []],
    ] as const) {
      expect(await firewall.apply([{ verb: 'remove', block: gone }], signal)).toEqual([]);
      expect(await found()).toHaveLength(left.length);
      expect(await found()).toEqual(expect.arrayContaining(left.map(kept)));
    }
  });
});
