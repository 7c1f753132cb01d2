import { join } from 'node:path';
import { LinuxHost } from '../../src/host/linux-host';
import { FakeMachine } from '../support/fake-host';
import { describeHostContract } from '../support/host-contract';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

describeHostContract('the fake host', () => {
  const machine = new FakeMachine();
  const host = machine.host();
  return Promise.resolve({
    host,
    other: machine.host(),
    end: () => host.end(),
    close: () => Promise.resolve(),
  });
});

describeHostContract('a Linux host', () => {
  const directory = temporaryDirectory();
  const create = (name: string) =>
    new LinuxHost({
      subnetFile: join(directory, name, 'flannel', 'subnet.env'),
      memoryFile: join(directory, name, 'state', 'state.json'),
      lockDirectory: join(directory, 'locks'),
      env: { NOTIFY_SOCKET: join(directory, 'nobody') },
    });
  const [host, other] = [create('one'), create('two')];
  return Promise.resolve({
    host,
    other,
    end: () => host.close(),
    close: () => {
      host.close();
      other.close();
      removeTemporaryDirectories();
      return Promise.resolve();
    },
  });
});

test('a Linux host whose user wants no memory has none', async () => {
  const directory = temporaryDirectory();
  try {
    const host = new LinuxHost({ subnetFile: join(directory, 'subnet.env'), lockDirectory: directory });
    await host.writeMemory('{}');
    expect(await host.readMemory()).toBeUndefined();
  } finally {
    removeTemporaryDirectories();
  }
});
