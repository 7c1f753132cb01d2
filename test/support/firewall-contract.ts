/** What every Firewall promises: run on the fake and on Linux. */
import { arrivalRules, forwardRules, masqueradeRules } from '../../src/core/masquerade';
import { subnet, type Family } from '../../src/model/address';
import {
  printFirewallRule,
  type FilterTool,
  type FirewallBlock,
  type FirewallOperation,
  type FirewallPlace,
} from '../../src/model/firewall';
import type { Firewall } from '../../src/ports';

export interface FirewallEnvironment {
  /** A packet filter with all three tools, and nobody's rules. */
  readonly firewall: Firewall;
  close(): Promise<void>;
}

const SIGNAL = new AbortController().signal;
const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];
const TOOLS: readonly FilterTool[] = ['nftables', 'iptables-nft', 'iptables-legacy'];

const OVERLAYS = {
  ipv4: { network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') },
  ipv6: { network: subnet('fd05::/48'), subnet: subnet('fd05:0:0:1::/64') },
};

function masqueradeBlock(
  tool: FilterTool,
  family: Family,
  owner = 'flannel.1',
  random = true,
): FirewallBlock {
  return {
    place: { tool, family, role: 'masquerade' },
    owner,
    rules: masqueradeRules(OVERLAYS[family], random),
  };
}

function forwardBlock(tool: FilterTool, family: Family, owner = 'flannel.1'): FirewallBlock {
  return { place: { tool, family, role: 'forward' }, owner, rules: forwardRules(OVERLAYS[family].network) };
}

function arrivalBlock(tool: FilterTool, family: Family, owner = 'flannel.1'): FirewallBlock {
  const rules = arrivalRules(owner, OVERLAYS[family].subnet);
  return { place: { tool, family, role: 'arrival' }, owner, rules };
}

export function describeFirewallContract(name: string, open: () => Promise<FirewallEnvironment>): void {
  describe(`${name} keeps the contract of a firewall:`, () => {
    let environment: FirewallEnvironment;
    let firewall: Firewall;
    beforeEach(async () => {
      environment = await open();
      ({ firewall } = environment);
    });
    afterEach(() => environment.close());

    const observe = (families = FAMILIES) => firewall.observe(families, SIGNAL);
    const apply = async (...operations: FirewallOperation[]) =>
      expect(await firewall.apply(operations, SIGNAL)).toEqual([]);
    const put = (...blocks: FirewallBlock[]) =>
      apply(...blocks.map((block) => ({ verb: 'put', block }) as const));
    const remove = (...blocks: { place: FirewallPlace; owner: string }[]) =>
      apply(...blocks.map((block) => ({ verb: 'remove', block }) as const));
    const installed = (block: FirewallBlock) => ({
      place: block.place,
      owner: block.owner,
      rules: block.rules.map(printFirewallRule),
      inEffect: true,
    });

    it('all tools are there, and nothing of ours', async () => {
      const { tools, problems, blocks } = await observe();
      expect([...tools.keys()].sort()).toEqual([...TOOLS].sort());
      expect([...tools.values()].filter(({ isInUse }) => isInUse)).toEqual([]);
      expect({ problems, blocks }).toEqual({ problems: [], blocks: [] });
    });

    describe.each(TOOLS)('%s', (tool) => {
      const blocksFor = (family: Family, owner?: string) => [
        masqueradeBlock(tool, family, owner),
        ...(tool === 'nftables'
          ? []
          : [forwardBlock(tool, family, owner), arrivalBlock(tool, family, owner)]),
      ];

      it.each(FAMILIES)('what was put is there and in effect, as it was put (%s)', async (family) => {
        const blocks = blocksFor(family);
        await put(...blocks);
        expect((await observe()).blocks).toEqual(expect.arrayContaining(blocks.map(installed)));
        expect((await observe()).blocks).toHaveLength(blocks.length);
      });

      it('a put replaces the whole block', async () => {
        await put(masqueradeBlock(tool, 'ipv4'));
        const other = { ...masqueradeBlock(tool, 'ipv4', 'flannel.1', false) };
        const shorter = { ...other, rules: other.rules.slice(2) };
        await put(shorter);
        expect((await observe()).blocks).toEqual([installed(shorter)]);
      });

      it('what was put twice is there once', async () => {
        await put(...blocksFor('ipv4'));
        await put(...blocksFor('ipv4'));
        const { blocks } = await observe();
        expect(blocks).toHaveLength(blocksFor('ipv4').length);
        expect(blocks.filter(({ inEffect }) => !inEffect)).toEqual([]);
      });

      it('links do not touch each other', async () => {
        const large = 'flannel.9999999';
        await put(...blocksFor('ipv4'), ...blocksFor('ipv4', large), ...blocksFor('ipv6', large));
        await remove(...blocksFor('ipv4', large), ...blocksFor('ipv6', large));
        const { blocks } = await observe();
        expect(blocks).toEqual(expect.arrayContaining(blocksFor('ipv4').map(installed)));
        expect(blocks).toHaveLength(blocksFor('ipv4').length);
      });

      it('to remove what is not there succeeds', async () => {
        await remove(...blocksFor('ipv4'), ...blocksFor('ipv6'));
        expect((await observe()).blocks).toEqual([]);
      });

      it('only families that were asked for are told', async () => {
        await put(...blocksFor('ipv4'));
        expect((await observe(['ipv4'])).blocks).toHaveLength(blocksFor('ipv4').length);
        const { blocks } = await observe(['ipv6']);
        expect(blocks.filter(({ place }) => place.family === 'ipv6')).toEqual([]);
      });
    });

    it('a filter of iptables is a gate for forwarded packets, once it is there', async () => {
      expect((await observe()).gates).toEqual([]);
      await put(forwardBlock('iptables-nft', 'ipv4'), forwardBlock('iptables-legacy', 'ipv6'));
      const { gates } = await observe();
      const places = [
        forwardBlock('iptables-nft', 'ipv4').place,
        forwardBlock('iptables-legacy', 'ipv6').place,
      ];
      expect(gates).toHaveLength(2);
      expect(gates).toEqual(expect.arrayContaining(places.map((place) => ({ place, drops: false }))));
    });

    it('an aborted signal ends everything with its reason', async () => {
      const signal = AbortSignal.abort(new Error('enough'));
      await expect(firewall.observe(FAMILIES, signal)).rejects.toThrow('enough');
      const operation = { verb: 'put', block: masqueradeBlock('nftables', 'ipv4') } as const;
      await expect(firewall.apply([operation], signal)).rejects.toThrow('enough');
    });
  });
}
