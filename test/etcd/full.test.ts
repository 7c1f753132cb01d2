/** An etcd whose database has reached its quota: it answers, and takes no writes. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { leaseSubnets, vxlanAttributes, written } from '../support/registry-contract';

const signal = new AbortController().signal;
let server: EtcdServer;
let registry: EtcdRegistry;

beforeAll(async () => {
  server = await startEtcd({ args: ['--quota-backend-bytes', String(1 << 20)] });
  registry = new EtcdRegistry({ endpoints: [server.url], prefix: '/test' });
});

afterAll(async () => {
  registry?.close();
  await server?.destroy();
});

test('it is told from one that does not answer, before anything must be written; leases live on', async () => {
  const id = await registry.grant(60, signal);
  written(await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal));
  await registry.checkAccess('10.5.1.0-24', signal);
  const big = 'x'.repeat(100_000);
  for (let n = 0; n < 100; n++) {
    const isFull = await server.etcdctl(['put', '/other', big]).then(
      () => false,
      () => true,
    );
    if (isFull) break;
  }
  const refused = {
    code: 'full',
    message: expect.stringMatching(/its database is full.*alarm disarm/) as string,
  };
  await expect(registry.checkAccess('10.5.1.0-24', signal)).rejects.toMatchObject(refused);
  await expect(
    registry.create(leaseSubnets('10.5.2.0/24'), vxlanAttributes(2), undefined, signal),
  ).rejects.toMatchObject(refused);
  expect(await registry.keepAlive(id, signal)).toMatchObject({ remainingSeconds: 60 });
  expect((await registry.list(signal)).leases).toHaveLength(1);
});
