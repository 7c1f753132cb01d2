/** The tools are asked what the rules are only when that may have changed. */
import { openMonitor } from '../../native';
import { executeWith } from '../../src/kernel/firewall/execute';
import { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { outsideLinks } from '../../src/kernel/firewall/outside-links';
import { stampOfRules } from '../../src/kernel/firewall/rules-stamp';
import { requirePrivateNamespace, sh } from './private-namespace';

const signal = new AbortController().signal;
const execute = executeWith();
let started: string[] = [];
let firewall: LinuxFirewall;

beforeAll(requirePrivateNamespace);
beforeEach(async () => {
  sh('nft flush ruleset');
  firewall = new LinuxFirewall(
    (program, ...rest) => {
      started.push(program);
      return execute(program, ...rest);
    },
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
