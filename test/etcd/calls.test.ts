/** What becomes of calls when servers hang, vanish or lose their answers. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EtcdRegistry } from '../../src/etcd/registry';
import { freePorts, startEtcd, type EtcdServer } from '../support/etcd-server';
import { until } from '../support/lab/until';
import { leaseSubnets, vxlanAttributes, written } from '../support/registry-contract';
import { TcpProxy } from '../support/tcp-proxy';

const PREFIX = '/test';
/** Long enough for every answer that comes, on a busy machine, too. */
const DEADLINE = 5_000;
/** Who waits for this waits too long for a test. */
const NEVER = 600_000;
const signal = new AbortController().signal;

let server: EtcdServer;
let proxy: TcpProxy;
const registries: EtcdRegistry[] = [];

beforeAll(async () => {
  server = await startEtcd();
});

beforeEach(async () => {
  await server.gateway('kv/deleterange', { key: '/', range_end: '0' });
  proxy = await TcpProxy.start(server.port);
});

afterEach(async () => {
  for (const registry of registries.splice(0)) registry.close();
  await proxy.close();
});

afterAll(async () => {
  await server?.destroy();
});

function openWith(callDeadlineMilliseconds: number, ...endpoints: string[]): EtcdRegistry {
  const registry = new EtcdRegistry({ endpoints, prefix: PREFIX, callDeadlineMilliseconds });
  registries.push(registry);
  return registry;
}

const open = (...endpoints: string[]) => openWith(DEADLINE, ...endpoints);

const proxied = () => `http://127.0.0.1:${proxy.port}`;

async function leaseCount(): Promise<number> {
  const { leases = [] } = await server.gateway<{ leases?: unknown[] }>('lease/leases', {});
  return leases.length;
}

describe('a server that does not answer', () => {
  test('is given up after the deadline, and the error names it', async () => {
    const registry = openWith(1_000, server.url);
    await until('it answers', () => registry.list(signal));
    server.pause();
    try {
      await expect(registry.list(signal)).rejects.toMatchObject({
        code: 'unavailable',
        message: `cannot list the leases (${server.url}: no answer within 1 s)`,
      });
      await expect(registry.keepAlive('1', signal)).rejects.toMatchObject({ code: 'unavailable' });
    } finally {
      server.resume();
    }
    await until('it answers again', () => registry.list(signal));
  });

  test('does not keep the next endpoint from being asked, which is asked first from then on', async () => {
    const registry = open(proxied(), server.url);
    proxy.pause();
    await registry.list(signal);
    // It would answer again, and what it answers is long.
    await server.put(`${PREFIX}/subnets/10.5.1.0-24`, JSON.stringify({ padding: 'x'.repeat(50_000) }));
    proxy.resume();
    for (let n = 0; n < 5; n++) await registry.list(signal);
    expect(proxy.passedBytes).toBeLessThan(50_000);
    await open(proxied()).list(signal);
    expect(proxy.passedBytes).toBeGreaterThan(50_000);
  });

  test('does not delay an abort, nor a close', async () => {
    const registry = openWith(NEVER, proxied());
    proxy.pause();
    const controller = new AbortController();
    const reason = new Error('enough');
    const calls = [
      registry.list(controller.signal),
      registry.keepAlive('1', controller.signal),
      registry.watch('1', controller.signal)[Symbol.asyncIterator]().next(),
    ];
    const outcomes = Promise.allSettled(calls);
    await until('they wait', () => proxy.connectionCount > 0);
    controller.abort(reason);
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason });

    const list = registry.list(signal);
    registry.close();
    await expect(list).rejects.toMatchObject({
      code: 'unavailable',
      message: 'cannot list the leases: the etcd client was closed',
    });
  });
});

describe('a server that is not there', () => {
  test('is passed over for the next, without waiting for the deadline', async () => {
    const [port] = await freePorts(1);
    const registry = openWith(NEVER, `http://127.0.0.1:${port}`, server.url);
    expect((await registry.list(signal)).leases).toEqual([]);
  });

  test('is named, with all others that did not answer, in the order in which they were given', async () => {
    const [one, two] = await freePorts(2);
    const registry = open(`http://127.0.0.1:${one}`, `http://127.0.0.1:${two}`);
    const message = `cannot list the leases (http://127.0.0.1:${one}: connection refused; http://127.0.0.1:${two}: connection refused)`;
    for (let n = 0; n < 3; n++) {
      await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable', message });
    }
  });

  test('is used again as soon as it is back', async () => {
    const registry = open(server.url);
    await registry.list(signal);
    await server.stop('SIGKILL');
    await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
    await server.start();
    await registry.list(signal);
  });
});

describe('a connection that was cut while nothing was under way', () => {
  test('is not noticed by the next call', async () => {
    const registry = open(proxied());
    for (let n = 1; n <= 5; n++) {
      expect((await registry.list(signal)).leases).toEqual([]);
      // It needed a connection of its own.
      expect(proxy.acceptedCount).toBe(n);
      proxy.cut();
    }
  });
});

describe('an answer that was lost', () => {
  test('of a create that was carried out: asked again, it finds its own work', async () => {
    const registry = open(proxied());
    const id = await registry.grant(60, signal);
    proxy.swallowAnswers();
    const creation = registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
    await until(
      'it is carried out',
      async () => (await server.valueOf(`${PREFIX}/subnets/10.5.1.0-24`)) !== undefined,
    );
    proxy.cut();
    const lease = written(await creation);
    expect((await registry.list(signal)).leases).toEqual([lease]);
  });

  test('of a create by a server that then hangs: the next server finds the work done', async () => {
    const registry = open(proxied(), server.url);
    const id = await registry.grant(60, signal);
    proxy.swallowAnswers();
    const lease = written(await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal));
    expect((await registry.list(signal)).leases).toEqual([lease]);
  });

  test('of a create, with nobody else to ask, is an error; creating again finds the work done', async () => {
    const registry = open(proxied());
    const id = await registry.grant(60, signal);
    proxy.swallowAnswers();
    const create = () => registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal);
    await expect(create()).rejects.toMatchObject({ code: 'unavailable' });
    proxy.cut();
    const lease = written(await create());
    expect((await registry.list(signal)).leases).toEqual([lease]);
  });

  test('of a reservation, an update, a removal or a configuration: asked again, each finds its own work', async () => {
    const registry = open(proxied());
    const key = `${PREFIX}/subnets/10.5.1.0-24`;
    const losingTheAnswer = async <T>(call: () => Promise<T>, isDone: () => Promise<boolean>) => {
      proxy.swallowAnswers();
      const result = call();
      await until('it is carried out', isDone);
      proxy.cut();
      return result;
    };
    await registry.list(signal);
    const reservation = written(
      await losingTheAnswer(
        () => registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal),
        async () => (await server.valueOf(key)) !== undefined,
      ),
    );
    const updated = written(
      await losingTheAnswer(
        () => registry.update(reservation, vxlanAttributes(2), undefined, signal),
        async () => (await server.valueOf(key))!.includes('192.168.0.2'),
      ),
    );
    const removal = await losingTheAnswer(
      () => registry.remove(updated, signal),
      async () => (await server.valueOf(key)) === undefined,
    );
    expect(removal).toBe('removed');
    const configuration = await losingTheAnswer(
      () => registry.writeConfig('{}', undefined, signal),
      async () => (await server.valueOf(`${PREFIX}/config`)) !== undefined,
    );
    expect(configuration).toBe('written');
  });

  test('of a grant leaves one etcd lease, not two', async () => {
    const registry = open(proxied());
    await registry.list(signal);
    const before = await leaseCount();
    proxy.swallowAnswers();
    const grant = registry.grant(60, signal);
    await until('it is carried out', async () => (await leaseCount()) > before);
    proxy.cut();
    expect(await registry.keepAlive(await grant, signal)).toMatchObject({ remainingSeconds: 60 });
    expect(await leaseCount()).toBe(before + 1);
  });
});

describe('a connection that is cut after so many bytes of what it answers,', () => {
  test('each time some more, leaves one key for each create, and each is reported as written', async () => {
    const registry = open(proxied());
    const ROUNDS = 60;
    for (let n = 1; n <= ROUNDS; n++) {
      const id = await server.gateway<{ ID: string }>('lease/grant', { TTL: 600 });
      // The answers of a connection's begin and of a create are some hundred bytes.
      proxy.cutAfter((n - 1) * 5);
      const create = () => registry.create(leaseSubnets(`10.5.${n}.0/24`), vxlanAttributes(n), id.ID, signal);
      const result = await create().catch(create);
      expect(written(result).name).toBe(`10.5.${n}.0-24`);
    }
    proxy.cutAfter(1 << 30);
    expect((await registry.list(signal)).leases).toHaveLength(ROUNDS);
    expect(proxy.acceptedCount).toBeGreaterThan(ROUNDS / 3);
  });
});

describe('after closing', () => {
  test('nothing keeps the process alive', async () => {
    const tsx = join(__dirname, '../../node_modules/.bin/tsx');
    const { stdout } = await promisify(execFile)(tsx, [join(__dirname, 'ends-by-itself.ts'), server.url]);
    expect(JSON.parse(stdout)).toEqual({
      before: expect.arrayContaining(['TCPSocketWrap']) as unknown,
      after: [],
    });
  });
});
