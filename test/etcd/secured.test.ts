/** Certificates, users and passwords. */
import { copyFile, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdRegistry, type EtcdRegistryOptions } from '../../src/etcd/registry';
import { describeError, RegistryError } from '../../src/model/errors';
import { printLeaseAttributes } from '../../src/model/lease-codec';
import { Authority, type CertificateFiles } from '../support/certificates';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { FakeLog } from '../support/fake-log';
import { until } from '../support/lab/until';
import { TlsGate, fingerprintOf } from '../support/tls-gate';
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
  let plain: EtcdServer;

  beforeAll(async () => {
    [ours, theirs] = await Promise.all([Authority.create('ours'), Authority.create('theirs')]);
    serverFiles = await ours.issue('server', 'IP:127.0.0.1,DNS:localhost');
    [open_, closed, plain] = await Promise.all([
      startEtcd({ tls: serverFiles }),
      startEtcd({ tls: { ...serverFiles, clientCa: ours.cert } }),
      startEtcd(),
    ]);
  });

  afterAll(async () => {
    await Promise.all([open_, closed, plain, ours, theirs].map((each) => each?.destroy()));
  });

  /** Reads, writes, and follows what others write. */
  async function use(registry: EtcdRegistry, server: EtcdServer, n: number): Promise<void> {
    const probe = watch(registry, (await registry.list(signal)).revision);
    await probe.ready();
    const attributes = vxlanAttributes(n);
    const own = written(await registry.create(leaseSubnets(`10.5.${n}.0/24`), attributes, undefined, signal));
    expect(await server.etcdctl(['get', `/test/subnets/${own.name}`, '--print-value-only'])).toBe(
      `${printLeaseAttributes(attributes)}\n`,
    );
    await server.etcdctl(['put', `/test/subnets/10.6.${n}.0-24`, '{}']);
    await probe.until(({ changes }) => changes.length >= 2);
    expect(probe.summary).toEqual([`put ${own.name}`, `put 10.6.${n}.0-24`]);
  }

  test('a CA is enough where the server asks for no certificate', async () => {
    await use(open(open_, { caFile: ours.cert }), open_, 1);
  });

  test('a client certificate opens a server that asks for one', async () => {
    const { cert, key } = await ours.issue('client', 'DNS:client');
    await use(open(closed, { caFile: ours.cert, certFile: cert, keyFile: key }), closed, 2);
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

  describe('files that change', () => {
    let directory: string;
    let files: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
    let gate: TlsGate;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'vtepd-tls-'));
      const inDirectory = (name: string) => join(directory, name);
      files = { caFile: inDirectory('ca'), certFile: inDirectory('cert'), keyFile: inDirectory('key') };
      await copyFile(ours.cert, files.caFile);
      gate = await TlsGate.start(plain.port, { ...serverFiles, clientCa: ours.cert });
    });

    afterEach(async () => {
      await gate.close();
      await rm(directory, { recursive: true, force: true });
    });

    const issue = () => ours.issue('client', 'DNS:client');
    const install = async ({ cert, key }: CertificateFiles) => {
      await copyFile(cert, files.certFile);
      await copyFile(key, files.keyFile);
    };
    const behindGate = () => open(plain, { ...files, endpoints: [gate.url] });
    /** Calls until the files were looked at after now: they are once a second. */
    const looked = async (registry: EtcdRegistry) => {
      const since = performance.now();
      await until('a call more than a second later', async () => {
        const isLate = performance.now() - since > 1_000;
        await registry.list(signal);
        return isLate;
      });
    };

    test('are used for new connections, while what is under way goes on', async () => {
      const [first, second] = [await issue(), await issue()];
      await install(first);
      const registry = behindGate();
      const { revision } = await registry.list(signal);
      const probe = watch(registry, revision);
      await probe.ready();
      expect(gate.seen).toEqual([await fingerprintOf(first)]);

      await install(await theirs.issue('stranger', 'DNS:stranger'));
      const refused = await until('the stranger is refused', () =>
        registry.list(signal).then(
          () => undefined,
          (error: unknown) => error,
        ),
      );
      expect(refused).toBeInstanceOf(RegistryError);

      await install(second);
      await until('the second is let in', () => registry.list(signal));
      expect(gate.seen).toEqual([await fingerprintOf(first), await fingerprintOf(second)]);
      await registry.create(leaseSubnets('10.5.1.0/24'), vxlanAttributes(1), undefined, signal);
      await probe.until(({ changes }) => changes.length === 1);
      // The watch is still on its first connection, and that is open.
      expect(gate.openCount).toBe(2);
    });

    test('and are half-written leave the connection as it is; when they are whole, they come into use', async () => {
      const [first, second] = [await issue(), await issue()];
      await install(first);
      const registry = behindGate();
      await registry.list(signal);
      await copyFile(second.cert, files.certFile);
      await looked(registry);
      expect(gate.seen).toEqual([await fingerprintOf(first)]);
      await copyFile(second.key, files.keyFile);
      await looked(registry);
      expect(gate.seen).toEqual([await fingerprintOf(first), await fingerprintOf(second)]);
      // Nobody uses the first any more.
      await until('one connection', () => gate.openCount === 1);
    });

    test.each([
      ['are links in a circle', (path: string) => symlink('ca', path), 'its links lead in a circle'],
      ['hold garbage', (path: string) => writeFile(path, '-----BEGIN CERTIFICATE-----\nAAA\n'), 'is damaged'],
    ])('and %s do no harm, but for a warning when they stay so', async (_, spoil, reason) => {
      await install(await issue());
      const log = new FakeLog();
      const registry = open(plain, { ...files, endpoints: [gate.url], log });
      await registry.list(signal);
      await rm(files.caFile);
      await spoil(files.caFile);
      const warnings = () => log.lines.filter(({ level }) => level === 'warn');
      await until('it is said', async () => {
        await registry.list(signal);
        return warnings().length > 0;
      });
      await looked(registry);
      expect(warnings()).toEqual([
        {
          level: 'warn',
          message: 'the TLS files for etcd cannot be used any more; going on with what was in them before',
          fields: { error: expect.stringContaining(reason) as string },
        },
      ]);
      expect(gate.seen).toHaveLength(1);
    });
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
      'role add writer',
      'role grant-permission writer --prefix=true write /test/',
      'user add writer:writer-secret',
      'user grant-role writer writer',
      'user add agent:agent-secret',
      'user grant-role agent reader',
      'user grant-role agent writer',
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

  test('missing rights to read or to write are told before anything must be written, and nothing is written', async () => {
    const before = await etcdctl('get', '--prefix', '/', '-w', 'fields');
    const check = (options: Partial<EtcdRegistryOptions>) =>
      open(server, options).checkAccess('10.5.9.0-24', signal);
    await check(root);
    for (const user of ['reader', 'nobody', 'writer']) {
      await expect(check({ username: user, password: `${user}-secret` })).rejects.toMatchObject({
        code: 'denied',
        message: expect.stringMatching(
          /^cannot read all leases and write the lease 10\.5\.9\.0-24 \(.*permission denied\)$/,
        ) as string,
      });
    }
    await check({ username: 'agent', password: 'agent-secret' });
    expect(await etcdctl('get', '--prefix', '/', '-w', 'fields')).toBe(before);
  });

  test('rights that are taken away while we are connected are missed at the next look', async () => {
    const registry = open(server, { username: 'agent', password: 'agent-secret' });
    await registry.checkAccess('10.5.9.0-24', signal);
    await etcdctl('user', 'revoke-role', 'agent', 'writer');
    await expect(registry.checkAccess('10.5.9.0-24', signal)).rejects.toMatchObject({ code: 'denied' });
    await etcdctl('user', 'grant-role', 'agent', 'writer');
    await registry.checkAccess('10.5.9.0-24', signal);
  });

  /** A token as our registries get, for a look at whether etcd still knows it. A look prolongs it. */
  const tokenOfRoot = async () =>
    (await server.gateway<{ token: string }>('auth/authenticate', { name: 'root', password: 'root-secret' }))
      .token;
  const isKnown = async (token: string) => {
    const body = JSON.stringify({ key: Buffer.from('x').toString('base64') });
    const options = { method: 'POST', body, headers: { authorization: token } };
    return (await fetch(`${server.url}/v3/kv/range`, options)).ok;
  };
  /** Resolves when every token that nobody has used since now has run out. */
  const runOut = async () => {
    const tokens = await Promise.all(Array.from({ length: 100 }, tokenOfRoot));
    await until('the tokens have run out', async () => !(await isKnown(tokens.shift()!)), {
      everyMilliseconds: 500,
    });
  };

  test('a token that has run out is replaced, for calls and for watches', async () => {
    const registry = open(server, root);
    const old = watch(registry, (await registry.list(signal)).revision);
    await old.ready();
    expect(await isKnown(await tokenOfRoot())).toBe(true);
    await runOut();
    const fresh = watch(registry, (await open(server, root).list(signal)).revision);
    await fresh.ready();
    await runOut();
    await registry.create(leaseSubnets('10.5.4.0/24'), vxlanAttributes(4), undefined, signal);
    for (const probe of [old, fresh]) {
      await probe.until(({ changes }) => changes.length > 0);
      expect(probe.summary).toEqual(['put 10.5.4.0-24']);
    }
  });

  test('a token that a change of password has ended is replaced, for calls, streams and watches', async () => {
    const registry = open(server, root);
    const { revision } = await registry.list(signal);
    const id = await registry.grant(60, signal);
    const subnets = leaseSubnets('10.5.5.0/24');
    const uses: (() => Promise<unknown>)[] = [
      async () => expect((await registry.list(signal)).revision).toBe(revision),
      () => watch(registry, revision).ready(),
      async () => expect(await registry.keepAlive(id, signal)).toMatchObject({ remainingSeconds: 60 }),
      async () => written(await registry.create(subnets, vxlanAttributes(5), id, signal)),
      () => registry.revoke(id, signal),
      async () => expect(await registry.lifeOf(id, signal)).toBe('lost'),
    ];
    for (const use of uses) {
      const token = await tokenOfRoot();
      expect(await isKnown(token)).toBe(true);
      await server.etcdctl(
        ['--user', 'root:root-secret', 'user', 'passwd', 'root', '--interactive=false'],
        'root-secret\n',
      );
      expect(await isKnown(token)).toBe(false);
      await use();
    }
  });

  test('that are not asked for, user and password do no harm; asked for later, they open it', async () => {
    const late = await startEtcd({ args: ['--bcrypt-cost', '4'] });
    try {
      const registry = open(late, root);
      const { revision } = await registry.list(signal);
      for (const command of ['user add root:root-secret', 'user grant-role root root', 'auth enable']) {
        await late.etcdctl(command.split(' '));
      }
      await expect(open(late).list(signal)).rejects.toThrow(/it wants a user and password/);
      expect(await registry.list(signal)).toEqual({ revision, leases: [], malformed: [] });
    } finally {
      await late.destroy();
    }
  });
});
