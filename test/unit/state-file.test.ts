/** Which state file an overlay has that names none. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rememberedPlace } from '../../src/engine/remembered-place';
import { stateFileFor } from '../../src/host/state-file';
import { complete } from '../../src/model/steps';
import { ipAddress, printSubnet } from '../../src/model/address';
import { printMemoryInSteps } from '../../src/model/memory-codec';
import { NETWORK_CONFIG } from '../support/agent-on-fakes';
import { exampleLease } from '../support/examples';
import { FakeMachine } from '../support/fake-host';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

const memoryAt = (place: string) =>
  complete(
    printMemoryInSteps({
      place,
      config: NETWORK_CONFIG,
      ownLease: '10.5.1.0-24',
      expiresAt: 0,
      leases: [exampleLease(1), exampleLease(2)],
    }),
  );

describe('of another prefix than the usual one', () => {
  it('is a file of its own', () => {
    const directory = temporaryDirectory();
    const shared = join(directory, 'state.json');
    const own = join(directory, 'state-second%2Fnetwork.json');
    expect(stateFileFor('/second/network', shared)).toBe(own);
    writeFileSync(shared, memoryAt('/coreos.com/network/config'));
    expect(stateFileFor('/second/network', shared)).toBe(own);
    writeFileSync(shared, 'garbage');
    expect(stateFileFor('/second/network', shared)).toBe(own);
  });

  it('is a file of its own where the shared one is no file, and nobody waits for what writes into a pipe', () => {
    const directory = temporaryDirectory();
    const shared = join(directory, 'state.json');
    execFileSync('mkfifo', [shared]);
    expect(stateFileFor('/second/network', shared)).toBe(join(directory, 'state-second%2Fnetwork.json'));
  });

  it('is the shared one where an earlier version has written that for it, unless it has its own', () => {
    const directory = temporaryDirectory();
    const shared = join(directory, 'state.json');
    writeFileSync(shared, memoryAt('/second/network/config'));
    expect(stateFileFor('/second/network', shared)).toBe(shared);
    const own = join(directory, 'state-second%2Fnetwork.json');
    writeFileSync(own, '');
    expect(stateFileFor('/second/network', shared)).toBe(own);
  });
});

describe('the overlay that a command is about', () => {
  it('is that of the state file, if it is of that prefix', async () => {
    const host = new FakeMachine().host();
    await host.writeMemory(memoryAt('/second/config'));
    expect(await rememberedPlace(host, '/first/config')).toBeUndefined();
    const place = await rememberedPlace(host, '/second/config');
    expect(place).toMatchObject({ link: 'flannel.1' });
    expect(place!.networks.map(printSubnet)).toEqual(['10.5.0.0/16', '10.5.1.0/24']);
    expect(place!.peerAddresses!.has(ipAddress('192.168.0.2'))).toBe(true);
  });

  it('is that of subnet.env, whose device has an address in its network', async () => {
    const host = new FakeMachine().host();
    await host.writeSubnetFile('FLANNEL_NETWORK=10.6.0.0/16\nFLANNEL_SUBNET=10.6.3.1/24\n');
    const place = await rememberedPlace(host, '/second/config');
    expect(place!.link).toBeUndefined();
    expect(place!.networks.map(printSubnet)).toEqual(['10.6.0.0/16', '10.6.3.0/24']);
  });

  it('is not known where neither can be read', async () => {
    expect(await rememberedPlace(new FakeMachine().host(), '/second/config')).toBeUndefined();
  });
});
