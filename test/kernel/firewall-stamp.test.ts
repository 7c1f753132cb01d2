/** The tools are asked what the rules are only when that may have changed. */
import { openMonitor } from '../../native';
import { forwardRules, masqueradeRules } from '../../src/core/masquerade';
import { executeWith } from '../../src/kernel/firewall/execute';
import { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { outsideLinks } from '../../src/kernel/firewall/outside-links';
import { stampOfRules } from '../../src/kernel/firewall/rules-stamp';
import { openNfnetlink } from '../../src/kernel/nftables/nfnetlink';
import { subnet } from '../../src/model/address';
import { requirePrivateNamespace, sh } from './private-namespace';

const signal = new AbortController().signal;
const execute = executeWith();
let started: string[] = [];
/** Runs of nft(8): their arguments. */
let asked: string[][] = [];
let firewall: LinuxFirewall;

beforeAll(requirePrivateNamespace);
beforeEach(async () => {
  sh('nft flush ruleset');
  firewall = new LinuxFirewall(
    (program, args, ...rest) => {
      started.push(program);
      if (program === 'nft') asked.push([...args]);
      return execute(program, args, ...rest);
    },
    openNfnetlink,
    openMonitor,
    stampOfRules,
    outsideLinks,
  );
  await firewall.observe(['ipv4'], signal);
  started = [];
});
afterAll(() => sh('nft flush ruleset'));

// First, because a table of iptables-legacy stays as long as its namespace.
test('while nobody changes a rule, no tool is started', async () => {
  const before = await firewall.observe(['ipv4'], signal);
  expect(await firewall.observe(['ipv4'], signal)).toBe(before);
  expect(started).toEqual([]);
});

test.each([
  ['a table of nftables', 'nft add table ip foreign'],
  ['a rule of iptables-nft', 'iptables-nft -A FORWARD -j DROP'],
])('after somebody added %s, they are asked again, once', async (_, command) => {
  sh(command);
  const after = await firewall.observe(['ipv4'], signal);
  expect(started).not.toEqual([]);
  started = [];
  expect(await firewall.observe(['ipv4'], signal)).toBe(after);
  expect(started).toEqual([]);
});

test('nft(8) is told nothing: it lists what others have, and not what is ours', async () => {
  const filter = 'type filter hook forward priority 0; policy drop;';
  sh('nft -f -', `table inet mine { \n chain through { ${filter} } \n }`);
  asked = [];
  const network = subnet('10.5.0.0/16');
  const place = { tool: 'nftables', family: 'ipv4', role: 'masquerade' } as const;
  const own = {
    place,
    owner: 'flannel.1',
    rules: masqueradeRules({ network, subnet: subnet('10.5.1.0/24') }, true),
  };
  const chain = 'inet mine through';
  const foreign = {
    place: { ...place, role: 'forward', chain } as const,
    owner: 'flannel.1',
    rules: forwardRules(network),
  };
  for (const verb of ['put', 'remove'] as const) {
    const operations = [own, foreign].map((block) => ({ verb, block }));
    expect(await firewall.apply(operations, signal)).toEqual([]);
    const { blocks } = await firewall.observe(['ipv4'], signal);
    expect(blocks.map(({ inEffect }) => inEffect)).toEqual(verb === 'put' ? [true, true] : []);
  }
  expect(asked.length).toBeGreaterThan(0);
  expect(asked.filter((args) => args[0] !== '-j' || args[3] !== 'list')).toEqual([]);
  expect(asked.flat()).not.toContain('vtepd-flannel.1');
});

test('for other families they are asked again', async () => {
  await firewall.observe(['ipv4', 'ipv6'], signal);
  expect(started).not.toEqual([]);
});

test('beside rules of iptables-legacy, of which nobody is told, they are always asked', async () => {
  sh('iptables-legacy -A FORWARD -j DROP');
  expect(stampOfRules()).toBeUndefined();
  await firewall.observe(['ipv4'], signal);
  started = [];
  const { gates } = await firewall.observe(['ipv4'], signal);
  expect(started).not.toEqual([]);
  expect(gates.map(({ place }) => place.tool)).toContain('iptables-legacy');
});
