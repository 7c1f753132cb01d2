/** `/healthz` and `/readyz`, as flannel has them, but true. */
import { createServer, type AddressInfo, type Server } from 'node:net';
import type { IpAddress } from '../model/address';
import type { Clock } from '../ports';
import { Connections } from './connections';
import { hostError } from './failure';
import { converse, Turns, type HttpAnswer, type HttpRequest } from './http-conversation';

/** One thing that can be well or not. */
export interface Check {
  /** One word for a person: `etcd`, `lease`. */
  readonly name: string;
  readonly ok: boolean;
  /** `unknown`: nobody has found out yet. */
  readonly state?: 'ok' | 'failing' | 'unknown';
  /** Since when it has been so: milliseconds of {@link Clock.now}. */
  readonly since: number;
  /** Why it is not well. */
  readonly reason?: string | undefined;
  /** Worth knowing, but no reason to answer 503. */
  readonly advisory?: boolean;
}

export interface HealthOptions {
  readonly address: IpAddress;
  /** 0: any that is free. */
  readonly port: number;
  readonly clock: Pick<Clock, 'now'>;
  /** Are the loops turning? Not well: a restart would help. */
  live(): readonly Check[];
  /** Is everything in place that packets need? */
  ready(): readonly Check[];
}

export interface HealthServer {
  readonly port: number;
  /** Ends every connection. */
  close(): Promise<void>;
}

const LIMITS = { most: 256, patienceMilliseconds: 5_000 };

/**
 * Answers 200 when every check is well, else 503 with the reasons; `?verbose` lists each check. A slow or silent client delays nobody.
 * Does not keep the process alive. Rejects with a HostError when it cannot listen there.
 */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const connections = new Connections(LIMITS);
  const turns = new Turns();
  // What many ask for in one turn of the event loop is found out once.
  const checks = {
    ...options,
    live: oncePerTurn(() => options.live()),
    ready: oncePerTurn(() => options.ready()),
  };
  // By node:http an answer to each of a thousand requests in one packet would be one turn of the event loop.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    converse(
      socket,
      (request) => answerOf(checks, request),
      () => connections.renew(socket),
      turns,
    );
  });
  server.unref();
  const { address, port } = options;
  try {
    await listen(server, address, port);
  } catch (error) {
    const host = address.includes(':') ? `[${address}]` : address;
    throw hostError(`cannot listen for health checks on ${host}:${port}`, error);
  }
  // An error of the listening socket later on (no file descriptors left) costs an answer, not the agent.
  server.on('error', () => undefined);
  return { port: (server.address() as AddressInfo).port, close: () => close(server, connections) };
}

function oncePerTurn<T>(find: () => T): () => T {
  let found: { readonly value: T } | undefined;
  return () => {
    if (!found) setImmediate(() => (found = undefined));
    found ??= { value: find() };
    return found.value;
  };
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server, connections: Connections): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    connections.endAll();
  });
}

function answerOf(options: HealthOptions, { method, target }: HttpRequest): HttpAnswer {
  const [path, query = ''] = target.split('?', 2);
  const isLiveness = path === '/healthz';
  if (!isLiveness && path !== '/readyz') return { status: 404, text: 'there are /healthz and /readyz\n' };
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, text: 'only GET and HEAD\n', headers: { allow: 'GET, HEAD' } };
  let checks: readonly Check[];
  try {
    checks = isLiveness ? options.live() : options.ready();
  } catch (error) {
    return { status: 500, text: `the checks failed: ${(error as Error).message}\n` };
  }
  const bad = checks.filter(({ ok, advisory }) => !ok && !advisory);
  const word = isLiveness ? 'running' : 'ready';
  const verdict =
    bad.length === 0
      ? `vtepd is ${word}`
      : `vtepd is not ${word}: ${bad.map(({ name, reason }) => (reason ? `${name}: ${reason}` : name)).join('; ')}`;
  const isVerbose = new URLSearchParams(query).has('verbose');
  const list = isVerbose ? checks.map((check) => printCheck(check, options.clock.now())) : [];
  return { status: bad.length === 0 ? 200 : 503, text: [...list, verdict, ''].join('\n') };
}

/** `[+] etcd: well for 12 s`, as Kubernetes prints checks; `[!]` for what is not well but does no harm yet. */
function printCheck({ name, state, ok, since, reason, advisory }: Check, now: number): string {
  if (state === 'unknown') return `[?] ${name}: not known yet${reason ? `: ${reason}` : ''}`;
  const seconds = Math.max(0, Math.round((now - since) / 1000));
  if (ok) return `[+] ${name}: well for ${seconds} s`;
  return `[${advisory ? '!' : '-'}] ${name}: not well for ${seconds} s${reason ? `: ${reason}` : ''}`;
}
