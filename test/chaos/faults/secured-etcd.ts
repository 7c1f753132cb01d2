/** What happens to an etcd that asks who we are: users, tokens, certificates. */
import { PREFIX } from '../../support/lab/lab';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import type { Scene } from '../scene';
import { gateway } from './etcd';

const COMMON = { group: 'etcd', throughLoss: 'none', withinMilliseconds: 30_000 } as const;
const TOKEN_SECONDS = 2;

/** An etcd whose tokens live shortly, and agents that say who they are, asked or not. */
export const WITH_USERS: NonNullable<Fault['plan']> = {
  etcdArguments: ['--auth-token-ttl', String(TOKEN_SECONDS), '--bcrypt-cost', '4'],
  agentOptions: ['--etcd-username=vtepd', '--etcd-password=secret'],
};
const WITH_TLS: NonNullable<Fault['plan']> = { etcdTls: true };

/** Makes etcd ask who one is, until the fault is over. The agents' user may read and write what is the overlay's. */
export async function askForUsers(scene: Scene): Promise<void> {
  const { etcd } = scene.lab;
  await etcd.etcdctl('user', 'add', 'root:secret');
  await etcd.etcdctl('user', 'grant-role', 'root', 'root');
  await etcd.etcdctl('role', 'add', 'overlay');
  await etcd.etcdctl('role', 'grant-permission', 'overlay', '--prefix=true', 'readwrite', `${PREFIX}/`);
  await etcd.etcdctl('user', 'add', 'vtepd:secret');
  await etcd.etcdctl('user', 'grant-role', 'vtepd', 'overlay');
  scene.atEnd(async () => {
    if (etcd.user) await etcd.etcdctl('auth', 'disable');
    etcd.user = undefined;
    for (const user of ['vtepd', 'root']) await etcd.etcdctl('user', 'delete', user);
    await etcd.etcdctl('role', 'delete', 'overlay');
  });
  await etcd.etcdctl('auth', 'enable');
  etcd.user = 'root:secret';
}

/** Deletes host 1's key; resolves with the milliseconds until it is back, for which host 1 must write to etcd. */
async function writesAgain(scene: Scene, meanwhile?: () => Promise<unknown>): Promise<number> {
  const { etcd } = scene.lab;
  const key = scene.keyOf(scene.victim);
  await etcd.etcdctl('del', key);
  await meanwhile?.();
  return scene.took('the key is back', async () => (await etcd.inspect(key)).length === 1);
}

/** Ends etcd politely and starts it again: every connection is made anew. The time is that until host 1 follows it. */
async function reconnected(scene: Scene): Promise<number> {
  const { etcd } = scene.lab;
  await etcd.stop(undefined, 'SIGTERM');
  await etcd.start();
  const start = performance.now();
  await scene.followsEtcd();
  await writesAgain(scene);
  return performance.now() - start;
}

/** Whoever has the client certificate of this moment, in a copy, is refused. */
async function isRefused(scene: Scene, certificate: { cert: string; key: string }): Promise<boolean> {
  const [member] = scene.lab.etcd.members;
  const { status } = await member!.namespace.attempt(
    'etcdctl',
    [
      ...[`--endpoints=${scene.lab.etcd.endpoints}`, '--cacert', scene.lab.etcd.tls!.caFile],
      ...['--cert', certificate.cert, '--key', certificate.key, '--command-timeout=2s', '--dial-timeout=2s'],
      ...['get', 'x'],
    ],
    { env: { ...process.env, ETCDCTL_API: '3' } },
  );
  return status !== 0;
}

export const SECURED_ETCD_FAULTS: readonly Fault[] = [
  {
    ...COMMON,
    name: 'etcd-token-expired',
    what: "three times lets host 1's token expire (they live for 2 s), and deletes its key: it gets another, and writes",
    plan: WITH_USERS,
    // A deleted key takes nothing from the kernel of whoever has it back in time.
    provoke: async (scene) => {
      await askForUsers(scene);
      await writesAgain(scene);
      const times: number[] = [];
      for (let round = 0; round < 3; round++) {
        const login = { name: 'vtepd', password: 'secret' };
        const { token } = await gateway<{ token: string }>(scene, 'auth/authenticate', login);
        // etcd looks for expired ones once a second; each use prolongs a token, and there is none meanwhile.
        await scene.lasts(TOKEN_SECONDS * 1000 + 2500);
        const range = { key: Buffer.from(`${PREFIX}/config`).toString('base64') };
        const refusal = await gateway(scene, 'kv/range', range, token).catch((error: unknown) =>
          String(error),
        );
        if (!String(refusal).includes('invalid auth token'))
          throw new Error(`a token of the same age has not expired: ${JSON.stringify(refusal)}`);
        times.push(await writesAgain(scene));
      }
      return Math.max(...times);
    },
  },
  {
    ...COMMON,
    name: 'etcd-permission-revoked',
    what: "takes the permission away from the agents' user for 5 s, host 1's key being deleted: denied, then written",
    plan: WITH_USERS,
    // Peers forget a host whose key stays deleted, and they could not tell.
    throughLoss: 'counted',
    provoke: async (scene) => {
      const { etcd } = scene.lab;
      await askForUsers(scene);
      const permission = ['overlay', `${PREFIX}/`, '--prefix=true'];
      await etcd.etcdctl('role', 'revoke-permission', ...permission);
      await writesAgain(scene, async () => {
        await scene.said(/lease/);
        const denied = await until('host 1 says that it is denied', () =>
          scene.log().find((line) => JSON.stringify(line).includes('permission denied')),
        );
        if (denied.level === 'debug') throw new Error('a denied permission is no secret');
        await scene.lasts(5000);
        await etcd.etcdctl('role', 'grant-permission', '--prefix=true', 'overlay', 'readwrite', `${PREFIX}/`);
      });
      const start = performance.now();
      await scene.followsEtcd();
      return performance.now() - start;
    },
  },
  {
    ...COMMON,
    name: 'tls-renewed',
    what: "puts certificates with new keys in the place of etcd's and the agents', revokes the old ones, and ends all connections",
    plan: WITH_TLS,
    provoke: async (scene) => {
      const tls = scene.lab.etcd.tls!;
      const old = tls.copyOfClient();
      await tls.renew();
      await tls.revokeOlder();
      const milliseconds = await reconnected(scene);
      if (!(await isRefused(scene, old))) throw new Error('the old certificate is still good');
      return milliseconds;
    },
  },
  {
    ...COMMON,
    name: 'tls-ca-renewed',
    what: 'replaces the CA: first both are trusted, then certificates of the new one are used, then the old one is not trusted any more',
    plan: WITH_TLS,
    provoke: async (scene) => {
      const tls = scene.lab.etcd.tls!;
      const old = tls.copyOfClient();
      const [before, after] = [tls.authority, await tls.newAuthority()];
      tls.trust([before, after]);
      const first = await reconnected(scene);
      await tls.renew();
      const second = await reconnected(scene);
      tls.trust([after]);
      const third = await reconnected(scene);
      if (!(await isRefused(scene, old))) throw new Error('a certificate of the old CA is still good');
      return Math.max(first, second, third);
    },
  },
];
