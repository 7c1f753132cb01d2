/** One etcd, behind several endpoints: tries them in turn, and follows its certificates when they are renewed. */
import { setMaxListeners } from 'node:events';
import { monotonicMilliseconds } from '../monotonic';
import { RegistryError, UsageError } from '../model/errors';
import type { Log } from '../ports';
import { Connection, type CallLimits, type Login } from './connection';
import { parseEndpoints, type Endpoint } from './endpoints';
import { hearGrpc } from './grpc-log';
import { Pings } from './pings';
import { race } from './race';
import { CallError } from './errors';
import { TlsFiles, type TlsFilePaths } from './tls-files';

export interface EtcdOptions extends TlsFilePaths {
  /** URLs like `http://10.0.0.1:2379`. */
  readonly endpoints: readonly string[];
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** How long one server may take to answer one call, before the next is asked; 5000 by default. */
  readonly callDeadlineMilliseconds?: number | undefined;
  /** Waited for before each call. Throws a {@link RegistryError} while no server may be asked. */
  readonly permit?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Hears of servers that are silent, and of what grpc prints. */
  readonly log?: Log | undefined;
}

const CALL_DEADLINE_MILLISECONDS = 5_000;
/** So often, at most, are the certificate files looked at. */
const TLS_CHECK_MILLISECONDS = 1_000;
/** Renewing them takes no longer. */
const TLS_WRITING_MILLISECONDS = 5_000;
const SILENCE_REST_MILLISECONDS = 60_000;
const LONGEST_REST_MILLISECONDS = 3_600_000;

/** What one attempt has to work with. */
export interface Attempt {
  readonly connection: Connection;
  readonly limits: CallLimits;
  /** An earlier attempt of the same call failed in a way that leaves open whether it was carried out. */
  readonly unclear: boolean;
  /** Keeps the connection open after the call, until the returned function is called (once). */
  hold(): () => void;
  /** Makes the next call begin with another endpoint. */
  demote(): void;
}

/** Connections to all endpoints with the same certificates. Closed when they are out of date and nobody uses them. */
interface ConnectionSet {
  readonly connections: readonly Connection[];
  readonly tlsStamp: string;
  users: number;
}

/**
 * Makes calls. Endpoints are tried in turn, beginning with the one that answered last; each gets one try, and one more when
 * its connection broke. So attempts must be such that repeating them is right.
 */
export class EtcdClient {
  readonly #endpoints: readonly Endpoint[];
  readonly #tlsFiles: TlsFiles;
  readonly #login: Login | undefined;
  readonly #deadlineMilliseconds: number;
  readonly #permit: EtcdOptions['permit'];
  readonly #log: Log | undefined;
  /** By endpoint: how often its server may be pinged. */
  readonly #pings: readonly Pings[];
  readonly #silenceToldAt = new Map<number, number>();
  /** The cluster that answered last, by the index of the endpoint. */
  readonly #clusters = new Map<number, string>();
  #clustersRest = { until: -Infinity, milliseconds: SILENCE_REST_MILLISECONDS };
  readonly #endGrpcNews: () => void;
  readonly #calls = new Set<AbortController>();
  readonly #sets = new Set<ConnectionSet>();
  #set: ConnectionSet | undefined;
  #tlsCheckedAt = 0;
  /** The files on disk are not those in use, and cannot be used. */
  #brokenTls: { readonly since: number; isTold: boolean } | undefined;
  #preferred = 0;
  #closed = false;

  /** Connects to nobody yet. Throws a {@link UsageError} for options that can never work. */
  constructor(options: EtcdOptions) {
    this.#endpoints = parseEndpoints(options.endpoints);
    this.#tlsFiles = new TlsFiles(options);
    this.#deadlineMilliseconds = options.callDeadlineMilliseconds ?? CALL_DEADLINE_MILLISECONDS;
    this.#permit = options.permit;
    this.#log = options.log;
    this.#pings = this.#endpoints.map(() => new Pings());
    this.#endGrpcNews = hearGrpc({
      said: (text) => this.#log?.debug('grpc', { text }),
      refusedPings: (address) => this.#pingMoreRarely(address),
    });
    const { username = '', password = '' } = options;
    if (password !== '' && username === '') {
      throw new UsageError('--etcd-password is given without --etcd-username');
    }
    this.#login = username === '' ? undefined : { username, password };
  }

  /** Does something with the first server that can; `purpose` completes "cannot …". Throws {@link RegistryError}. */
  async call<T>(
    purpose: string,
    attempt: (attempt: Attempt) => Promise<T>,
    signal: AbortSignal,
    /** Called with a result that came too late: another server's was taken. */
    discard: (result: T) => void = () => undefined,
  ): Promise<T> {
    signal.throwIfAborted();
    if (this.#closed) throw closedError(purpose);
    // One signal for a thousand calls is no leak, though Node would warn of it.
    setMaxListeners(0, signal);
    const controller = new AbortController();
    const abort = () => controller.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    this.#calls.add(controller);
    try {
      await this.#permit?.(controller.signal);
      return await this.#tryAll(purpose, attempt, discard, controller.signal);
    } catch (error) {
      if (this.#closed) throw closedError(purpose);
      throw error;
    } finally {
      this.#calls.delete(controller);
      signal.removeEventListener('abort', abort);
    }
  }

  /** Gives up the connections there are; the next call makes new ones. */
  reconnect(): void {
    const old = this.#set;
    if (!old) return;
    this.#set = undefined;
    this.#sets.delete(old);
    for (const call of this.#calls)
      call.abort(new RegistryError('unavailable', 'the connection to etcd was given up for another'));
    closeAll(old);
  }

  /** Ends all calls and streams. */
  close(): void {
    this.#closed = true;
    this.#endGrpcNews();
    for (const call of this.#calls) call.abort(closedError('go on'));
    for (const set of this.#sets) closeAll(set);
    this.#sets.clear();
  }

  /** Endpoints side by side: while one is silent, the next is asked. */
  async #tryAll<T>(
    purpose: string,
    work: (attempt: Attempt) => Promise<T>,
    discard: (result: T) => void,
    signal: AbortSignal,
  ): Promise<T> {
    const set = this.#currentSet(purpose);
    const failures = new Map<number, CallError>();
    const release = this.#hold(set);
    const { length } = set.connections;
    const order = set.connections.map((_, turn) => (this.#preferred + turn) % length);
    // How many attempts may have been carried out without our hearing of it.
    let open = 0;
    const racers = order.map((index) => ({
      run: (raceSignal: AbortSignal) =>
        this.#try(set, index, raceSignal, work, {
          isUnclear: () => open > 0,
          begun: () => open++,
          failed: (error) => {
            failures.set(index, error);
            if (error.kind !== 'unavailable') open--;
          },
        }),
      isFinal: (error: unknown) =>
        !(error instanceof CallError) || !['unavailable', 'denied'].includes(error.kind),
      discard,
      silent: () => this.#tellSilent(index),
    }));
    try {
      return await race(racers, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CallError)) throw error;
      throw this.#failure(purpose, failures);
    } finally {
      release();
    }
  }

  /** A broken connection and an outdated token each deserve a second try, on the same server. */
  async #try<T>(
    set: ConnectionSet,
    index: number,
    signal: AbortSignal,
    work: (attempt: Attempt) => Promise<T>,
    course: { isUnclear(): boolean; begun(): void; failed(error: CallError): void },
  ): Promise<T> {
    const connection = set.connections[index]!;
    const limits = { deadlineMilliseconds: this.#deadlineMilliseconds, signal };
    for (let mayRepeat = true; ; mayRepeat = false) {
      const unclear = course.isUnclear();
      course.begun();
      try {
        const result = await work({
          connection,
          limits,
          unclear,
          hold: () => this.#hold(set),
          demote: () => this.#demote(index),
        });
        if (!signal.aborted) this.#preferred = index;
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof CallError)) throw error;
        course.failed(error);
        if (error.kind === 'token') connection.forgetToken();
        if (mayRepeat && (error.isBreak || (error.kind === 'token' && this.#login))) continue;
        throw error;
      }
    }
  }

  /** Once a minute at most for each endpoint. */
  #tellSilent(index: number): void {
    const now = monotonicMilliseconds();
    if (now - (this.#silenceToldAt.get(index) ?? -Infinity) < SILENCE_REST_MILLISECONDS) return;
    this.#silenceToldAt.set(index, now);
    this.#log?.warn('an etcd endpoint does not answer; asking the next', {
      url: this.#endpoints[index]!.url,
    });
  }

  /** All endpoints are of one cluster, and stay so. Said when not; less and less often, for two clusters behind one name answer by turns. */
  #noteCluster(index: number, id: string): void {
    const before = this.#clusters.get(index);
    if (before === id) return;
    this.#clusters.set(index, id);
    const { url } = this.#endpoints[index]!;
    const other = [...this.#clusters].find(([at, each]) => at !== index && each !== id);
    if (before === undefined && other === undefined) return;
    const now = monotonicMilliseconds();
    const { until, milliseconds } = this.#clustersRest;
    if (now < until) return;
    this.#clustersRest = {
      until: now + milliseconds,
      milliseconds: Math.min(2 * milliseconds, LONGEST_REST_MILLISECONDS),
    };
    const isAnew = before !== undefined;
    const text = isAnew
      ? 'the etcd behind an endpoint is another cluster than before; was it made anew, or restored from a backup?'
      : 'etcd endpoints are of different clusters, each with leases of its own; correct --etcd-endpoints';
    this.#log?.warn(text, { url, ...(other && !isAnew ? { other: this.#endpoints[other[0]]!.url } : {}) });
  }

  /** In the order of the endpoints, not of the attempts: the same trouble is described by the same words each time. */
  #failure(purpose: string, failures: ReadonlyMap<number, CallError>): RegistryError {
    const ordered = [...failures].sort(([a], [b]) => a - b);
    const text = ordered
      .map(([index, error]) => `${this.#endpoints[index]!.url}: ${error.message}`)
      .join('; ');
    const last = [...failures.values()].at(-1)!;
    const kinds = new Set([...failures.values()].map(({ kind }) => kind));
    const code = kinds.has('unavailable') && last.kind === 'denied' ? 'unavailable' : codeOf(last);
    return new RegistryError(code, `cannot ${purpose} (${text})`, { cause: last });
  }

  /** A name is not told from others here: one server that wants fewer pings then spares them all some. */
  #pingMoreRarely(address: string): void {
    for (const [index, { url }] of this.#endpoints.entries())
      if (url.endsWith(`//${address}`) || !/\d$|\]:\d+$/.test(hostOf(url))) this.#pings[index]!.beRare();
  }

  #demote(index: number): void {
    if (this.#preferred === index) this.#preferred = (index + 1) % this.#endpoints.length;
  }

  #hold(set: ConnectionSet): () => void {
    set.users++;
    return () => {
      set.users--;
      if (set === this.#set || set.users > 0) return;
      closeAll(set);
      this.#sets.delete(set);
    };
  }

  /** Once, when nobody can be in the middle of writing them any more: the next start would fail. */
  #noteBrokenTls({ message }: CallError): void {
    const now = monotonicMilliseconds();
    this.#brokenTls ??= { since: now, isTold: false };
    if (this.#brokenTls.isTold || now - this.#brokenTls.since < TLS_WRITING_MILLISECONDS) return;
    this.#brokenTls.isTold = true;
    this.#log?.warn('the TLS files for etcd cannot be used any more; going on with what was in them before', {
      error: message,
    });
  }

  /** The connections to use now. Renewed certificates give new ones; what is under way on the old ones is left to end. */
  #currentSet(purpose: string): ConnectionSet {
    const old = this.#set;
    if (old && monotonicMilliseconds() - this.#tlsCheckedAt < TLS_CHECK_MILLISECONDS) return old;
    this.#tlsCheckedAt = monotonicMilliseconds();
    const usesTls = this.#endpoints.some(({ tls }) => tls);
    if (old?.tlsStamp === (usesTls ? this.#tlsFiles.stamp : '')) {
      this.#brokenTls = undefined;
      return old;
    }
    try {
      const tls = usesTls ? this.#tlsFiles.read() : undefined;
      const connections = this.#endpoints.map(
        (endpoint, index) =>
          new Connection(endpoint, tls, this.#login, this.#pings[index]!, (id) =>
            this.#noteCluster(index, id),
          ),
      );
      this.#set = { connections, tlsStamp: tls?.stamp ?? '', users: 0 };
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      // Somebody is in the middle of writing new ones: the old ones may still do, and we look again.
      if (old) {
        this.#noteBrokenTls(error);
        return old;
      }
      throw new RegistryError('denied', `cannot ${purpose}: ${error.message}`, { cause: error });
    }
    this.#brokenTls = undefined;
    this.#sets.add(this.#set);
    if (old) this.#hold(old)();
    return this.#set;
  }
}

/** `http://etcd.example:2379` → `etcd.example` */
function hostOf(url: string): string {
  return url.replace(/^\w+:\/\//, '').replace(/:\d+$/, '');
}

function closeAll(set: ConnectionSet): void {
  for (const connection of set.connections) connection.close();
}

function codeOf({ kind }: CallError): RegistryError['code'] {
  switch (kind) {
    case 'token':
      return 'denied';
    case 'no-such-lease':
    case 'lease-exists':
      return 'protocol';
    case 'unavailable':
    case 'denied':
    case 'full':
    case 'compacted':
    case 'protocol':
      return kind;
  }
}

function closedError(purpose: string): RegistryError {
  return new RegistryError('unavailable', `cannot ${purpose}: the etcd client was closed`);
}
