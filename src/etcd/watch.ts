/** Following the leases on etcd's own watch stream, so that nothing is ever lost silently. */
import type { IEvent, IKeyValue, IWatchRequest, IWatchResponse } from 'etcd3';
import { inTurns } from '../in-turns';
import { RegistryError } from '../model/errors';
import type { Steps } from '../model/steps';
import { monotonicMilliseconds } from '../monotonic';
import type { LeaseBatch, LeaseChange } from '../ports';
import type { Attempt, EtcdClient } from './client';
import type { CallLimits, Connection } from './connection';
import { CallError, noAnswerWithin, serverErrorOf } from './errors';
import type { Keys } from './keys';
import { changeOf } from './stored';
import { WatchQueue } from './watch-queue';

const CLOCK = { now: monotonicMilliseconds };
const PURPOSE = 'watch the leases';
/**
 * All changes after a revision; see {@link LeaseRegistry.watch}. Why not etcd3's Watcher: it resumes after the store's
 * revision, not after the last event it delivered, and so loses events when its connection is cut (or a message is too big)
 * while it catches up. This one does not resume at all: trouble is thrown. The first batch, empty, says that it is up.
 */
export async function* watchLeases(
  client: EtcdClient,
  keys: Keys,
  afterRevision: string,
  signal: AbortSignal,
): AsyncGenerator<LeaseBatch> {
  const { stream, release, attempt } = await client.call(
    PURPOSE,
    async (attempt) => {
      const stream = await openWatch(attempt, keys, afterRevision);
      return { stream, release: attempt.hold(), attempt };
    },
    signal,
    ({ stream, release }) => {
      stream.abort(undefined);
      release();
    },
  );
  const abort = () => stream.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    yield { revision: afterRevision, changes: [] };
    let events: IEvent[] = [];
    for (;;) {
      let revision: string | undefined;
      let changes: LeaseChange[] = [];
      for (const response of await stream.next()) {
        throwIfCanceled(response);
        throwIfIncomplete(response);
        for (const event of response.events) events.push(event);
        // A revision may be spread over several messages; it is delivered whole.
        if (response.fragment) continue;
        // The header's revision is the store's, which may be far ahead of what we were sent: it counts only without events.
        revision = events.at(-1)?.kv.mod_revision ?? response.header.revision;
        changes = changes.concat(await inTurns(changesInSteps(keys, events), CLOCK));
        events = [];
      }
      if (revision !== undefined) yield { revision, changes };
    }
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    if (error.kind === 'unavailable') attempt.demote();
    const code = error.kind === 'compacted' || error.kind === 'denied' ? error.kind : 'unavailable';
    const { url } = attempt.connection.endpoint;
    throw new RegistryError(code, `cannot ${PURPOSE} any longer (${url}: ${error.message})`, {
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', abort);
    stream.abort(undefined);
    release();
  }
}

function* changesInSteps(keys: Keys, events: readonly IEvent[]): Steps<LeaseChange[]> {
  const changes = [];
  for (const event of events) {
    changes.push(changeOf(keys, event));
    yield;
  }
  return changes;
}

/** Resolves once etcd has confirmed the watch. */
async function openWatch(
  { connection, limits }: Attempt,
  keys: Keys,
  afterRevision: string,
): Promise<WatchQueue> {
  const stream = await connection.open<IWatchRequest, IWatchResponse>('Watch', 'watch', limits, {
    // A server cut off from its cluster ends the watch, instead of being silent.
    metadata: { hasleader: 'true' },
  });
  const queue = new WatchQueue(stream, limits.deadlineMilliseconds);
  const abort = () => queue.abort(limits.signal.reason);
  limits.signal.addEventListener('abort', abort, { once: true });
  if (limits.signal.aborted) abort();
  const late = setTimeout(() => {
    queue.abort(noAnswerWithin(limits.deadlineMilliseconds));
  }, limits.deadlineMilliseconds);
  try {
    stream.write({
      create_request: {
        ...keys.leases,
        start_revision: String(BigInt(afterRevision) + 1n),
        progress_notify: true,
        // No fragments: etcd 3.4 splits a large message in time that grows with the square of its size. We take any size.
        fragment: false,
      },
    });
    const [created, ...rest] = await queue.next();
    throwIfCanceled(created!);
    queue.putBack(rest);
    await throwIfOlder(connection, limits, keys, created!.header.revision, afterRevision);
    return queue;
  } catch (error) {
    queue.abort(undefined);
    throw error;
  } finally {
    clearTimeout(late);
    limits.signal.removeEventListener('abort', abort);
  }
}

/**
 * A store restored from a backup is behind us, and etcd would silently send nothing until it has caught up with us. A member
 * that only lags behind its cluster is told from it by a read, which waits for what the cluster has agreed on.
 */
async function throwIfOlder(
  connection: Connection,
  limits: CallLimits,
  keys: Keys,
  storeRevision: string,
  afterRevision: string,
): Promise<void> {
  if (BigInt(storeRevision) >= BigInt(afterRevision)) return;
  const request = { key: keys.config, count_only: true };
  const { header } = await connection.unary<{ header: { revision: string } }>('KV', 'range', request, limits);
  if (BigInt(header.revision) >= BigInt(afterRevision)) return;
  throw new CallError(
    'compacted',
    `the store is at revision ${header.revision}, older than what it told us before; was it restored?`,
  );
}

/** etcd3's codec leaves out what is not there, whatever its types say. */
function throwIfIncomplete({ events }: IWatchResponse): void {
  if (events.some(({ kv }) => !(kv as IKeyValue | null | undefined)))
    throw new CallError('unavailable', 'it told of a change and not of which key; is it etcd?');
}

function throwIfCanceled(response: IWatchResponse): void {
  if (response.compact_revision !== '0') {
    throw new CallError('compacted', 'the revision to start from has been compacted');
  }
  if (response.canceled) throw serverErrorOf(response.cancel_reason || 'the server ended the watch');
}
