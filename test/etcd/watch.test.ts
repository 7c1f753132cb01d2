/** A watch loses nothing, or says so. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdRegistry } from '../../src/etcd/registry';
import type { RegistryError } from '../../src/model/errors';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { WatchProbe } from '../support/registry-contract';
import { TcpProxy } from '../support/tcp-proxy';

const signal = new AbortController().signal;

let server: EtcdServer;
let proxy: TcpProxy;
let prefix: string;
let store = 0;
const registries: EtcdRegistry[] = [];
const probes: WatchProbe[] = [];

beforeAll(async () => {
  server = await startEtcd({ args: ['--experimental-watch-progress-notify-interval', '200ms'] });
});

beforeEach(async () => {
  prefix = `/test/${++store}`;
  proxy = await TcpProxy.start(server.port);
});

afterEach(async () => {
  await Promise.all(probes.splice(0).map((probe) => probe.stop()));
  for (const registry of registries.splice(0)) registry.close();
  await proxy.close();
});

afterAll(async () => {
  await server?.destroy();
});

function open(...endpoints: string[]): EtcdRegistry {
  const registry = new EtcdRegistry({ endpoints, prefix, callDeadlineMilliseconds: 2_000 });
  registries.push(registry);
  return registry;
}

function watch(registry: EtcdRegistry, afterRevision: string): WatchProbe {
  const probe = new WatchProbe(registry, afterRevision);
  probes.push(probe);
  return probe;
}

const proxied = () => `http://127.0.0.1:${proxy.port}`;

/** So many puts, each with a revision of its own; returns the names. */
async function putHistory(count: number, value: (n: number) => string, beginning = ''): Promise<string[]> {
  const names = Array.from({ length: count }, (_, n) => `${beginning}10.${n >> 8}.${n & 255}.0-24`);
  for (let start = 0; start < count; start += 50) {
    const part = names.slice(start, start + 50);
    await Promise.all(part.map((name, n) => server.put(`${prefix}/subnets/${name}`, value(start + n))));
  }
  return names;
}

test('a lease that is kept alive, and a watch that is ended, leave the connection of the other watches as it is', async () => {
  const registry = open(proxied());
  const id = await registry.grant(60, signal);
  const { revision } = await registry.list(signal);
  const [stays, ends] = [watch(registry, revision), watch(registry, revision)];
  await Promise.all([stays.ready(), ends.ready()]);
  const uses = [() => registry.keepAlive(id, signal), () => ends.stop()];
  for (const use of uses) {
    await use();
    // What a stream says of its own end comes a moment later.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await registry.list(signal);
    expect(proxy.connectionCount).toBe(1);
  }
  await registry.revoke(id, signal);
});

test('hosts that join at once come in few batches, none missing', async () => {
  const registry = open(proxied());
  const probe = watch(registry, (await registry.list(signal)).revision);
  await probe.ready();
  proxy.pause();
  const names = await putHistory(500, (n) => JSON.stringify({ PublicIP: '1.2.3.4', n }));
  const since = performance.now();
  proxy.resume();
  await probe.until(({ changes }) => changes.length === names.length);
  const milliseconds = performance.now() - since;
  expect([...probe.summary].sort()).toEqual(names.map((name) => `put ${name}`).sort());
  // One that says it is up, one at once, and then one in each four milliseconds, although etcd sent five hundred messages.
  expect(probe.batches.length).toBeLessThanOrEqual(3 + milliseconds / 4);
});

describe('a watch whose connection is cut', () => {
  test('throws unavailable, and says where', async () => {
    const registry = open(proxied());
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    proxy.cut();
    expect(await probe.failure()).toMatchObject({
      code: 'unavailable',
      message: `cannot watch the leases any longer (${proxied()}: connection lost)`,
    });
  });

  test('again and again while it catches up, loses nothing if it goes on after its last batch', async () => {
    const registry = open(proxied());
    const start = (await registry.list(signal)).revision;
    const names = await putHistory(3_000, (n) => JSON.stringify({ PublicIP: '1.2.3.4', n }));
    const seen: string[] = [];
    let revision = start;
    let cuts = 0;
    for (const allowance of [2_000, 30_000, 70_000, 1_000, 150_000, undefined]) {
      if (allowance !== undefined) proxy.cutAfter(allowance);
      const probe = watch(registry, revision);
      const isLast = allowance === undefined;
      const end = isLast
        ? probe.until(({ changes }) => seen.length + changes.length >= names.length)
        : probe.failure().then(() => cuts++);
      await end;
      seen.push(...probe.summary);
      revision = probe.batches.at(-1)?.revision ?? revision;
    }
    expect(cuts).toBe(5);
    expect([...seen].sort()).toEqual(names.map((name) => `put ${name}`).sort());
  });
});

describe('a history of more than 4 MiB', () => {
  test('is delivered whole', async () => {
    const registry = open(server.url);
    const start = (await registry.list(signal)).revision;
    const padding = 'x'.repeat(12_000);
    const names = await putHistory(600, (n) => JSON.stringify({ n, padding }));
    const probe = watch(registry, start);
    await probe.until(({ changes }) => changes.length >= names.length);
    expect([...probe.summary].sort()).toEqual(names.map((name) => `put ${name}`).sort());
  });

  test('of one revision, which etcd sends in pieces, is delivered in one batch', async () => {
    const registry = open(server.url);
    const names = await putHistory(3_000, () => '{}', 'x'.repeat(1_500));
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    await server.gateway('kv/deleterange', { key: `${prefix}/`, range_end: `${prefix}0` });
    await probe.until(({ changes }) => changes.length >= names.length);
    expect(probe.batches.filter(({ changes }) => changes.length > 0)).toHaveLength(1);
    expect(probe.batches.at(-1)!.revision).toBe((await registry.list(signal)).revision);
  });
});

describe('a reader that is slow', () => {
  test('makes etcd wait, and gets everything', async () => {
    const registry = open(server.url);
    const controller = new AbortController();
    const batches = registry.watch((await registry.list(signal)).revision, controller.signal);
    const seen: string[] = [];
    let slept = false;
    await putHistory(1, () => '{}');
    for await (const { changes } of batches) {
      seen.push(...changes.map(({ kind }) => kind));
      if (!slept && seen.length > 0) {
        slept = true;
        await putHistory(5_000, () => '{}');
      }
      if (seen.length >= 5_001) break;
    }
    expect(seen).toHaveLength(5_001);
    controller.abort();
  });
});

describe('a watch on which nothing happens', () => {
  test('reports progress, so that compaction does not overtake it', async () => {
    const registry = open(server.url);
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    await server.put('/elsewhere', 'x');
    const revision = await server.revision();
    await probe.until(({ batches }) => BigInt(batches.at(-1)!.revision) >= BigInt(revision));
    expect(probe.changes).toEqual([]);
    await server.compact();
    await watch(registry, probe.batches.at(-1)!.revision).ready();
  });
});

describe('a server that hangs', () => {
  test('is noticed by an idle watch in 20 s', async () => {
    const registry = open(server.url);
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    server.pause();
    try {
      expect(await probe.failure(20_000)).toMatchObject({ code: 'unavailable' });
    } finally {
      server.resume();
    }
  });

  test('does not keep a new watch from being opened on the next endpoint', async () => {
    const registry = open(proxied(), server.url);
    const { revision } = await registry.list(signal);
    proxy.pause();
    const probe = watch(registry, revision);
    await probe.ready();
    await server.put(`${prefix}/subnets/10.5.1.0-24`, '{}');
    await probe.until(({ changes }) => changes.length > 0);
  });

  test('with nobody else to ask, makes opening a watch fail after the deadline', async () => {
    const registry = open(proxied());
    const { revision } = await registry.list(signal);
    proxy.pause();
    const failure = (await watch(registry, revision).failure(5_000)) as RegistryError;
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect(failure.message).toBe(`cannot watch the leases (${proxied()}: no answer within 2 s)`);
  });
});

describe('a call that ran into its deadline', () => {
  test('does not harm the watch beside it, which goes on when the server does', async () => {
    const registry = open(proxied());
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    proxy.pause();
    await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
    proxy.resume();
    await server.put(`${prefix}/subnets/10.5.1.0-24`, '{}');
    await probe.until(({ changes }) => changes.length > 0);
    await registry.list(signal);
    await server.put(`${prefix}/subnets/10.5.2.0-24`, '{}');
    await probe.until(({ changes }) => changes.length > 1);
  });

  test('does not keep a watch from noticing that the server hangs', async () => {
    const registry = open(proxied());
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    proxy.pause();
    await expect(registry.list(signal)).rejects.toMatchObject({ code: 'unavailable' });
    expect(await probe.failure(20_000)).toMatchObject({ code: 'unavailable' });
  });
});

describe('after trouble', () => {
  test('the next watch begins with the next endpoint', async () => {
    const registry = open(proxied(), server.url);
    const { revision } = await registry.list(signal);
    const first = watch(registry, revision);
    await first.ready();
    proxy.cut();
    await first.failure();
    proxy.pause();
    const start = performance.now();
    await watch(registry, revision).ready();
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('a store that was restored from a backup', () => {
  test('cuts its watches, and is recognised by the next watch; a list is honest', async () => {
    const other = await startEtcd();
    const directory = await mkdtemp(join(tmpdir(), 'vtepd-backup-'));
    try {
      const registry = open(other.url);
      await other.put(`${prefix}/subnets/10.5.1.0-24`, '{}');
      const snapshot = join(directory, 'snapshot');
      await other.etcdctl(['snapshot', 'save', snapshot]);
      for (let n = 2; n < 10; n++) await other.put(`${prefix}/subnets/10.5.${n}.0-24`, '{}');
      const before = await registry.list(signal);
      const probe = watch(registry, before.revision);
      await probe.ready();

      await other.stop();
      await other.restore(snapshot);
      await other.start();
      expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
      expect(await watch(registry, before.revision).failure()).toMatchObject({
        code: 'compacted',
        message: expect.stringMatching(/is at revision \d+, older than what it told us before/) as string,
      });
      const after = await registry.list(signal);
      expect(BigInt(after.revision)).toBeLessThan(BigInt(before.revision));
      expect(after.leases.map(({ name }) => name)).toEqual(['10.5.1.0-24']);
      await watch(registry, after.revision).ready();
    } finally {
      await other.destroy();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
