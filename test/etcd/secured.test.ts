/** Certificates, users and passwords. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdRegistry, type EtcdRegistryOptions } from '../../src/etcd/registry';
import { describeError, type RegistryError } from '../../src/model/errors';
import { Authority, type CertificateFiles } from '../support/certificates';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { leaseSubnets, vxlanAttributes, WatchProbe, written } from '../support/registry-contract';

const signal = new AbortController().signal;
const registries: EtcdRegistry[] = [];
const probes: WatchProbe[] = [];

afterEach(async () => {
  await Promise.all(probes.splice(0).map((probe) => probe.stop()));
  for (const registry of registries.splice(0)) registry.close();
});

function open(server: EtcdServer, options: Partial<EtcdRegistryOptions> = {}): EtcdRegistry {
  const registry = new EtcdRegistry({ endpoints: [server.url], prefix: '/test', ...options });
  registries.push(registry);
  return registry;
}

function watch(registry: EtcdRegistry, afterRevision: string): WatchProbe {
  const probe = new WatchProbe(registry, afterRevision);
  probes.push(probe);
  return probe;
}

describe('over TLS', () => {
  let ours: Authority;
  let theirs: Authority;
  let serverFiles: CertificateFiles;
  let open_: EtcdServer;
  let closed: EtcdServer;

  beforeAll(async () => {
    [ours, theirs] = await Promise.all([Authority.create('ours'), Authority.create('theirs')]);
    serverFiles = await ours.issue('server', 'IP:127.0.0.1,DNS:localhost');
    [open_, closed] = await Promise.all([
      startEtcd({ tls: serverFiles }),
      startEtcd({ tls: { ...serverFiles, clientCa: ours.cert } }),
    ]);
  });

  afterAll(async () => {
    await Promise.all([open_?.destroy(), closed?.destroy(), ours?.destroy(), theirs?.destroy()]);
  });

  test('a CA is enough where the server asks for no certificate', async () => {
    const registry = open(open_, { caFile: ours.cert });
    const { revision } = await registry.list(signal);
    await watch(registry, revision).ready();
  });

  test('a client certificate opens a server that asks for one', async () => {
    const { cert, key } = await ours.issue('client', 'DNS:client');
    const registry = open(closed, { caFile: ours.cert, certFile: cert, keyFile: key });
    const { revision } = await registry.list(signal);
    await watch(registry, revision).ready();
  });

  test('what is wrong is said in words', async () => {
    const stranger = await theirs.issue('stranger', 'DNS:stranger');
    const failure = async (server: EtcdServer, options: Partial<EtcdRegistryOptions>) => {
      const error = (await open(server, options)
        .list(signal)
        .catch((caught: unknown) => caught)) as RegistryError;
      return `${error.code}: ${error.message.replace(server.url, 'URL')}`;
    };
    expect(await failure(open_, { caFile: theirs.cert })).toBe(
      'denied: cannot list the leases (URL: its certificate is not signed by a CA we trust)',
    );
    expect(await failure(open_, {})).toBe(
      'denied: cannot list the leases (URL: its certificate is not signed by a CA we trust)',
    );
    expect(await failure(closed, { caFile: ours.cert })).toBe(
      'denied: cannot list the leases (URL: it does not accept our certificate (or wants one))',
    );
    expect(await failure(closed, { caFile: ours.cert, certFile: stranger.cert, keyFile: stranger.key })).toBe(
      'denied: cannot list the leases (URL: it does not accept our certificate (or wants one))',
    );
    expect(
      await failure(closed, { caFile: ours.cert, certFile: stranger.cert, keyFile: serverFiles.key }),
    ).toBe(
      `denied: cannot list the leases: the key file '${serverFiles.key}' is not the key of the certificate in '${stranger.cert}'`,
    );
    expect(await failure(open_, { caFile: '/does/not/exist' })).toBe(
      "denied: cannot list the leases: the CA file '/does/not/exist' cannot be read: it does not exist",
    );
    expect(
      await failure(open_, { endpoints: [open_.url.replace('https', 'http')], caFile: ours.cert }),
    ).toMatch(/^unavailable: .*it hung up at once; does it want https\?\)$/);
  });

  test('a server with the certificate of another host is not trusted', async () => {
    const server = await startEtcd({ tls: await ours.issue('other', 'DNS:other.example') });
    try {
      await expect(open(server, { caFile: ours.cert }).list(signal)).rejects.toMatchObject({
        code: 'denied',
        message: `cannot list the leases (${server.url}: its certificate is for another name)`,
      });
    } finally {
      await server.destroy();
    }
  });

  test('renewed files are used for new connections, while what is under way goes on', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vtepd-tls-'));
    const [caFile, certFile, keyFile] = ['ca', 'cert', 'key'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    const install = async (files: CertificateFiles) => {
      await copyFile(files.cert, certFile);
      await copyFile(files.key, keyFile);
    };
    try {
      await copyFile(ours.cert, caFile);
      await install(await ours.issue('client', 'DNS:client'));
      const registry = open(closed, { caFile, certFile, keyFile });
      const { revision } = await registry.list(signal);
      const probe = watch(registry, revision);
      await probe.ready();

      await install(await theirs.issue('stranger', 'DNS:stranger'));
      const refused = await eventually(() => registry.list(signal).catch((error: unknown) => error), isError);
      expect(refused).toMatchObject({ code: 'denied' });

      await install(await ours.issue('client', 'DNS:client'));
      await eventually(
        () => registry.list(signal).catch((error: unknown) => error),
        (result) => !isError(result),
      );
      await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal);
      await probe.until(({ changes }) => changes.length === 1);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  test('half-written files leave the connection as it is', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vtepd-tls-'));
    const [certFile, keyFile] = ['cert', 'key'].map((name) => join(directory, name)) as [string, string];
    try {
      const first = await ours.issue('client', 'DNS:client');
      await Promise.all([copyFile(first.cert, certFile), copyFile(first.key, keyFile)]);
      const registry = open(closed, { caFile: ours.cert, certFile, keyFile });
      await registry.list(signal);
      const second = await ours.issue('client', 'DNS:client');
      await copyFile(second.cert, certFile);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await registry.list(signal);
      await copyFile(second.key, keyFile);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await registry.list(signal);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

describe('with users', () => {
  let server: EtcdServer;

  beforeAll(async () => {
    server = await startEtcd({ args: ['--auth-token-ttl', '1', '--bcrypt-cost', '4'] });
    const commands = [
      'user add root:root-secret',
      'user grant-role root root',
      'role add reader',
      'role grant-permission reader --prefix=true read /test/',
      'user add reader:reader-secret',
      'user grant-role reader reader',
      'role add nothing',
      'user add nobody:nobody-secret',
      'user grant-role nobody nothing',
      'auth enable',
    ];
    for (const command of commands) await server.etcdctl(command.split(' '));
  });

  afterAll(async () => {
    await server?.destroy();
  });

  const root = { username: 'root', password: 'root-secret' };
  const etcdctl = (...args: string[]) => server.etcdctl(['--user', 'root:root-secret', ...args]);

  test('user and password open it', async () => {
    const registry = open(server, root);
    const id = await registry.grant(60, signal);
    const lease = written(await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), id, signal));
    expect(await registry.keepAlive(id, signal)).toMatchObject({ remainingSeconds: 60 });
    expect(await registry.lifeOf(id, signal)).toMatchObject({
      remainingSeconds: expect.any(Number) as number,
    });
    expect((await registry.list(signal)).leases).toEqual([lease]);
    await registry.revoke(id, signal);
  });

  test('a wrong password, a missing permission or a missing user is denied, and no secret is told', async () => {
    const cases: [Partial<EtcdRegistryOptions>, (registry: EtcdRegistry) => Promise<unknown>, RegExp][] = [
      [{ username: 'root', password: 'hunter2' }, (r) => r.list(signal), /invalid user ID or password/],
      [{}, (r) => r.list(signal), /it wants a user and password/],
      [
        {},
        (r) =>
          watch(r, '1')
            .failure()
            .then((error) => Promise.reject(error as Error)),
        /wants a user/,
      ],
      [{ username: 'nobody', password: 'nobody-secret' }, (r) => r.list(signal), /permission denied/],
      [
        { username: 'nobody', password: 'nobody-secret' },
        (r) =>
          watch(r, '1')
            .failure()
            .then((error) => Promise.reject(error as Error)),
        /permission denied/,
      ],
      [
        { username: 'reader', password: 'reader-secret' },
        (r) => r.create(leaseSubnets('10.5.2.0/24'), vxlanAttributes(1), undefined, signal),
        /permission denied/,
      ],
    ];
    for (const [options, call, message] of cases) {
      const error = (await call(open(server, options)).catch((caught: unknown) => caught)) as RegistryError;
      expect(error).toMatchObject({ code: 'denied' });
      expect(error.message).toMatch(message);
      const everything = describeError(error) + JSON.stringify(error, Object.getOwnPropertyNames(error));
      expect(everything).not.toMatch(/hunter2|-secret/);
    }
  });

  test('reading is allowed to who may only read, a watch too', async () => {
    const registry = open(server, { username: 'reader', password: 'reader-secret' });
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    await etcdctl('put', '/test/subnets/10.5.3.0-24', '{}');
    await probe.until(({ changes }) => changes.length === 1);
  });

  test('a token that has run out is replaced, for calls and for watches', async () => {
    const registry = open(server, root);
    const old = watch(registry, (await registry.list(signal)).revision);
    await old.ready();
    // Tokens live for a second here, and etcd looks once a second.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const fresh = watch(registry, (await open(server, root).list(signal)).revision);
    await fresh.ready();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await registry.create(leaseSubnets('10.5.4.0/24'), vxlanAttributes(4), undefined, signal);
    for (const probe of [old, fresh]) await probe.until(({ changes }) => changes.length > 0);
  });

  test('a token that a change of password has ended is replaced, for calls, streams and watches', async () => {
    const registry = open(server, root);
    const { revision } = await registry.list(signal);
    const id = await registry.grant(60, signal);
    const uses: (() => Promise<unknown>)[] = [
      () => registry.list(signal),
      () => watch(registry, revision).ready(),
      () => registry.keepAlive(id, signal),
      () => registry.create(leaseSubnets('10.5.5.0/24'), vxlanAttributes(5), id, signal),
      () => registry.revoke(id, signal),
    ];
    for (const use of uses) {
      await server.etcdctl(
        ['--user', 'root:root-secret', 'user', 'passwd', 'root', '--interactive=false'],
        'root-secret\n',
      );
      await use();
    }
  });

  test('that are not asked for, user and password do no harm; asked for later, they open it', async () => {
    const late = await startEtcd({ args: ['--bcrypt-cost', '4'] });
    try {
      const registry = open(late, root);
      await registry.list(signal);
      for (const command of ['user add root:root-secret', 'user grant-role root root', 'auth enable']) {
        await late.etcdctl(command.split(' '));
      }
      await registry.list(signal);
    } finally {
      await late.destroy();
    }
  });
});

function isError(result: unknown): boolean {
  return result instanceof Error;
}

/** Repeats until the result is as wanted; at most 5 s. */
async function eventually<T>(work: () => Promise<T>, isWanted: (result: T) => boolean): Promise<T> {
  const deadline = performance.now() + 5_000;
  for (;;) {
    const result = await work();
    if (isWanted(result)) return result;
    if (performance.now() > deadline) throw new Error(`it did not happen; last: ${String(result)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
