/** Somebody else has what our device needs. */
import { createSocket } from 'node:dgram';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { exampleLink, expectDone, put } from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { sh } from './private-namespace';

const signal = new AbortController().signal;

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

/** Tries twice, as the agent does: the second time the device may be there already, but down. */
async function refusals(): Promise<string[]> {
  const link = put(exampleLink(underlay));
  const failed = [...(await kernel.apply([link], signal)), ...(await kernel.apply([link], signal))];
  return failed.map(({ error }) => error.message.replace(/^.*\): /, '').replace(/^cannot .*learning: /, ''));
}

test('another device with our VNI and port is named', async () => {
  sh('ip link add other type vxlan id 1 dstport 8472 dev eth0');
  const sentence =
    'file already exists: other has VNI 1 on UDP port 8472; remove it, or configure another Backend.VNI or Port';
  expect(await refusals()).toEqual([sentence, sentence]);
  sh('ip link del other');
  expectDone(await kernel.apply([put(exampleLink(underlay))], signal));
});

test('another device that takes our port for VXLAN of another kind is named', async () => {
  sh('ip link add other type vxlan id 7 dstport 8472 dev eth0 gbp');
  sh('ip link set other up');
  const sentence =
    'address already in use: other has UDP port 8472 for VXLAN of another kind; remove it, or configure another Backend.Port';
  expect(await refusals()).toEqual([sentence, sentence]);
});

test('a device of another VNI on our port is no trouble', async () => {
  sh('ip link add other type vxlan id 7 dstport 8472 dev eth0');
  sh('ip link set other up');
  expect(await refusals()).toEqual([]);
});

test('a program on our port is said to be one, until it is gone', async () => {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(8472, resolve));
  const sentence =
    "address already in use: another program has UDP port 8472 ('ss -ulpn' names it); end it, or configure another Backend.Port";
  expect(await refusals()).toEqual([sentence, sentence]);
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  expect(await refusals()).toEqual([]);
});
