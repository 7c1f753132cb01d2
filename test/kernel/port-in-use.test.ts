/** Somebody else has what our device needs. */
import { spawn } from 'node:child_process';
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

test('our own device, moved to another network namespace, is said to be there, and made anew once it is gone', async () => {
  const elsewhere = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
  try {
    expectDone(await kernel.apply([put(exampleLink(underlay))], signal));
    const isAway = () => {
      try {
        return sh(`readlink /proc/${elsewhere.pid}/ns/net`) !== sh('readlink /proc/self/ns/net');
      } catch {
        return false;
      }
    };
    while (!isAway()) await new Promise((resolve) => setTimeout(resolve, 10));
    sh(`ip link set flannel.1 netns ${elsewhere.pid}`);
    const sentence =
      "file already exists: a device of another network namespace has VNI 1 on UDP port 8472 of this one ('ip -all netns exec ip link show type vxlan' may show it); remove it there";
    expect(await refusals()).toEqual([sentence, sentence]);
    sh(`nsenter --net=/proc/${elsewhere.pid}/ns/net ip link del flannel.1`);
    expect(await refusals()).toEqual([]);
  } finally {
    elsewhere.kill('SIGKILL');
  }
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
