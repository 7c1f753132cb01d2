/** A watch that tells nothing is asked how far it is. */
import { EtcdRegistry } from '../../src/etcd/registry';
import { startEtcd, type EtcdServer } from '../support/etcd-server';
import { until } from '../support/lab/until';

const prefix = '/quiet';
const signal = new AbortController().signal;

let server: EtcdServer;
let registry: EtcdRegistry;

beforeAll(async () => {
  // By itself, this etcd tells of a watch's progress every ten minutes.
  server = await startEtcd();
  registry = new EtcdRegistry({
    endpoints: [server.url],
    prefix,
    callDeadlineMilliseconds: 500,
  });
});

afterAll(async () => {
  registry?.close();
  await server?.destroy();
});

async function follow() {
  const { revision } = await registry.list(signal);
  const revisions: string[] = [];
  const end = new AbortController();
  const ended = (async () => {
    for await (const batch of registry.watch(revision, end.signal)) revisions.push(batch.revision);
  })().catch((error: unknown) => error);
  await until('the watch is up', () => revisions.length > 0);
  return { revisions, ended, stop: () => end.abort() };
}

test('a watch without changes goes on, and tells how far the store is', async () => {
  const { revisions, ended, stop } = await follow();
  await server.put('/elsewhere', 'x');
  const store = await server.revision();
  await until('the progress is told', () => revisions.at(-1) === store);
  await until('and is told again later', () => revisions.length > 3);
  stop();
  expect(await ended).toMatchObject({ name: 'AbortError' });
});
