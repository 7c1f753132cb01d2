/** Servers that are silent, or that answer what etcd would not. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  Server as GrpcServer,
  ServerCredentials,
  loadPackageDefinition,
  type ServerDuplexStream,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { EtcdRegistry } from '../../src/etcd/registry';
import { subnet } from '../../src/model/address';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { FakeLog } from '../support/fake-log';
import { vxlanAttributes } from '../support/registry-contract';

const prefix = '/odd';
const signal = new AbortController().signal;

let server: EtcdServer;
const registries: EtcdRegistry[] = [];

beforeAll(async () => {
  server = await startEtcd();
});
afterEach(() => registries.splice(0).forEach((registry) => registry.close()));
afterAll(() => server?.destroy());

function open(endpoints: readonly string[], log = new FakeLog()) {
  const registry = new EtcdRegistry({ endpoints, prefix, log });
  registries.push(registry);
  return { registry, log };
}

describe('silent endpoints', () => {
  const silent: Server[] = [];
  const sockets = new Set<Socket>();

  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const each of silent.splice(0)) each.close();
  });

  /** Accepts connections and says nothing. */
  async function silentEndpoint(): Promise<string> {
    const each = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
    silent.push(each);
    await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(each.address() as AddressInfo).port}`;
  }

  test('before a live one are named, and it is asked beside them: fifty take no fifty deadlines', async () => {
    const endpoints = await Promise.all(Array.from({ length: 50 }, silentEndpoint));
    const { registry, log } = open([...endpoints, server.url]);
    // Fifty deadlines would be 250 s, more than a test may take.
    expect(await registry.list(signal)).toMatchObject({ leases: [] });
    const told = log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['url']);
    expect(told).toEqual(endpoints);
    // The one that answered is asked first from now on.
    await registry.list(signal);
    expect(log.lines).toHaveLength(50);
  });

  test('are not asked again, once a write has gone to another, and the write is done once', async () => {
    const { registry } = open([await silentEndpoint(), server.url]);
    const own = { subnet: subnet('10.5.7.0/24'), ipv6Subnet: undefined };
    expect(await registry.create(own, vxlanAttributes(7), undefined, signal)).toMatchObject({
      kind: 'written',
    });
    expect(await registry.create(own, vxlanAttributes(8), undefined, signal)).toEqual({ kind: 'conflict' });
  });
});

describe('endpoints of different clusters', () => {
  let other: EtcdServer;
  beforeAll(async () => {
    other = await startEtcd();
  });
  afterAll(() => other?.destroy());

  const warnings = (log: FakeLog) => log.lines.filter(({ level }) => level === 'warn');

  test('are said to be that, once one has answered after the other', async () => {
    const { registry, log } = open([other.url, server.url]);
    await registry.count(signal);
    expect(warnings(log)).toEqual([]);
    await other.stop('SIGKILL');
    await registry.count(signal);
    await registry.list(signal);
    expect(warnings(log)).toEqual([
      {
        level: 'warn',
        message:
          'etcd endpoints are of different clusters, each with leases of its own; correct --etcd-endpoints',
        fields: { url: server.url, other: other.url },
      },
    ]);
    await other.start();
  });

  test('and one that was made anew is said to be another; both once, however often they answer', async () => {
    const { registry, log } = open([other.url]);
    await registry.list(signal);
    await other.stop('SIGKILL');
    await other.wipe();
    await other.start(['--initial-cluster-token', 'another']);
    await registry.list(signal);
    await registry.grant(60, signal).then((id) => registry.keepAlive(id, signal));
    expect(warnings(log)).toEqual([
      {
        level: 'warn',
        message:
          'the etcd behind an endpoint is another cluster than before; was it made anew, or restored from a backup?',
        fields: { url: other.url },
      },
    ]);
  });
});

describe('a server that answers a transaction with nothing', () => {
  const grpc = new GrpcServer();
  let url: string;

  beforeAll(async () => {
    const proto = join(require.resolve('etcd3/package.json'), '../proto/rpc.proto');
    const { etcdserverpb } = loadPackageDefinition(
      loadSync(proto, { keepCase: true, longs: String }),
    ) as unknown as {
      etcdserverpb: { KV: ServiceClientConstructor; Watch: ServiceClientConstructor };
    };
    const header = { revision: '5', raft_term: '1' };
    grpc.addService(etcdserverpb.KV.service, {
      Txn: (_: unknown, done: (error: null, answer: object) => void) =>
        done(null, { header, succeeded: false, responses: [] }),
      Range: (_: unknown, done: (error: null, answer: object) => void) => done(null, { count: '0' }),
      Put: (_: unknown, done: (error: null, answer: object) => void) => done(null, {}),
      DeleteRange: (_: unknown, done: (error: null, answer: object) => void) => done(null, {}),
      Compact: (_: unknown, done: (error: null, answer: object) => void) => done(null, {}),
    });
    grpc.addService(etcdserverpb.Watch.service, {
      Watch: (stream: ServerDuplexStream<object, object>) => {
        stream.on('data', () => {
          stream.write({ header, created: true });
          stream.write({ header, events: [{ type: 'PUT' }] });
        });
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    url = `http://127.0.0.1:${port}`;
  });
  afterAll(() => grpc.forceShutdown());

  test('is told of as a trouble with the registry, which is tried again', async () => {
    const { registry } = open([url]);
    const own = { subnet: subnet('10.5.7.0/24'), ipv6Subnet: undefined };
    await expect(registry.create(own, vxlanAttributes(7), '1', signal)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('its answer to a transaction is incomplete') as string,
    });
  });

  test('a watch that tells of a change and not of which key is given up', async () => {
    const { registry } = open([url]);
    const watch = registry.watch('5', signal)[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ revision: '5', changes: [] });
    await expect(watch.next()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('it told of a change and not of which key; is it etcd?') as string,
    });
  });

  test('and so is an answer without a header', async () => {
    const { registry } = open([url]);
    await expect(registry.count(signal)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('its answer has no header; is it etcd?') as string,
    });
  });
});

test('a proxy for the web in the environment is not asked', async () => {
  // Nobody listens there.
  const names = ['http_proxy', 'https_proxy', 'grpc_proxy'].filter((name) => !(name in process.env));
  for (const name of names) process.env[name] = 'http://127.0.0.1:1';
  try {
    expect((await open([server.url]).registry.list(signal)).malformed).toEqual([]);
  } finally {
    for (const name of names) delete process.env[name];
  }
});
