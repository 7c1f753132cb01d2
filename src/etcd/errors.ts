/** What goes wrong with a call to one etcd server, in our words. */
import type { RegistryFailure } from '../model/errors';

/**
 * As {@link RegistryFailure}, and what only the adapter needs to know: `token`: the authentication has run out, get a new
 * one; `no-such-lease`, `lease-exists`: of etcd leases.
 */
export type CallFailure = RegistryFailure | 'token' | 'no-such-lease' | 'lease-exists';

/** One call to one server failed. The message says why in few words, the same words each time. */
export class CallError extends Error {
  constructor(
    readonly kind: CallFailure,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** The connection broke or something like it, so that the same server may well answer if asked once more. */
  get isBreak(): boolean {
    return this.kind === 'unavailable' && /^(connection lost|the server is stopping)$/.test(this.message);
  }
}

/** gRPC status codes. */
const CANCELLED = 1;
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;

/** What etcd says, in its own words (rpctypes/error.go); it is the same text whether it comes as a status or in a watch. */
const SERVER_TEXTS: readonly [RegExp, CallFailure][] = [
  [/invalid auth token|revision of auth store is old|user name is empty/, 'token'],
  [/permission denied|authentication failed|not permitted|root user does not have|too old/, 'denied'],
  [/requested lease not found/, 'no-such-lease'],
  [/lease already exists/, 'lease-exists'],
  [/revision has been compacted|is a future revision/, 'compacted'],
];

/** Errors of the system and of TLS, inside what grpc-js tells of them. */
const CONNECTION_TEXTS: readonly [RegExp, CallFailure, string | undefined][] = [
  [/ECONNREFUSED/, 'unavailable', 'connection refused'],
  [/EHOSTUNREACH|ENETUNREACH/, 'unavailable', 'no route to it'],
  [/ENOTFOUND|EAI_AGAIN|Name resolution failed/, 'unavailable', 'its name cannot be resolved'],
  [
    /self-signed certificate|unable to (verify|get)|issuer/i,
    'denied',
    'its certificate is not signed by a CA we trust',
  ],
  [/altnames?|ERR_TLS_CERT_ALTNAME_INVALID/i, 'denied', 'its certificate is for another name'],
  [/certificate has expired|CERT_HAS_EXPIRED/, 'denied', 'its certificate has expired'],
  [/not yet valid/, 'denied', 'its certificate is not valid yet'],
  [
    /bad certificate|certificate required|unknown ca|certificate unknown|alert certificate/i,
    'denied',
    'it does not accept our certificate (or wants one)',
  ],
  [/wrong version number|packet length too long/i, 'denied', 'it does not speak TLS'],
  [
    /ECONNRESET|EPIPE|socket hang up|socket disconnected|Connection dropped|connection closed|GOAWAY|RST_STREAM|Received RST|closed before call|read E/i,
    'unavailable',
    'connection lost',
  ],
];

/** Translates what grpc-js threw (an Error with `code` and `details`). */
export function callErrorOf(error: unknown, deadlineMilliseconds: number): CallError {
  if (error instanceof CallError) return error;
  const { code, details, message } = error as { code?: number; details?: string; message?: string };
  const text = details ?? message ?? String(error);
  const ofServer = /^(etcdserver|mvcc|lease|auth|rpc): /.test(text);
  if (ofServer) return serverErrorOf(text, error);
  switch (code) {
    case DEADLINE_EXCEEDED:
      return new CallError('unavailable', `no answer within ${deadlineMilliseconds / 1000} s`, {
        cause: error,
      });
    case UNAVAILABLE:
    case CANCELLED:
    case UNKNOWN:
    case INTERNAL:
    case RESOURCE_EXHAUSTED:
    case undefined:
      return connectionErrorOf(text, code, error);
    default:
      return serverErrorOf(text, error);
  }
}

/** Translates what etcd itself says. */
export function serverErrorOf(text: string, cause?: unknown): CallError {
  const plain = text.replace(/^etcdserver: /, '');
  const known = SERVER_TEXTS.find(([pattern]) => pattern.test(text));
  if (known) return new CallError(known[1], plain, { cause });
  if (/server stopped|stopping/.test(text))
    return new CallError('unavailable', 'the server is stopping', { cause });
  const code = (cause as { code?: number } | undefined)?.code;
  const passes =
    code === undefined || [UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE].includes(code);
  return new CallError(passes ? 'unavailable' : 'protocol', plain, { cause });
}

function connectionErrorOf(text: string, code: number | undefined, cause: unknown): CallError {
  const known = CONNECTION_TEXTS.find(([pattern]) => pattern.test(text));
  if (known) return new CallError(known[1], known[2] ?? text, { cause });
  if (code === INTERNAL && /pars|deserializ|decompress/i.test(text))
    return new CallError('protocol', text, { cause });
  return new CallError('unavailable', text, { cause });
}
