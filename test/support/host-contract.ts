/** What every Host does, the real one and the fake. */
import { parseIpAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';
import { until } from './lab/until';

export interface HostUnderTest {
  readonly host: Host;
  /** Another agent's, in the same network namespace, with another subnet file. */
  readonly other: Host;
  /** The agent of `host` is no more. */
  end(): void;
  close(): Promise<void>;
}

const TEXT =
  'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n';

export function describeHostContract(name: string, create: () => Promise<HostUnderTest>): void {
  describe(`${name}, as every host,`, () => {
    let setup: HostUnderTest;
    let host: Host;

    beforeEach(async () => {
      setup = await create();
      host = setup.host;
    });

    afterEach(() => setup.close());

    test('has no subnet file at first', async () => {
      expect(await host.readSubnetFile()).toBeUndefined();
    });

    test('keeps what was written last', async () => {
      await host.writeSubnetFile('a much longer text than what comes after it\n'.repeat(100));
      await host.writeSubnetFile(TEXT);
      expect(await host.readSubnetFile()).toBe(TEXT);
      expect(await setup.other.readSubnetFile()).toBeUndefined();
    });

    test('removes the subnet file, also if there is none', async () => {
      await host.writeSubnetFile(TEXT);
      await host.removeSubnetFile();
      expect(await host.readSubnetFile()).toBeUndefined();
      await host.removeSubnetFile();
    });

    test('remembers a text, apart from the subnet file', async () => {
      expect(await host.readMemory()).toBeUndefined();
      await host.writeMemory('a longer text than what comes after it');
      await host.writeMemory('{"version":1}');
      expect(await host.readMemory()).toBe('{"version":1}');
      await host.removeMemory();
      await host.removeMemory();
      expect(await host.readMemory()).toBeUndefined();
      expect(await setup.other.readMemory()).toBeUndefined();
      expect(await host.readSubnetFile()).toBeUndefined();
    });

    test('finds no process of a program that does not run', async () => {
      expect(await host.findProcess('no-such-program')).toBeUndefined();
    });

    test('lets one agent run for a link, and tells the other who it is', () => {
      host.lock('flannel.1');
      expect(() => setup.other.lock('flannel.1')).toThrow(HostError);
      expect(() => setup.other.lock('flannel.1')).toThrow(
        expect.objectContaining({
          code: 'EBUSY',
          message: expect.stringMatching(
            /^another vtepd \(process \d+\) runs for flannel\.1 already$/,
          ) as unknown,
        }) as Error,
      );
    });

    test('lets the same agent lock twice, and others lock other links', () => {
      host.lock('flannel.1');
      host.lock('flannel.1');
      host.lock('flannel.2');
      setup.other.lock('flannel.3');
      expect(() => setup.other.lock('flannel.2')).toThrow(/flannel\.2/);
    });

    test('knows which links agents were locked for, running or not', () => {
      expect(host.lockedLinks()).toEqual([]);
      setup.other.lock('flannel.7');
      host.lock('odd/name');
      setup.end();
      expect([...host.lockedLinks()].sort()).toEqual(['flannel.7', 'odd/name']);
    });

    test('tells when somebody removes or writes the subnet file', async () => {
      await host.writeSubnetFile(TEXT);
      const stop = new AbortController();
      let changes = 0;
      const changed = (before: number) => until('a change was told', () => changes > before);
      host.watchSubnetFile(() => changes++, stop.signal);
      await host.removeSubnetFile();
      await changed(0);
      const before = changes;
      await host.writeSubnetFile(TEXT);
      await changed(before);
      stop.abort();
    });

    test('frees the lock of an agent that ended', () => {
      host.lock('flannel.1');
      setup.end();
      setup.other.lock('flannel.1');
      expect(() => host.lock('flannel.1')).toThrow(/^another vtepd .* runs for flannel\.1 already$/);
    });

    test('lets another agent have a link that was given back, and only that', () => {
      host.lock('flannel.1');
      host.lock('flannel.2');
      host.unlock('flannel.1');
      host.unlock('flannel.9');
      setup.other.lock('flannel.1');
      expect(() => setup.other.lock('flannel.2')).toThrow(/flannel\.2/);
      host.unlock('flannel.1');
      expect(() => host.lock('flannel.1')).toThrow(/flannel\.1/);
    });

    test.each([
      ['that it is ready', { ready: true, status: 'two\nlines' }],
      ['that it stops', { stopping: true }],
      ['nothing', {}],
    ])('does not fail when it tells systemd %s, and nobody listens', (_what, state) => {
      expect(() => host.notify(state)).not.toThrow();
    });

    test('has as many random bytes as are asked for, others each time', () => {
      const [first, second] = [host.randomBytes(6), host.randomBytes(6)];
      expect(first).toHaveLength(6);
      expect(Buffer.from(first)).not.toEqual(Buffer.from(second));
      expect(host.randomBytes(0)).toHaveLength(0);
    });

    test('names its name servers, each once', () => {
      const servers = host.nameServers();
      expect(servers.map((address) => parseIpAddress(address))).toEqual([...new Set(servers)]);
    });

    test('finds hosts by their names; none by one that nobody has', async () => {
      expect((await host.addressesOf('localhost')).map((address) => parseIpAddress(address))).toContain(
        '127.0.0.1',
      );
      expect(await host.addressesOf('no such name')).toEqual([]);
    });

    test('knows its machine by the same ID each time, as each process of that machine', () => {
      expect(host.machineId()).toMatch(/^[\da-f]{32}$/);
      expect([host.machineId(), setup.other.machineId()]).toEqual([host.machineId(), host.machineId()]);
    });
  });
}
