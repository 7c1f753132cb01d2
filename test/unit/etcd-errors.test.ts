import { callErrorOf } from '../../src/etcd/errors';

const UNAVAILABLE = 14;
const lastError = (text: string) => ({
  code: UNAVAILABLE,
  details: `No connection established. Last error: ${text}. Resolution note: `,
});

test.each([
  ['null', 'unavailable', 'it hung up while we connected'],
  ['undefined', 'unavailable', 'it hung up while we connected'],
  ['', 'unavailable', 'it hung up while we connected'],
  [
    'Error: 0000:error:0A000460:SSL routines:ssl3_read_bytes:reason(1120):../deps/openssl/openssl/ssl/record/rec_layer_s3.c:1590:SSL alert number 120',
    'unavailable',
    /^(0000:)?TLS: reason\(1120\)/,
  ],
  [
    'write EPROTO 0A000102:error:0A000102:SSL routines:ssl_choose_client_version:unsupported protocol:../deps/openssl/openssl/ssl/statem/statem_lib.c:1987:',
    'denied',
    'it speaks no version of TLS that we do (1.2 and later)',
  ],
  [
    'error:0A0000EB:SSL routines::no application protocol',
    'denied',
    'it does not speak HTTP/2 over TLS (ALPN); is it etcd?',
  ],
  ['connect ECONNREFUSED 127.0.0.1:1', 'unavailable', 'connection refused'],
] as [string, string, string | RegExp][])(
  'that grpc found %j is told in our words',
  (text, kind, message) => {
    const error = callErrorOf(lastError(text), 5_000);
    expect(error.kind).toBe(kind);
    if (typeof message === 'string') expect(error.message).toBe(message);
    else expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/\.c:\d+|deps\/openssl/);
  },
);

test('what a server says is one line, and not long', () => {
  const said = callErrorOf({ code: 13, details: 'boom\n[+] etcd: well\u001b[2J' }, 5_000);
  expect(said.message).toBe('boom\\n[+] etcd: well\\u001b[2J');
  const long = callErrorOf({ code: 9, details: `etcdserver: ${'x'.repeat(100_000)}\n` }, 5_000);
  expect(long.message.length).toBeLessThan(600);
});

test.each([
  [15, 'etcdserver: corrupt cluster', /its data corrupt \(alarm CORRUPT\).*'etcdctl alarm list'/],
  [14, 'etcdserver: rpc not supported for learner', /it is a learner/],
  [14, 'etcdserver: no leader', /its cluster has no leader/],
])('what etcd (code %i) says by %j is told with what to do, and tried again', (code, details, message) => {
  const error = callErrorOf({ code, details }, 5_000);
  expect(error.kind).toBe('unavailable');
  expect(error.message).toMatch(message);
});
