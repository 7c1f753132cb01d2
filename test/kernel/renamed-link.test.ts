/** Somebody gave our link another name. */
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { exampleLink, expectDone, put } from '../support/kernel-contract';
import { onFreshKernel } from './fresh-kernel';
import { json, sh } from './private-namespace';

const signal = new AbortController().signal;

let kernel: Kernel;
let underlay: NetworkInterface;

onFreshKernel((fresh) => ({ kernel, underlay } = fresh));

const indexOf = (name: string) =>
  json<{ ifname: string; ifindex: number }>('ip', 'link show').find(({ ifname }) => ifname === name)?.ifindex;

test.each(['up', 'down'])(
  'a link of ours that is %s and has another name gets its own back, and stays the same link',
  async (state) => {
    const link = exampleLink(underlay);
    expectDone(await kernel.apply([put(link)], signal));
    const index = indexOf(link.name);
    sh(`ip link set ${link.name} ${state}`);
    sh(`ip link set ${link.name} name other`);
    expectDone(await kernel.apply([put(link)], signal));
    expect(indexOf(link.name)).toBe(index);
    expect(indexOf('other')).toBeUndefined();
    const now = await kernel.observe({ link: link.name, networks: [] }, signal);
    expect(now.get(`link ${link.name}`)).toMatchObject({ up: true, mac: link.mac });
  },
);

test('a link that has our name for an alternative one stays, and the refusal names it', async () => {
  const link = exampleLink(underlay);
  sh(`ip link property add dev eth0 altname ${link.name}`);
  const failed = await kernel.apply([put(link)], signal);
  expect(failed.map(({ error }) => error.message)).toEqual([
    expect.stringContaining(
      'it is an alternative name of eth0; ip link property del dev eth0 altname flannel.1',
    ) as string,
  ]);
  sh(`ip link property del dev eth0 altname ${link.name}`);
  expectDone(await kernel.apply([put(link)], signal));
});

test('a link with our VNI but with the MAC of somebody else stays, and the refusal says so', async () => {
  const link = exampleLink(underlay);
  expectDone(await kernel.apply([put(link)], signal));
  sh(`ip link set ${link.name} name other`);
  sh('ip link set other address 0e:00:00:00:00:01');
  const failed = await kernel.apply([put(link)], signal);
  expect(failed.map(({ error }) => error.code)).toEqual(['EEXIST']);
  expect(indexOf('other')).toBeDefined();
});
