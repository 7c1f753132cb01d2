import { forwardRules, masqueradeRules } from '../../src/core/masquerade';
import type { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { subnet } from '../../src/model/address';
import type { FirewallBlock } from '../../src/model/firewall';
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
