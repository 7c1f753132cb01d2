/** What the rules do to packets: one suite for every tool and both families. */
import type { FirewallWish } from '../../src/core/firewall';
import type { Family } from '../../src/model/address';
import type { FilterTool } from '../../src/model/firewall';
import type { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { ADDRESSES, FirewallLab, MARKED_PORT, PORT, firewallOf, onePass } from '../support/firewall-lab';

const TOOLS = ['nftables', 'iptables-nft', 'iptables-legacy'] as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const LINK = 'flannel.1';

let lab: FirewallLab;
let firewall: LinuxFirewall;

beforeAll(async () => {
  lab = await FirewallLab.make();
  firewall = firewallOf(lab);
});
afterAll(() => lab.remove());
beforeEach(() => lab.clearRules());

function wishOf(family: Family, options: Partial<FirewallWish['options']> = {}): FirewallWish {
  return {
    link: LINK,
    overlays: [ADDRESSES[family]],
    options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: undefined, ...options },
  };
}

const install = (tool: FilterTool, wish: FirewallWish) => onePass(firewall, tool, wish);

/** Who is seen by whom, on all the ways there are. */
async function sources(family: Family): Promise<Record<string, string>> {
  const ways = {
    'pod → pod of another host': lab.seen(family, 'pod', 'peer'),
    'pod of another host → pod': lab.seen(family, 'peer', 'pod'),
    'pod → outside': lab.seen(family, 'pod', 'outside'),
    'pod → outside, marked by kube-proxy': lab.seen(family, 'pod', 'outside', { marked: true }),
    'outside → pod, at its host': lab.seen(family, 'outside', 'pod'),
    'outside → pod of another host': lab.seen(family, 'outside', 'peer'),
    'host → pod of another host': lab.seen(family, 'host', 'peer', { own: ADDRESSES[family].host }),
  };
  const seen = Object.entries(ways).map(async ([way, source]) => [way, await source] as const);
  return Object.fromEntries(await Promise.all(seen));
}

function withoutMasquerade(family: Family) {
  const { pod, peer, outside, host } = ADDRESSES[family];
  return {
    'pod → pod of another host': pod,
    'pod of another host → pod': peer,
    'pod → outside': pod,
    'pod → outside, marked by kube-proxy': pod,
    'outside → pod, at its host': outside,
    'outside → pod of another host': outside,
    'host → pod of another host': host,
  };
}

function withMasquerade(family: Family) {
  const { host, vtep } = ADDRESSES[family];
  return {
    ...withoutMasquerade(family),
    'pod → outside': host,
    'outside → pod of another host': vtep,
    'host → pod of another host': vtep,
  };
}

const NOTHING_FORWARDED = { 'pod → pod of another host': 'no answer', 'pod → outside': 'no answer' };

describe.each(FAMILIES)('%s', (family) => {
  it('nobody is masqueraded without rules', async () => {
    expect(await sources(family)).toEqual(withoutMasquerade(family));
  });

  describe.each(TOOLS)('masquerade rules in %s', (tool) => {
    it('hide who leaves the overlay, and who enters it on the way to another host; nobody else', async () => {
      await lab.markPackets();
      await install(tool, wishOf(family));
      expect(await sources(family)).toEqual(withMasquerade(family));
    });

    it('leave multicast alone', async () => {
      await install(tool, wishOf(family));
      expect(await lab.seenByGroup(family)).toBe(ADDRESSES[family].vtep);
    });

    it('are not there without --ip-masq', async () => {
      await install(tool, wishOf(family, { ipMasq: false }));
      expect(await sources(family)).toEqual(withoutMasquerade(family));
    });
  });

  const save = family === 'ipv4' ? 'iptables' : 'ip6tables';
  const nftFamily = family === 'ipv4' ? 'ip' : 'ip6';
  /** What others do to forwarded packets. */
  const obstacles: Record<string, readonly [command: string, ...args: string[]]> = {
    'Docker sets the policy of FORWARD to DROP (iptables-nft)': [`${save}-nft`, '-P', 'FORWARD', 'DROP'],
    'Docker sets the policy of FORWARD to DROP (iptables-legacy)': [
      `${save}-legacy`,
      '-P',
      'FORWARD',
      'DROP',
    ],
    'a catch-all REJECT ends FORWARD': ['sh', '-ec', `${save}-nft -A FORWARD -j REJECT`],
    'Docker 28 drops what no published port lets in': [
      'sh',
      '-ec',
      `${save}-nft -N DOCKER-USER; ${save}-nft -N DOCKER-FORWARD; ${save}-nft -N DOCKER
       ${save}-nft -A DOCKER ! -i docker0 -o docker0 -j DROP
       ${save}-nft -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
       ${save}-nft -A DOCKER-FORWARD -o docker0 -j DOCKER
       ${save}-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT
       ${save}-nft -I FORWARD -j DOCKER-FORWARD; ${save}-nft -I FORWARD -j DOCKER-USER
       ${save}-nft -P FORWARD DROP`,
    ],
    'Docker 28 drops what does not come from its bridge': [
      'sh',
      '-ec',
      `${save}-nft -t raw -A PREROUTING -d ${ADDRESSES[family].pod} ! -i docker0 -j DROP`,
    ],
    'Docker 28 drops what does not come from its bridge (iptables-legacy)': [
      'sh',
      '-ec',
      `${save}-legacy -t raw -A PREROUTING -d ${ADDRESSES[family].pod} ! -i docker0 -j DROP`,
    ],
    'Docker 28.0 drops for each published port what does not come from its bridge': [
      'sh',
      '-ec',
      [PORT, MARKED_PORT]
        .map(
          (port) =>
            `${save}-nft -t raw -A PREROUTING -d ${ADDRESSES[family].pod} ! -i docker0 -p udp -m udp --dport ${port} -j DROP`,
        )
        .join('\n'),
    ],
    'Docker 29 drops, in nftables of its own, what no published port lets in and does not come from its bridge':
      [
        'nft',
        `table ${nftFamily} docker-bridges {
         map filter-forward-in-jumps {
           type ifname : verdict
           elements = { "docker0" : jump filter-forward-in__docker0 }
         }
         map filter-forward-out-jumps {
           type ifname : verdict
           elements = { "docker0" : jump filter-forward-out__docker0 }
         }
         chain filter-FORWARD {
           type filter hook forward priority 0; policy accept;
           oifname vmap @filter-forward-in-jumps
           iifname vmap @filter-forward-out-jumps
         }
         chain filter-forward-in__docker0 {
           ct state established,related counter accept
           iifname "docker0" counter accept comment "ICC"
           counter drop comment "UNPUBLISHED PORT DROP"
         }
         chain filter-forward-out__docker0 {
           ct state established,related counter accept
           counter accept comment "OUTGOING"
         }
         chain raw-PREROUTING {
           type filter hook prerouting priority -300; policy accept;
           ${nftFamily} daddr ${ADDRESSES[family].pod} iifname != "docker0" counter drop comment "DROP DIRECT ACCESS"
         }
       }`,
      ],
    'firewalld rejects what belongs to no zone': [
      'nft',
      `table inet firewalld {
         chain filter_FORWARD {
           type filter hook forward priority 10; policy accept;
           ct state established,related accept
           ct state invalid drop
           iifname "lo" accept
           jump filter_FORWARD_POLICIES
           reject with icmpx type admin-prohibited
         }
         chain filter_FORWARD_POLICIES {
           iifname "eth0" jump filter_FWD_public
           jump filter_FWD_public
         }
         chain filter_FWD_public {
           meta l4proto ipv6-icmp accept
           reject with icmpx type admin-prohibited
         }
       }`,
    ],
    'a table of the administrator drops by policy': [
      'nft',
      `table ${nftFamily} mine {
         chain through {
           type filter hook forward priority 0; policy drop;
           tcp dport 22 accept
         }
       }`,
    ],
  };

  // The way through a filter is found by the same code for both families: one tool each is enough for the second.
  const tools = family === 'ipv4' ? TOOLS : (['nftables'] as const);

  describe.each(Object.keys(obstacles))('%s', (name) => {
    // What comes by another interface is none of ours: there Docker's protection stands.
    const isGuarded = name.includes('does not come from its bridge');
    const expected = () => ({
      ...withMasquerade(family),
      ...(isGuarded ? { 'outside → pod, at its host': 'no answer' } : {}),
      ...(isGuarded && !name.includes('port what')
        ? { 'pod → outside, marked by kube-proxy': 'no answer' }
        : {}),
    });
    const obstruct = () => {
      const [command, ...args] = obstacles[name]!;
      return lab.host.run(command, args);
    };

    it('which stops the overlay without rules of ours', async () => {
      await obstruct();
      const seen = await sources(family);
      expect(Object.values(seen)).toContain('no answer');
      if (!name.includes('Docker 2')) expect(seen).toMatchObject(NOTHING_FORWARDED);
    });

    it.each(tools)('before us: everything of the overlay passes, with rules in %s', async (tool) => {
      await obstruct();
      await lab.markPackets();
      await install(tool, wishOf(family));
      expect(await sources(family)).toEqual(expected());
      expect(await install(tool, wishOf(family))).toBe(0);
    });

    it.each(tools)(
      'after us: the next pass lets the overlay through again, with rules in %s',
      async (tool) => {
        await lab.markPackets();
        await install(tool, wishOf(family));
        await obstruct();
        await install(tool, wishOf(family));
        expect(await sources(family)).toEqual(expected());
        expect(await install(tool, wishOf(family))).toBe(0);
      },
    );
  });

  it("lets an administrator's special cases and Docker's own isolation stand", async () => {
    await lab.host.run('sh', [
      '-ec',
      `${save}-nft -P FORWARD DROP
       ${save}-nft -A FORWARD -s ${ADDRESSES[family].pod} -d ${ADDRESSES[family].peer} -j DROP
       ${save}-nft -A FORWARD -i docker0 -o docker0 -j DROP
       ${save}-nft -A FORWARD -j REJECT`,
    ]);
    await install('nftables', wishOf(family));
    const saved = await lab.host.run(`${save}-nft-save`, ['-t', 'filter']);
    expect(saved.split('\n').filter((line) => line.startsWith('-A FORWARD'))).toEqual([
      expect.stringContaining('-j DROP'),
      '-A FORWARD -i docker0 -o docker0 -j DROP',
      '-A FORWARD -m comment --comment "vtepd flannel.1" -j VTEPD-FWD-flannel.1',
      expect.stringContaining('-j REJECT'),
    ]);
    const seen = await sources(family);
    expect(seen).toMatchObject({
      'pod → pod of another host': 'no answer',
      'pod → outside': ADDRESSES[family].host,
    });
  });
});
