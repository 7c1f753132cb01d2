/** What goes wrong with a call to one etcd server, in our words. */
import type { RegistryFailure } from '../model/errors';
import { escapeControls } from '../model/printable';

/**
 * As {@link RegistryFailure}, and what only the adapter needs to know: `token`: the authentication has run out, get a new
 * one; `no-such-lease`, `lease-exists`: of etcd leases.
 */
export type CallFailure = RegistryFailure | 'token' | 'no-such-lease' | 'lease-exists';

/**
 * One call to one server failed. The message says why in few words, and in the same words each time, so that whoever logs it
 * can tell a new trouble from an old one; `status` is what grpc said, with its times and ports.
 */
export class CallError extends Error {
  constructor(
    readonly kind: CallFailure,
    message: string,
    readonly status?: unknown,
  ) {
    super(message);
  }

  /** The connection broke, or the server is about to end: the same server may well answer if asked once more. */
  get isBreak(): boolean {
    return this.message === CONNECTION_LOST || this.message === SERVER_STOPPING;
  }
}

export const CLIENT_CLOSED = 'the etcd client was closed';
const CONNECTION_LOST = 'connection lost';
const SERVER_STOPPING = 'the server is stopping';

/** The stream or connection ended without a word. */
export function connectionLost(): CallError {
  return new CallError('unavailable', CONNECTION_LOST);
}

/** gRPC status codes. */
const CANCELLED = 1;
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;

/** What etcd says, in its own words (rpctypes/error.go); it is the same text whether it comes as a status or in a watch. */
const SERVER_TEXTS: readonly [RegExp, CallFailure, string?][] = [
  [/user name is empty/, 'token', 'it wants a user and password'],
  [/invalid auth token|revision of auth store is old/, 'token'],
  [/permission denied|authentication failed|not permitted|root user does not have|too old/, 'denied'],
  [
    /database space exceeded/,
    'full',
    "its database is full, and it takes no writes: compact and defragment it, then disarm its alarm ('etcdctl alarm disarm')",
  ],
  [
    /corrupt cluster/,
    'unavailable',
    "it has found its data corrupt (alarm CORRUPT), and does nothing until a member has been replaced or restored: see 'etcdctl alarm list'",
  ],
  [
    /not supported for learner/,
    'unavailable',
    'it is a learner, which does no such thing: name voting members',
  ],
  [
    /: no leader$/,
    'unavailable',
    'its cluster has no leader: most of its members are away, or cut off from it',
  ],
  [/requested lease not found/, 'no-such-lease'],
  [/lease already exists/, 'lease-exists'],
  [/server stopped/, 'unavailable', SERVER_STOPPING],
  [/revision has been compacted|is a future revision/, 'compacted'],
];

/** Errors of the system and of TLS, inside what grpc-js tells of them. */
const CONNECTION_TEXTS: readonly [RegExp, CallFailure, string][] = [
  [/Cancelled on client/, 'unavailable', CLIENT_CLOSED],
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
  [/alert certificate expired/i, 'denied', 'it says that our certificate has expired'],
  [/alert certificate revoked/i, 'denied', 'it says that our certificate has been revoked'],
  [
    /bad certificate|certificate required|unknown ca|certificate unknown|alert certificate/i,
    'denied',
    'it does not accept our certificate (or wants one)',
  ],
  [/no application protocol/i, 'denied', 'it does not speak HTTP/2 over TLS (ALPN); is it etcd?'],
  [
    /unsupported protocol|protocol version|no protocols available/i,
    'denied',
    'it speaks no version of TLS that we do (1.2 and later)',
  ],
  [
    /no shared cipher|handshake failure/i,
    'denied',
    'it and we have no way to encrypt in common, or it wants another certificate',
  ],
  [/wrong version number|packet length too long/i, 'denied', 'it does not speak TLS'],
  [/before secure TLS connection/, 'unavailable', 'it ended the TLS handshake; does it speak TLS?'],
  [/^Failed to connect$|: Failed to connect/, 'unavailable', 'it hung up at once; does it want https?'],
  [/Bandwidth exhausted/, 'unavailable', 'it wants to be asked less often (HTTP/2: enhance your calm)'],
  [/Protocol error/, 'unavailable', 'it does not speak HTTP/2; is it etcd?'],
  [
    /ECONNRESET|EPIPE|socket hang up|socket disconnected|Connection dropped|connection closed|GOAWAY|RST_STREAM|Received RST|closed before call|read E/i,
    'unavailable',
    CONNECTION_LOST,
  ],
];

/** A server says what it likes, and patterns are looked for in all of it. */
const LONGEST_TEXT = 500;

function bounded(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}

/** Translates what grpc-js threw (an Error with `code` and `details`). */
export function callErrorOf(error: unknown, deadlineMilliseconds: number): CallError {
  if (error instanceof CallError) return error;
  const { code, details, message } = error as Partial<Status>;
  const text = bounded(details ?? message ?? String(error));
  if (/^(etcdserver|mvcc|lease|auth|rpc): /.test(text)) return serverErrorOf(text, error);
  switch (code) {
    case DEADLINE_EXCEEDED:
      return noAnswerWithin(deadlineMilliseconds, error);
    case UNAVAILABLE:
    case CANCELLED:
    case UNKNOWN:
    case INTERNAL:
    case RESOURCE_EXHAUSTED:
    case undefined:
      return connectionErrorOf(text, error);
    default:
      return serverErrorOf(text, error);
  }
}

export function noAnswerWithin(milliseconds: number, status?: unknown): CallError {
  return new CallError('unavailable', `no answer within ${milliseconds / 1000} s`, status);
}

/** Translates what etcd itself says. */
export function serverErrorOf(text: string, status?: unknown): CallError {
  const plain = escapeControls(bounded(text))
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/^etcdserver: /, '');
  const known = SERVER_TEXTS.find(([pattern]) => pattern.test(text));
  if (known) return new CallError(known[1], known[2] ?? plain, status);
  const { code = UNKNOWN } = (status ?? {}) as Partial<Status>;
  const mayPass = [UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE].includes(code);
  return new CallError(mayPass ? 'unavailable' : 'protocol', plain, status);
}

/** `error:0A000102:SSL routines::unsupported protocol:../deps/openssl/…`: OpenSSL's own words, without where they stand. */
const OPENSSL_TEXT = /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+)(?::\S*)?/i;

function connectionErrorOf(text: string, status: unknown): CallError {
  const known = CONNECTION_TEXTS.find(([pattern]) => pattern.test(text));
  if (known) return new CallError(known[1], known[2], status);
  const plain = escapeControls(text)
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[^)]*\)/g, '')
    .replace(/\.?\s*Resolution note:.*$/, '')
    .replace(OPENSSL_TEXT, (_, words: string) => `TLS: ${words.trim()}`);
  const { code } = status as Partial<Status>;
  const isGibberish = code === INTERNAL && /pars|deserializ|decompress/i.test(text);
  // Node gives no error for a connection that ended before it was there.
  const reason = /^(null|undefined)?$/.test(plain.trim()) ? 'it hung up while we connected' : plain;
  return new CallError(isGibberish ? 'protocol' : 'unavailable', reason, status);
}

interface Status {
  readonly code: number;
  readonly details: string;
  readonly message: string;
}
