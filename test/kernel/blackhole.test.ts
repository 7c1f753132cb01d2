import { ipAddress, type IpAddress } from '../../src/model/address';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import {
  NoticeProbe,
  SCOPE,
  blackhole,
  exampleBase,
  expectDone,
  put,
  remove,
} from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { sendPacket, sh } from './private-namespace';

const signal = new AbortController().signal;
const OWN = '10.5.1.0/24';

let kernel: Kernel;
let underlay: NetworkInterface;
let probe: NoticeProbe;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));
beforeEach(() => {
  expectDone(kernel.applyNow([...exampleBase(underlay), blackhole(OWN)].map(put)));
  probe = new NoticeProbe(kernel);
});
afterEach(() => probe.stop());

/** What the kernel says to a sender, or the link it sends by. */
async function fate(address: string): Promise<string> {
  try {
    await sendPacket(ipAddress(address));
  } catch (error) {
    return (error as { code: string }).code;
  }
  return /dev (\S+)/.exec(sh(`ip route get ${address as IpAddress}`))![1]!;
}

test('an address of our own subnet that no bridge has is refused at once, and nobody is asked for it', async () => {
  expect(await fate('10.5.1.7')).toBe('EINVAL');
  expect(probe.misses).toEqual([]);
});

test('the route of a bridge wins, whichever of the two came first, and gives way when it goes', async () => {
  sh('ip link add docker0 type bridge');
  sh('ip addr add 10.5.1.1/24 dev docker0');
  sh('ip link set docker0 up');
  expect(await fate('10.5.1.7')).toBe('docker0');
  expectDone(kernel.applyNow([remove(blackhole(OWN)), put(blackhole(OWN))]));
  expect(await fate('10.5.1.7')).toBe('docker0');
  expect(sh('ip route show 10.5.1.0/24')).toContain('dev docker0 proto kernel');
  sh('ip link del docker0');
  expect(await fate('10.5.1.7')).toBe('EINVAL');
});

test('one that somebody else made is not ours; its loss is noticed for ours only', async () => {
  sh('ip route add blackhole 10.5.7.0/24');
  const state = await kernel.observe(SCOPE, signal);
  expect([...state.keys()].filter((key) => key.includes('10.5.7.0'))).toEqual([]);
  sh('ip route del blackhole 10.5.7.0/24');
  sh(`ip route del blackhole ${OWN} proto 84 metric ${blackhole(OWN).metric}`);
  await probe.until('the loss', ({ changes }) => changes.length > 0);
  expect(probe.changes).toEqual([`route ${OWN} removed`]);
});
