/** As many leases as a /8 may give. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { ipAddress } from '../../src/model/address';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { vtepMac, vxlanAttributes } from '../support/registry-contract';

const COUNT = 25_000;
const PREFIX = '/coreos.com/network';
const signal = new AbortController().signal;

let server: EtcdServer;
let registry: EtcdRegistry;

beforeAll(async () => {
  server = await startEtcd();
  const pairs = Array.from(
    { length: COUNT },
    (_, n) =>
      [
        `${PREFIX}/subnets/10.${n >> 8}.${n & 255}.0-24`,
        printLeaseAttributes(vxlanAttributes(n + 1)),
      ] as const,
  );
  await server.putAll(pairs);
  registry = new EtcdRegistry({ endpoints: [server.url], prefix: PREFIX });
});

afterAll(async () => {
  registry?.close();
  await server?.destroy();
});

test('25 000 leases, more than the 4 MiB that grpc takes by default, are listed by one read', async () => {
  const { leases, malformed } = await registry.list(signal);
  expect(leases).toHaveLength(COUNT);
  expect(malformed).toEqual([]);
  expect(new Set(leases.map(({ name }) => name)).size).toBe(COUNT);
});

test('one of 25 000 is found by an address, and by a MAC', async () => {
  const byAddress = await registry.find({ layer: 'l3', address: ipAddress('10.97.1.9') }, 24, signal);
  expect(byAddress?.name).toBe('10.97.1.0-24');
  const byMac = await registry.find({ layer: 'l2', mac: vtepMac(24_000) }, 24, signal);
  expect(byMac?.attributes).toEqual(vxlanAttributes(24_000));
});
