/** Uses a registry in every way, closes it, and says how long the process lived after that. Run by calls.test.ts. */
import { EtcdRegistry } from '../../src/etcd/registry';

async function main(url: string): Promise<void> {
  const registry = new EtcdRegistry({ endpoints: [url], prefix: '/ends' });
  const { signal } = new AbortController();
  const { revision } = await registry.list(signal);
  const id = await registry.grant(60, signal);
  await registry.keepAlive(id, signal);
  const first = registry.watch(revision, signal)[Symbol.asyncIterator]();
  await first.next();
  const waiting = first.next().catch(() => undefined);
  void registry.list(signal).catch(() => undefined);
  registry.close();
  const closed = performance.now();
  await waiting;
  process.on('exit', () => console.log(`ended after ${Math.round(performance.now() - closed)} ms`));
}

void main(process.argv[2]!);
