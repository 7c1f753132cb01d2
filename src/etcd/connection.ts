/** A connection to one etcd server. The only user of etcd3 (and of cockatiel, which it wants its policies from). */
import { noop } from 'cockatiel';
import { ClientClosedError, Etcd3, type ICallable, type IDuplexStream, type Services } from 'etcd3';
import type { Endpoint } from './endpoints';
import { CallError, callErrorOf, CLIENT_CLOSED, connectionLost } from './errors';
import type { Pings } from './pings';
import type { TlsMaterial } from './tls-files';

export interface Login {
  readonly username: string;
  readonly password: string;
}

export interface CallLimits {
  readonly deadlineMilliseconds: number;
  readonly signal: AbortSignal;
}

type Service = keyof typeof Services;
type Use<T> = Parameters<ICallable<{ resetAllServices(): void }>['withConnection']>[1] extends (
  pool: infer Pool,
) => unknown
  ? (pool: Pool) => Promise<T> | T
  : never;

/** etcd3 with its pool in reach: its own calls cannot be aborted, and repeat what must not be repeated blindly. */
class Etcd extends Etcd3 {
  withConnection<T>(service: Service, use: Use<T>): Promise<T> {
    return this.pool.withConnection(service, use);
  }
}

const GRPC_OPTIONS = {
  // 15 000 leases fill grpc's default of 4 MiB.
  'grpc.max_receive_message_length': -1,
  'grpc.keepalive_timeout_ms': 5_000,
  // While idle, etcd says "too many pings".
  'grpc.keepalive_permit_without_calls': 0,
  // Leases do not belong into a proxy for web pages, which `http_proxy` names: flannel and etcdctl ask none for http either.
  'grpc.enable_http_proxy': 0,
};

/** Talks to one server. Every method throws {@link CallError}, or the reason of the abort. */
export class Connection {
  #etcd: Etcd;
  #pingMilliseconds: number;
  readonly #streams = new Set<{ cancel(): void }>();
  #token: Promise<string> | undefined;

  /** Does not connect yet. Throws a {@link CallError} when the certificates make no sense. */
  constructor(
    readonly endpoint: Endpoint,
    private readonly tls: TlsMaterial | undefined,
    private readonly login: Login | undefined,
    private readonly pings: Pings,
    /** Told of each answer: which cluster gave it, as a signed number. */
    private readonly onCluster: (id: string) => void = () => undefined,
  ) {
    this.#pingMilliseconds = pings.milliseconds;
    this.#etcd = this.#newEtcd();
  }

  #newEtcd(): Etcd {
    try {
      return new Etcd({
        hosts: this.endpoint.url,
        ...(this.endpoint.tls && this.tls ? { credentials: this.tls as { rootCertificate: Buffer } } : {}),
        faultHandling: { global: noop, host: () => noop },
        grpcOptions: { ...GRPC_OPTIONS, 'grpc.keepalive_time_ms': this.#pingMilliseconds },
      });
    } catch (error) {
      throw new CallError('denied', 'the TLS files do not fit together, or are damaged', error);
    }
  }

  /**
   * One request, one answer. Aborting cancels it; whether it was carried out is then unknown. `read` reads the answer in place of
   * etcd3's codec; what it throws says "parsing error".
   */
  async unary<Response>(
    service: Service,
    method: string,
    request: object,
    limits: CallLimits,
    read?: (bytes: Buffer) => Response,
  ): Promise<Response> {
    const token = await this.#authenticate(limits);
    return this.#unary(service, method, request, limits, token, read);
  }

  /** One request and one answer over a stream of its own. */
  async exchange<Response>(
    service: Service,
    method: string,
    request: object,
    limits: CallLimits,
  ): Promise<Response> {
    const stream = await this.open<object, Response>(service, method, limits, {
      deadline: Date.now() + limits.deadlineMilliseconds,
    });
    const cancel = () => stream.cancel();
    limits.signal.addEventListener('abort', cancel, { once: true });
    try {
      return await new Promise<Response>((resolve, reject) => {
        stream.on('data', (answer) => (this.#isAnswer(answer) ? resolve(answer) : reject(noEtcd())));
        stream.on('error', (error) => reject(callErrorOf(error, limits.deadlineMilliseconds)));
        stream.on('end', () => reject(connectionLost()));
        stream.write(request);
      });
    } catch (error) {
      limits.signal.throwIfAborted();
      throw error;
    } finally {
      limits.signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }

  /** Opens a stream, which the caller must listen to and must `cancel()`. The limits hold for what comes before it. */
  async open<Request, Response>(
    service: Service,
    method: string,
    limits: CallLimits,
    options: { deadline?: number; metadata?: Readonly<Record<string, string>> } = {},
  ): Promise<IDuplexStream<Request, Response>> {
    const token = await this.#authenticate(limits);
    return this.#withConnection(service, limits, ({ resource, client, metadata }) => {
      if (token !== '') metadata.set('token', token);
      for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
      const open = methodsOf<OpenStream<Request, Response>>(client)[method]!;
      const stream = open.call(client, metadata, options.deadline ? { deadline: options.deadline } : {});
      this.#streams.add(stream);
      stream.on('status', () => this.#streams.delete(stream));
      stream.on('error', (error) => {
        const { kind, message } = callErrorOf(error, limits.deadlineMilliseconds);
        // That we cancelled it is no news of the connection. Without it the others would be dropped at their next ping.
        if (kind === 'unavailable' && message !== CLIENT_CLOSED) resource.resetAllServices();
      });
      return stream;
    });
  }

  /** The next call authenticates anew. */
  forgetToken(): void {
    this.#token = undefined;
  }

  /** Ends everything that is under way. */
  close(): void {
    for (const stream of this.#streams) stream.cancel();
    this.#etcd.close();
  }

  #unary<Response>(
    service: Service,
    method: string,
    request: object,
    limits: CallLimits,
    token: string,
    read?: (bytes: Buffer) => Response,
  ): Promise<Response> {
    const { deadlineMilliseconds, signal } = limits;
    return this.#withConnection(
      service,
      limits,
      ({ resource, client, metadata }) =>
        new Promise<Response>((resolve, reject) => {
          if (token !== '') metadata.set('token', token);
          const { path, requestSerialize, responseDeserialize } =
            methodsOf<UnaryMethod<Response>>(client)[method]!;
          const options = { deadline: Date.now() + deadlineMilliseconds };
          const cancel = () => call.cancel();
          const codec = [requestSerialize, read ?? responseDeserialize] as const;
          const done = (error: Error | null, response?: Response) => {
            signal.removeEventListener('abort', cancel);
            if (!error) return this.#isAnswer(response) ? resolve(response!) : reject(noEtcd());
            const callError = callErrorOf(error, deadlineMilliseconds);
            // The next call then connects at once, instead of after a pause that grows to minutes.
            if (callError.kind === 'unavailable' && !signal.aborted) resource.resetAllServices();
            reject(callError);
          };
          const channel = client as unknown as UnaryClient;
          const call = channel.makeUnaryRequest(path, ...codec, request, metadata, options, done);
          signal.addEventListener('abort', cancel, { once: true });
        }),
    );
  }

  /**
   * True for what has a header, as every answer of etcd: what reads it relies on that. Tells which cluster it is from. An answer
   * that was read by hand (range-response.ts) has only the cluster left of it.
   */
  #isAnswer(answer: unknown): boolean {
    const { header, clusterId = header?.cluster_id } = (answer ?? {}) as {
      header?: { cluster_id?: string } | null;
      clusterId?: string;
    };
    if (clusterId !== undefined && clusterId !== '0')
      this.onCluster(BigInt.asIntN(64, BigInt(clusterId)).toString());
    return clusterId !== undefined || (header !== undefined && header !== null);
  }

  async #withConnection<T>(service: Service, limits: CallLimits, use: Use<T>): Promise<T> {
    try {
      limits.signal.throwIfAborted();
      this.#followPings();
      return await this.#etcd.withConnection(service, use);
    } catch (error) {
      limits.signal.throwIfAborted();
      if (error instanceof ClientClosedError) throw new CallError('unavailable', CLIENT_CLOSED, error);
      throw error;
    }
  }

  /** A client pings as often as it was told when it was made. */
  #followPings(): void {
    if (this.#pingMilliseconds === this.pings.milliseconds) return;
    this.#pingMilliseconds = this.pings.milliseconds;
    // What is under way on the old one is about to be cut by the server.
    this.#etcd.close();
    this.#etcd = this.#newEtcd();
  }

  /** A token for the user; empty without a user, or when etcd asks for none. */
  async #authenticate({ deadlineMilliseconds, signal }: CallLimits): Promise<string> {
    signal.throwIfAborted();
    if (!this.login) return '';
    // Shared by all calls that wait for it, so no single one's abort may end it.
    this.#token ??= this.#fetchToken(this.login, deadlineMilliseconds);
    return orAbort(this.#token, signal);
  }

  async #fetchToken({ username, password }: Login, deadlineMilliseconds: number): Promise<string> {
    const limits = { deadlineMilliseconds, signal: new AbortController().signal };
    try {
      const request = { name: username, password };
      return (await this.#unary<{ token: string }>('Auth', 'authenticate', request, limits, '')).token;
    } catch (error) {
      // As etcd's own client does: a user does no harm where nobody asks for one.
      if (error instanceof CallError && /authentication is not enabled/.test(error.message)) return '';
      this.#token = undefined;
      throw error;
    }
  }
}

function noEtcd(): CallError {
  return new CallError('unavailable', 'its answer has no header; is it etcd?');
}

interface UnaryMethod<Response> {
  readonly path: string;
  readonly requestSerialize: (request: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

interface UnaryClient {
  makeUnaryRequest<Response>(
    path: string,
    serialize: (request: object) => Buffer,
    deserialize: (bytes: Buffer) => Response,
    request: object,
    metadata: object,
    options: object,
    callback: (error: Error | null, response?: Response) => void,
  ): { cancel(): void };
}

type OpenStream<Request, Response> = (metadata: object, options: object) => IDuplexStream<Request, Response>;

/** The client's calls by name; grpc makes them from the protocol description, so TypeScript does not know them. */
function methodsOf<Method>(client: object): Readonly<Record<string, Method>> {
  return client as Readonly<Record<string, Method>>;
}

/** The promise, or the abort if that comes first. */
function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
