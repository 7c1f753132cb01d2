/** Where our rules stand in chains of others: no farther in front than what drops the overlay asks for, whatever was there before. */
import type { FirewallWish } from '../../src/core/firewall';
import type { Family } from '../../src/model/address';
import type { FilterTool } from '../../src/model/firewall';
import type { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { ADDRESSES, FirewallLab, firewallOf, onePass } from '../support/firewall-lab';

const FAMILIES = ['ipv4', 'ipv6'] as const;
const OURS = 'ours';

let lab: FirewallLab;
let firewall: LinuxFirewall;
let outside: ReadonlySet<string>;

beforeAll(async () => {
  lab = await FirewallLab.make();
  firewall = firewallOf(lab, () => outside);
});
afterAll(() => lab.remove());
beforeEach(async () => {
  outside = new Set();
  await lab.clearRules();
});

const sh = (script: string) => lab.host.run('sh', ['-ec', script]);

function wishOf(family: Family, link = 'flannel.1'): FirewallWish {
  return {
    link,
    overlays: [ADDRESSES[family]],
    options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: undefined },
  };
}

const pass = (tool: FilterTool, wish: FirewallWish) => onePass(firewall, tool, wish);

/** The rules of a chain, in order; ours by that word. */
async function chain(command: string, table: string, name: string): Promise<string[]> {
  const saved = await sh(`${command} -t ${table} -S ${name}`);
  const lines = saved.split('\n').filter((line) => line.startsWith(`-A ${name} `));
  return lines.map((line) => (line.includes('VTEPD-') ? OURS : line.slice(`-A ${name} `.length)));
}

interface Case {
  readonly name: string;
  readonly tool: 'iptables-nft' | 'iptables-legacy';
  readonly family: Family;
  readonly command: string;
}

const CASES: Case[] = (['iptables-nft', 'iptables-legacy'] as const).flatMap((tool) =>
  FAMILIES.map((family) => {
    const command = family === 'ipv4' ? tool : tool.replace('ip', 'ip6');
    return { name: `${family}, ${tool}`, tool, family, command };
  }),
);

describe.each(CASES)('$name', ({ tool, family, command: t }) => {
  const { pod, peer } = ADDRESSES[family];
  const forward = () => chain(t, 'filter', 'FORWARD');

  /** Docker's chains, one of ufw's, and a rule of the administrator in each. */
  const settle = async () => {
    await sh(`${t} -N DOCKER-USER; ${t} -A DOCKER-USER -s ${peer} -p tcp -j DROP; ${t} -A DOCKER-USER -j RETURN
      ${t} -N ufw-user-forward; ${t} -A ufw-user-forward -p tcp --dport 23 -j DROP
      ${t} -A FORWARD -j DOCKER-USER; ${t} -A FORWARD -j ufw-user-forward; ${t} -P FORWARD DROP`);
    await pass(tool, wishOf(family));
    expect(await forward()).toEqual(['-j DOCKER-USER', '-j ufw-user-forward', OURS]);
  };

  it.each([
    ['what names our link', '-I FORWARD -i flannel.1 -j DROP', '-D FORWARD -i flannel.1 -j DROP', 0],
    ['a catch-all', '-I FORWARD 2 -j REJECT', '-D FORWARD -j REJECT', 1],
    ['it in a chain of the administrator', '-I DOCKER-USER -o flannel.1 -j DROP', '-D DOCKER-USER 1', 0],
    ['it in a chain of ufw', '-I ufw-user-forward -j DROP', '-D ufw-user-forward 1', 1],
  ])('%s for a moment brings us to the front, and back when it is gone', async (_, come, go, front) => {
    await settle();
    await sh(`${t} ${come}`);
    expect(await pass(tool, wishOf(family))).toBe(1);
    expect((await forward()).indexOf(OURS)).toBe(front);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(peer);
    expect(await pass(tool, wishOf(family))).toBe(0);
    await sh(`${t} ${go}`);
    expect(await pass(tool, wishOf(family))).toBe(1);
    expect(await forward()).toEqual(['-j DOCKER-USER', '-j ufw-user-forward', OURS]);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(peer);
    expect(await pass(tool, wishOf(family))).toBe(0);
  });

  it('what others add behind us counts, whether or not anything drops; what accepts needs no write', async () => {
    await pass(tool, wishOf(family));
    await sh(`${t} -A FORWARD -s ${pod} -j ACCEPT`);
    expect(await pass(tool, wishOf(family))).toBe(0);
    await sh(`${t} -A FORWARD -s ${pod} -d ${peer} -j DROP`);
    expect(await pass(tool, wishOf(family))).toBe(1);
    expect((await forward()).at(-1)).toBe(OURS);
    expect(await lab.seen(family, 'pod', 'peer')).toBe(pod);
    expect(await pass(tool, wishOf(family))).toBe(0);
  });

  it('what keeps the outside from containers does not bring us before it', async () => {
    outside = new Set(['eth0']);
    await sh(`${t} -N DOCKER-USER; ${t} -A DOCKER-USER -i eth0 -j DROP; ${t} -A FORWARD -j DOCKER-USER
      ${t} -P FORWARD DROP`);
    await pass(tool, wishOf(family));
    expect(await forward()).toEqual(['-j DOCKER-USER', OURS]);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(peer);
    expect(await lab.seen(family, 'outside', 'pod')).toBe('no answer');
  });

  it('two agents of one host come to rest side by side, before what drops', async () => {
    const wishes = [wishOf(family), wishOf(family, 'flannel.2')];
    await sh(`${t} -A FORWARD -p tcp -j RETURN; ${t} -A FORWARD -j REJECT`);
    for (const wish of wishes) await pass(tool, wish);
    expect((await forward()).slice(1, 3)).toEqual([OURS, OURS]);
    await sh(`${t} -I FORWARD -j DROP`);
    for (const wish of wishes) expect(await pass(tool, wish)).toBe(1);
    expect((await forward()).slice(0, 2)).toEqual([OURS, OURS]);
    await sh(`${t} -D FORWARD -j DROP`);
    for (const wish of wishes) expect(await pass(tool, wish)).toBe(1);
    expect((await forward()).slice(1, 3)).toEqual([OURS, OURS]);
    for (const wish of wishes) expect(await pass(tool, wish)).toBe(0);
  });

  it('what arrives: the guard of a bridge brings us before it, and no farther', async () => {
    const guard = `PREROUTING -d ${pod} ! -i docker0 -j DROP`;
    await sh(`${t} -t raw -A PREROUTING -s 192.0.2.1 -j DROP || ${t} -t raw -A PREROUTING -s 2001:db8::1 -j DROP
      ${t} -t raw -A ${guard}`);
    await pass(tool, wishOf(family));
    const arrival = async () => (await chain(t, 'raw', 'PREROUTING')).indexOf(OURS);
    expect(await arrival()).toBe(1);
    await sh(`${t} -t raw -I ${guard}`);
    expect(await pass(tool, wishOf(family))).toBe(1);
    expect(await arrival()).toBe(0);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(peer);
    await sh(`${t} -t raw -D ${guard}`);
    expect(await pass(tool, wishOf(family))).toBe(1);
    expect(await arrival()).toBe(1);
    expect(await pass(tool, wishOf(family))).toBe(0);
  });

  it('masquerade rules come behind those of others, and are never moved', async () => {
    await sh(`${t} -t nat -A POSTROUTING -s ${pod} -j ACCEPT`);
    await pass(tool, wishOf(family));
    const rules = [OURS, `-s ${pod}/${family === 'ipv4' ? 32 : 128} -j ACCEPT`].reverse();
    expect(await chain(t, 'nat', 'POSTROUTING')).toEqual(rules);
    await sh(`${t} -t nat -I POSTROUTING -o flannel.1 -j MASQUERADE; ${t} -t nat -D POSTROUTING 1`);
    expect(await pass(tool, wishOf(family))).toBe(0);
    expect(await chain(t, 'nat', 'POSTROUTING')).toEqual(rules);
  });
});

describe.each(FAMILIES)('%s, a chain of another nftables table', (family) => {
  const nft = (script: string) => lab.host.run('nft', ['-f', '-'], { input: `${script}\n` });
  const through = async () => {
    const text = await sh('nft -a list chain inet mine through');
    const rules = text.split('\n').filter((line) => / # handle \d+$/.test(line) && !line.includes('{'));
    return rules.map((line) => (line.includes('vtepd') ? OURS : line.trim().replace(/ # handle \d+$/, '')));
  };
  const handleOf = async (rule: string) =>
    new RegExp(`${rule} # handle (\\d+)`).exec(await sh('nft -a list chain inet mine through'))![1]!;

  it('what names our link for a moment brings us to the front, and back when it is gone', async () => {
    await nft(`table inet mine {
      chain user { tcp dport 23 drop; }
      chain through { type filter hook forward priority 0; policy drop; jump user; }
    }`);
    await pass('nftables', wishOf(family));
    expect(await through()).toEqual(['jump user', OURS, OURS]);
    await nft('insert rule inet mine through iifname "flannel.1" drop');
    expect(await pass('nftables', wishOf(family))).toBe(1);
    expect((await through()).slice(0, 2)).toEqual([OURS, OURS]);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(ADDRESSES[family].peer);
    await nft(`delete rule inet mine through handle ${await handleOf('iifname "flannel.1" drop')}`);
    expect(await pass('nftables', wishOf(family))).toBe(1);
    expect(await through()).toEqual(['jump user', OURS, OURS]);
    expect(await lab.seen(family, 'peer', 'pod')).toBe(ADDRESSES[family].peer);
    expect(await pass('nftables', wishOf(family))).toBe(0);
  });

  it('our rules stand together: what came between them goes before them', async () => {
    await nft('table inet mine { chain through { type filter hook forward priority 0; policy drop; }; }');
    await pass('nftables', wishOf(family));
    const [, handle] = /# handle (\d+)\n\s*\}/.exec(await sh('nft -a list chain inet mine through'))!;
    await nft(`insert rule inet mine through handle ${handle} tcp dport 23 drop`);
    expect(await pass('nftables', wishOf(family))).toBe(1);
    expect(await through()).toEqual(['tcp dport 23 drop', OURS, OURS]);
    expect(await pass('nftables', wishOf(family))).toBe(0);
  });
});
