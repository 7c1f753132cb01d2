import { desiredState } from '../../src/core/desired';
import { plan } from '../../src/core/plan';
import { ipAddress, subnet } from '../../src/model/address';
import type { KernelState, Link } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { printOperation } from '../../src/model/operation';
import type { Overlay } from '../../src/model/overlay';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { exampleOverlay, examplePeer } from '../support/examples';
import { NoticeProbe, SCOPE, expectDone, printed } from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { sh } from './private-namespace';

const signal = new AbortController().signal;
let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

const overlayOf = (): Overlay => {
  const address = ipAddress('192.168.0.1');
  return exampleOverlay({
    underlay: { name: 'eth0', index: underlay.index, mtu: 1500, address, publicIp: address },
  });
};
const desired = () => desiredState(overlayOf(), [examplePeer(2)], []);

/** One pass; what it did. */
async function pass(): Promise<string[]> {
  const operations = plan(desired(), await kernel.observe(SCOPE, signal));
  expectDone(await kernel.apply(operations, signal));
  return operations.map(printOperation);
}

/** Everything that ip(8) can change in a VXLAN device of ours, so that packets are lost. */
const OBSTACLES: readonly (readonly [commands: string, reason: string])[] = [
  ['ip link set flannel.1 protodown on', 'protodown true → false'],
  [
    'ip link set flannel.1 protodown on; ip link set flannel.1 protodown_reason 3 on; ip link set flannel.1 protodown_reason 0 on',
    'protodown true → false',
  ],
  ['ip link set flannel.1 arp off', 'noarp true → false'],
  ['ip link set flannel.1 type vxlan ttl 1', 'ttl 1 → 0'],
  ['ip link set flannel.1 type vxlan df set', 'df 1 → 0'],
  ['ip link set flannel.1 type vxlan ttl 3 df inherit', 'ttl 3 → 0, df 2 → 0'],
  ['ip link set flannel.1 down', 'up false → true'],
];

beforeEach(async () => {
  await pass();
  expect(await pass()).toEqual([]);
});

test.each(OBSTACLES)('after `%s` the device is as before, and everything on it', async (commands, reason) => {
  const probe = new NoticeProbe(kernel);
  for (const command of commands.split('; ')) sh(command);
  await probe.until('the link', ({ notices }) =>
    notices.some(
      (notice) =>
        notice.kind === 'changed' && !notice.name && notice.what.startsWith('link flannel.1 changed'),
    ),
  );
  const [first] = await pass();
  expect(first).toContain(`(${reason})`);
  expect(await pass()).toEqual([]);
  expect(sh('ip link show flannel.1')).toContain('LOWER_UP');
  expect(printed(await kernel.observe(SCOPE, signal))).toEqual(printed(desired()));
  probe.stop();
});

test('several of them at once are undone in one pass', async () => {
  sh('ip link set flannel.1 protodown on');
  sh('ip link set flannel.1 arp off mtu 1300 address 02:00:00:00:00:77');
  sh('ip link set flannel.1 type vxlan ttl 1 learning');
  await pass();
  expect(await pass()).toEqual([]);
  expect(printed(await kernel.observe(SCOPE, signal))).toEqual(printed(desired()));
});

test('what we undo ourselves is not told as a change of others', async () => {
  sh('ip link set flannel.1 protodown on');
  sh('ip link set flannel.1 type vxlan ttl 1');
  const probe = new NoticeProbe(kernel);
  await pass();
  // What comes after it proves that it has been passed over.
  sh('ip link set flannel.1 mtu 1300');
  await probe.until('the change of another', ({ changes }) => changes.length > 0);
  expect(probe.changes).toEqual(['link flannel.1 changed: mtu 1450 → 1300']);
  probe.stop();
});

test.each([
  ['whose packets only one with remote checksums understands', 'remcsumtx', 'remote checksum offload is on'],
  ['that has no room for all peers', 'maxaddress 1', 'it takes no more than 1 FDB entries'],
  ['whose packets end where the inner ones should', 'ttl inherit', 'TTL is inherited'],
])('a device %s is made anew', async (_what, words, reason) => {
  sh('ip link del flannel.1');
  const { mac } = desired().get('link flannel.1') as Link;
  sh(
    `ip link add flannel.1 address ${mac} type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning ${words}`,
  );
  const [first] = await pass();
  expect(first).toContain(reason);
  expect(sh('ip -d link show flannel.1')).not.toContain(` ${words.replace('maxaddress', 'maxaddr')}`);
  expect(await pass()).toEqual([]);
});

const MAC = '02:00:00:00:00:02';

/** Each leaves the entry where it is, and its packets go elsewhere. */
test.each([
  `bridge fdb replace ${MAC} dev flannel.1 dst 192.168.0.2 port 9999 self permanent`,
  `bridge fdb replace ${MAC} dev flannel.1 dst 192.168.0.2 vni 77 self permanent`,
  `bridge fdb replace ${MAC} dev flannel.1 dst 192.168.0.2 via lo self permanent`,
  `bridge fdb del ${MAC} dev flannel.1 self; ip nexthop add id 50 via 192.168.0.9 fdb; ip nexthop add id 51 group 50 fdb; bridge fdb add ${MAC} dev flannel.1 nhid 51 self permanent`,
])('after `%s` the entry is as before, seen by its name and among all', async (commands) => {
  const probe = new NoticeProbe(kernel);
  for (const command of commands.split('; ')) sh(command);
  await probe.until('the entry', ({ notices }) =>
    notices.some((notice) => notice.kind === 'changed' && notice.what.startsWith(`fdb-entry ${MAC} now`)),
  );
  const name = { kind: 'fdb-entry', link: 'flannel.1', mac: macAddress(MAC) } as const;
  const fits = (state: KernelState) => planOf(state).every(({ object }) => object.kind !== 'fdb-entry');
  const planOf = (state: KernelState) => plan(desired(), state);
  expect(fits((await kernel.look([name], SCOPE, signal))!)).toBe(false);
  for (let again = 0; again < 3 && (await pass()).length > 0; again++);
  expect(await pass()).toEqual([]);
  expect(printed(await kernel.observe(SCOPE, signal))).toEqual(printed(desired()));
  expect(sh(`bridge fdb show dev flannel.1`)).toMatch(
    new RegExp(`^${MAC} dst 192.168.0.2 self permanent\\s*$`, 'm'),
  );
  probe.stop();
});

test('a host that has another subnet now sends to the host that has its former one, after one pass', async () => {
  const overlay = { ...overlayOf(), subnet: subnet('10.5.9.0/24') };
  const peers = [examplePeer(1, { vtepMac: macAddress('02:00:00:00:00:77') }), examplePeer(2)];
  const renumbered = desiredState(overlay, peers, []);
  const operations = plan(renumbered, await kernel.observe(SCOPE, signal));
  expectDone(await kernel.apply(operations, signal));
  expect(printed(await kernel.observe(SCOPE, signal))).toEqual(printed(renumbered));
});
