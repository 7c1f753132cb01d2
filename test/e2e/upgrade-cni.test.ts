/** Containers outlive the plugin that connected them: what one version has added, another checks and removes. */
import { join } from 'node:path';
import { CNI_PLUGIN, CniHost } from '../support/cni-host';
import { RELEASE, revision } from '../support/lab/revision';

let released: string;

beforeAll(async () => {
  released = join(await revision(RELEASE), 'dist/cni/main.js');
});

test.each([
  ['an upgrade', () => [released, CNI_PLUGIN]],
  ['the way back', () => [CNI_PLUGIN, released]],
] as const)('after %s, a container is checked and removed, and nothing of it is left', async (_, plugins) => {
  const [before, after] = plugins();
  const host = new CniHost();
  try {
    host.writeSubnetFile({ NETWORK: '10.5.0.0/16', SUBNET: '10.5.72.1/24', MTU: '1450', IPMASQ: 'true' });
    const [old, young] = [host.container(), host.container()];
    host.plugin = before!;
    const first = await host.add(old);
    host.plugin = after!;
    const second = await host.add(young);
    expect([first, second].map(({ ips }) => ips[0]!.address)).toEqual(['10.5.72.2/24', '10.5.72.3/24']);
    expect((await old.attempt('ping', ['-c', '1', '-W', '5', '10.5.72.3'])).status).toBe(0);
    await host.check(old, first);
    await host.remove(old);
    expect({ saved: host.saved, allocated: host.allocated }).toEqual({
      saved: [young.name],
      allocated: ['10.5.72.3'],
    });
    await host.remove(young);
    expect({ saved: host.saved, allocated: host.allocated }).toEqual({ saved: [], allocated: [] });
  } finally {
    host.end();
  }
});
