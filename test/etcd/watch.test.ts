/** A watch loses nothing, or says so. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdRegistry } from '../../src/etcd/registry';
import type { RegistryError } from '../../src/model/errors';
import type { LeaseBatch } from '../../src/ports';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { until } from '../support/lab/until';
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

/** Long enough for every answer that comes, on a busy machine, too. */
const DEADLINE = 5_000;

function openWith(callDeadlineMilliseconds: number, ...endpoints: string[]): EtcdRegistry {
  const registry = new EtcdRegistry({ endpoints, prefix, callDeadlineMilliseconds });
  registries.push(registry);
  return registry;
}

const open = (...endpoints: string[]) => openWith(DEADLINE, ...endpoints);

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
  for (const [n, use] of uses.entries()) {
    await use();
    // What a stream says of its own end comes a moment later, but before this change.
    await server.put(`${prefix}/subnets/10.5.${n}.0-24`, '{}');
    await stays.until(({ changes }) => changes.length > n);
    await registry.list(signal);
  }
  await registry.revoke(id, signal);
  expect(proxy.acceptedCount).toBe(1);
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
    const MIB = 1 << 20;
    const COUNT = 3_000;
    const [slow, fast] = [open(proxied()), open(server.url)];
    const { revision } = await slow.list(signal);
    const others = watch(fast, revision);
    await others.ready();
    const controller = new AbortController();
    const batches = slow.watch(revision, controller.signal)[Symbol.asyncIterator]();
    await batches.next();

    const padding = 'x'.repeat(10_000);
    await putHistory(COUNT, () => JSON.stringify({ padding }));
    await others.until(({ changes }) => changes.length >= COUNT);
    // A thousand changes wait here, and a message; all of them would have come to a reader that does not say that it is slow.
    let [passed, looks] = [0, 0];
    await until('etcd sends no more', () => {
      looks = passed === proxy.passedBytes ? looks + 1 : 0;
      passed = proxy.passedBytes;
      return looks >= 50;
    });
    expect(passed).toBeLessThan(24 * MIB);

    const seen: string[] = [];
    while (seen.length < COUNT) {
      const { changes } = (await batches.next()).value as LeaseBatch;
      seen.push(...changes.map((change) => (change.kind === 'put' ? change.lease.name : change.kind)));
    }
    expect(new Set(seen).size).toBe(COUNT);
    expect(proxy.passedBytes).toBeGreaterThan(27 * MIB);
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
  test('is noticed by an idle watch', async () => {
    const registry = open(server.url);
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    server.pause();
    try {
      expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
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
    const { revision } = await open(server.url).list(signal);
    const registry = openWith(1_000, proxied());
    proxy.pause();
    const failure = (await watch(registry, revision).failure()) as RegistryError;
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect(failure.message).toBe(`cannot watch the leases (${proxied()}: no answer within 1 s)`);
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
    expect(await probe.failure()).toMatchObject({ code: 'unavailable' });
  });
});

describe('after trouble', () => {
  test('the next watch begins with the next endpoint', async () => {
    const registry = open(proxied(), server.url);
    const { revision } = await registry.list(signal);
    const first = watch(registry, revision);
    await first.ready();
    expect(proxy.acceptedCount).toBe(1);
    proxy.cut();
    await first.failure();
    proxy.pause();
    await watch(registry, revision).ready();
    expect(proxy.acceptedCount).toBe(1);
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
