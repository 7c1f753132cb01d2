/** Uses a registry in every way, closes it, and says what would have kept the process alive before and after. Run by calls.test.ts. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { EtcdRegistry } from '../../src/etcd/registry';

/** Sockets, timers and the like that the event loop waits for; not what this program itself has open. */
function resources(): string[] {
  const ours = /^(TTYWrap|PipeWrap|FSReqCallback|Immediate)$/;
  return process.getActiveResourcesInfo().filter((name) => !ours.test(name));
}

async function main(url: string): Promise<void> {
  const registry = new EtcdRegistry({ endpoints: [url], prefix: '/ends', callDeadlineMilliseconds: 60_000 });
  const { signal } = new AbortController();
  const { revision } = await registry.list(signal);
  const id = await registry.grant(60, signal);
  await registry.keepAlive(id, signal);
  const first = registry.watch(revision, signal)[Symbol.asyncIterator]();
  await first.next();
  const waiting = first.next().catch(() => undefined);
  const list = registry.list(signal).catch(() => undefined);
  const before = resources();
  registry.close();
  await Promise.all([waiting, list]);
  // What is closed is gone a few turns later.
  for (let turn = 0; turn < 1_000 && resources().length > 0; turn++) await nextTurn();
  console.log(JSON.stringify({ before, after: resources() }));
}

void main(process.argv[2]!);
