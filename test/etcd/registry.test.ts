import { EtcdRegistry } from '../../src/etcd/registry';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { until } from '../support/lab/until';
import { describeRegistryContract } from '../support/registry-contract';

let server: EtcdServer;
let store = 0;

beforeAll(async () => {
  server = await startEtcd();
});

afterAll(async () => {
  await server?.destroy();
});

describeRegistryContract('the etcd registry', () => {
  // One server for all tests; each has a prefix, and so a store, of its own.
  const prefix = `/test/${++store}`;
  const clients: EtcdRegistry[] = [];
  return Promise.resolve({
    client: () => {
      const client = new EtcdRegistry({ endpoints: [server.url], prefix });
      clients.push(client);
      return client;
    },
    put: async (key, value) => void (await server.put(`${prefix}/${key}`, value)),
    delete: async (key) => void (await server.delete(`${prefix}/${key}`)),
    valueOf: (key) => server.valueOf(`${prefix}/${key}`),
    compact: () => server.compact(),
    outlive: async (ID) => {
      const remaining = () => server.gateway<{ TTL?: string }>('lease/timetolive', { ID });
      await until('the etcd lease has ended', async () => (await remaining()).TTL === '-1');
    },
    close: () => Promise.resolve(clients.forEach((client) => client.close())),
  });
});
