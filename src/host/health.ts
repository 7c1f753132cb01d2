/** `/healthz` and `/readyz`, as flannel has them, but true. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { IpAddress } from '../model/address';
import type { Clock } from '../ports';
import { hostError } from './failure';

/** One thing that can be well or not. */
export interface Check {
  /** One word for a person: `etcd`, `lease`. */
  readonly name: string;
  readonly ok: boolean;
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

const REQUEST_MILLISECONDS = 5_000;
const MOST_CONNECTIONS = 64;

/**
 * Answers 200 when every check is well, else 503 with the reasons; `?verbose` lists each check. Does not keep the process
 * alive. Rejects with a HostError when it cannot listen there.
 */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  // Loaded only where it is wanted: it costs 20 ms of the start.
  const { createServer } = await import('node:http');
  const server = createServer((request, response) => answer(options, request, response));
  server.maxConnections = MOST_CONNECTIONS;
  server.requestTimeout = server.headersTimeout = REQUEST_MILLISECONDS;
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
  return { port: (server.address() as AddressInfo).port, close: () => close(server) };
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

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function answer(options: HealthOptions, request: IncomingMessage, response: ServerResponse): void {
  const [status, text] = answerOf(options, request);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}

function answerOf(options: HealthOptions, request: IncomingMessage): [status: number, text: string] {
  const [path, query = ''] = (request.url ?? '').split('?', 2);
  const isLiveness = path === '/healthz';
  if (!isLiveness && path !== '/readyz') return [404, 'there are /healthz and /readyz\n'];
  if (request.method !== 'GET' && request.method !== 'HEAD') return [405, 'only GET and HEAD\n'];
  let checks: readonly Check[];
  try {
    checks = isLiveness ? options.live() : options.ready();
  } catch (error) {
    return [500, `the checks failed: ${(error as Error).message}\n`];
  }
  const bad = checks.filter(({ ok, advisory }) => !ok && !advisory);
  const word = isLiveness ? 'running' : 'ready';
  const verdict =
    bad.length === 0
      ? `vtepd is ${word}`
      : `vtepd is not ${word}: ${bad.map(({ name, reason }) => (reason ? `${name}: ${reason}` : name)).join('; ')}`;
  const isVerbose = new URLSearchParams(query).has('verbose');
  const list = isVerbose ? checks.map((check) => printCheck(check, options.clock.now())) : [];
  return [bad.length === 0 ? 200 : 503, [...list, verdict, ''].join('\n')];
}

/** `[+] etcd: well for 12 s`, as Kubernetes prints checks; `[!]` for what is not well but does no harm yet. */
function printCheck({ name, ok, since, reason, advisory }: Check, now: number): string {
  const seconds = Math.max(0, Math.round((now - since) / 1000));
  if (ok) return `[+] ${name}: well for ${seconds} s`;
  return `[${advisory ? '!' : '-'}] ${name}: not well for ${seconds} s${reason ? `: ${reason}` : ''}`;
}
