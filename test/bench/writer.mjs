/**
 * Runs beside etcd and writes leases. Each line of standard input is a JSON list of [key, value]: all of them are put at
 * once, each by a call of its own, and the answer is one line: CLOCK_MONOTONIC nanoseconds before the first put and after the
 * last was acknowledged. It speaks HTTP/2 by hand, from bytes made beforehand: a thousand hosts that join do not share a
 * processor with us, and a client library, half a second to make a thousand calls while it is cold, would be most of what is
 * measured.
 */
import { Buffer } from 'node:buffer';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { URL } from 'node:url';

const CONNECTIONS = 10;
/** Of RFC 9113, and the flags END_STREAM (ACK, for settings and pings) and END_HEADERS. */
const [DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE] = [0, 1, 4, 6, 8];
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];
const REFUSALS = { 3: 'RST_STREAM', 7: 'GOAWAY' };
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** In RFC 7541's static table: POST; http; and the names authority, path, content-type. */
const [POST, HTTP, AUTHORITY, PATH, CONTENT_TYPE] = [[0x83], [0x86], [1], [4], [0x0f, 0x10]];

const url = new URL(process.argv[2].split(',')[0]);

function frame(type, flags, stream, payload) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function number32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const text = (value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
const REQUEST_HEADERS = Buffer.concat([
  ...[POST, HTTP, PATH].map(Buffer.from),
  text('/etcdserverpb.KV/Put'),
  Buffer.from(AUTHORITY),
  text(url.host),
  Buffer.from(CONTENT_TYPE),
  text('application/grpc'),
  ...[Buffer.from([0]), text('te'), text('trailers')],
]);

/** A PutRequest: fields 1 and 2, each shorter than 16 KiB. */
function putRequest(key, value) {
  const fields = [key, value].flatMap((field, index) => {
    const bytes = Buffer.from(field);
    const length = bytes.length > 127 ? [(bytes.length & 127) | 128, bytes.length >> 7] : [bytes.length];
    return [Buffer.from([((index + 1) << 3) | 2, ...length]), bytes];
  });
  const message = Buffer.concat(fields);
  return Buffer.concat([Buffer.from([0]), number32(message.length), message]);
}

class Connection {
  #nextStream = 1;
  #rest = Buffer.alloc(0);
  #answered = new Set();
  #left = 0;
  #done;

  constructor() {
    this.socket = connect(Number(url.port), url.hostname);
    this.socket.setNoDelay(true);
    this.socket.on('data', (bytes) => this.#read(bytes));
    this.socket.on('error', fail);
    // Settings as they are, and room for all answers.
    this.socket.write(
      Buffer.concat([
        Buffer.from(PREFACE),
        frame(SETTINGS, 0, 0, Buffer.alloc(0)),
        frame(WINDOW_UPDATE, 0, 0, number32(0x3fffffff)),
      ]),
    );
  }

  /** The bytes that put these; few enough for the window that every server opens at first. */
  bytesFor(puts) {
    const bytes = [];
    for (const [key, value] of puts) {
      const stream = this.#nextStream;
      this.#nextStream += 2;
      bytes.push(frame(HEADERS, END_HEADERS, stream, REQUEST_HEADERS));
      bytes.push(frame(DATA, END_STREAM, stream, putRequest(key, value)));
    }
    return Buffer.concat(bytes);
  }

  /** Resolves when so many puts are acknowledged. */
  send(bytes, count) {
    if (count === 0) return Promise.resolve();
    this.#left = count;
    this.socket.write(bytes);
    return new Promise((resolve) => (this.#done = resolve));
  }

  #read(bytes) {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    let at = 0;
    while (at + 9 <= all.length) {
      const end = at + 9 + all.readUIntBE(at, 3);
      if (end > all.length) break;
      this.#hear(all[at + 3], all[at + 4], all.readUInt32BE(at + 5), all.subarray(at + 9, end));
      at = end;
    }
    this.#rest = all.subarray(at);
  }

  #hear(type, flags, stream, payload) {
    if (type in REFUSALS) fail(new Error(`etcd says ${REFUSALS[type]}`));
    if (type === SETTINGS && !(flags & ACK)) this.socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
    if (type === PING && !(flags & ACK)) this.socket.write(frame(PING, ACK, 0, payload));
    if (type === DATA) this.#answered.add(stream);
    if (type !== HEADERS || !(flags & END_STREAM)) return;
    // An error is told without an answer before it.
    if (!this.#answered.delete(stream)) fail(new Error('etcd refused a put'));
    if (--this.#left === 0) this.#done();
  }
}

function fail(error) {
  process.stderr.write(`writer: ${error}\n`);
  process.exit(1);
}

const connections = Array.from({ length: CONNECTIONS }, () => new Connection());

/** Returns when it began. */
async function putAll(puts) {
  const share = Math.ceil(puts.length / CONNECTIONS);
  const parts = connections.map((connection, n) => {
    const part = puts.slice(n * share, (n + 1) * share);
    return { connection, bytes: connection.bytesFor(part), count: part.length };
  });
  const before = Number(process.hrtime.bigint());
  await Promise.all(parts.map(({ connection, bytes, count }) => connection.send(bytes, count)));
  return before;
}

for (let round = 0; round < 5; round++) {
  await putAll(Array.from({ length: 500 }, (_, n) => [`/warm-up/${n}`, `${round}`]));
}
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const before = await putAll(JSON.parse(line));
  process.stdout.write(JSON.stringify({ before, after: Number(process.hrtime.bigint()) }) + '\n');
}
process.exit(0);
