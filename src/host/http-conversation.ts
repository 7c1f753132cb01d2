/** HTTP/1, as far as health checks need it: one request at a time, and without a body. Each client costs a bounded amount of memory. */
import type { Socket } from 'node:net';

export interface HttpRequest {
  readonly method: string;
  /** `/readyz?verbose` */
  readonly target: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Head extends HttpRequest {
  /** The connection stays open for another request. */
  readonly keepsOpen: boolean;
}

const LONGEST_HEAD = 8192;
const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/**
 * Answers the requests of a client in their order, until it or one of them ends the connection. Nothing is read while an answer is not
 * read. What a client asks before it has its answer waits for its turn among those of all. The socket's server must allow half-open
 * connections. `onAnswer`: before each answer.
 */
export function converse(
  socket: Socket,
  answerOf: (request: HttpRequest) => HttpAnswer,
  onAnswer: () => void,
  turns: Turns,
): void {
  let heard = '';
  let isBusy = false;
  let hasClientEnded = false;
  let isLast = false;
  const next = () => {
    isBusy = false;
    if (isLast || socket.destroyed) return;
    heard = heard.replace(/^[\r\n]+/, '');
    const end = endOfHead(heard);
    if (end === undefined && heard.length <= LONGEST_HEAD) {
      if (hasClientEnded) socket.end();
      else socket.resume();
      return;
    }
    const head = end === undefined || end > LONGEST_HEAD ? 431 : (parseHead(heard.slice(0, end)) ?? 400);
    const answer = typeof head === 'number' ? { status: head, text: `${REASONS[head]}\n` } : answerOf(head);
    isLast = typeof head === 'number' || !head.keepsOpen;
    heard = isLast ? '' : heard.slice(end);
    isBusy = true;
    onAnswer();
    const isTaken = socket.write(print(answer, isLast, typeof head !== 'number' && head.method === 'HEAD'));
    if (isLast) {
      socket.end();
      // Closed with something unread, it would be reset, and the answer be lost on its way.
      socket.resume();
    } else {
      socket.pause();
      if (isTaken) turns.later(next);
      else socket.once('drain', () => turns.later(next));
    }
  };
  socket.setEncoding('latin1');
  socket.on('data', (part: string) => {
    if (isLast) return;
    heard += part;
    if (!isBusy) next();
  });
  socket.on('end', () => {
    hasClientEnded = true;
    if (!isBusy) next();
  });
}

/** So many in one turn of the event loop: Node accepts one connection in each, and packets wait for it, too. */
const AT_ONCE = 8;

/** Work of many clients, of which none is to keep the event loop for long, nor the others from it. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isPlanned = false;

  /** In a later turn of the event loop, after what was there before. */
  later(work: () => void): void {
    this.#waiting.push(work);
    this.#plan();
  }

  readonly #run = () => {
    this.#isPlanned = false;
    for (const work of this.#waiting.splice(0, AT_ONCE)) work();
    if (this.#waiting.length > 0) this.#plan();
  };

  #plan(): void {
    if (!this.#isPlanned) setImmediate(this.#run);
    this.#isPlanned = true;
  }
}

/** Behind the empty line. */
function endOfHead(text: string): number | undefined {
  const ends = ['\r\n\r\n', '\n\n'].map((line) => ({ at: text.indexOf(line), length: line.length }));
  const found = ends.filter(({ at }) => at >= 0).map(({ at, length }) => at + length);
  return found.length > 0 ? Math.min(...found) : undefined;
}

function parseHead(text: string): Head | undefined {
  const [first = '', ...lines] = text.trimEnd().split(/\r?\n/);
  const [, method, target, minor] =
    /^([A-Z]+) (?:http:\/\/[^/ ]+)?(\/\S*) HTTP\/1\.([01])$/.exec(first) ?? [];
  const headers = lines.map((line) => /^([^\s:]+):(.*)$/.exec(line));
  if (method === undefined || target === undefined || headers.includes(null)) return undefined;
  const valueOf = (name: string) =>
    headers.find((header) => header?.[1]?.toLowerCase() === name)?.[2]?.trim();
  const connection = valueOf('connection')?.toLowerCase() ?? '';
  const hasBody = (valueOf('content-length') ?? '0') !== '0' || valueOf('transfer-encoding') !== undefined;
  const isKept = minor === '1' ? !connection.includes('close') : connection.includes('keep-alive');
  return { method, target, keepsOpen: isKept && !hasBody };
}

function print({ status, text, headers }: HttpAnswer, isLast: boolean, isHead: boolean): string {
  const all = {
    ...{
      date: new Date().toUTCString(),
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
    },
    ...headers,
    'content-length': String(Buffer.byteLength(text)),
    connection: isLast ? 'close' : 'keep-alive',
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${REASONS[status] ?? ''}\r\n${lines.join('')}\r\n${isHead ? '' : text}`;
}
