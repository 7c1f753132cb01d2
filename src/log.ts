/** The log, by winston, on standard error. */
import { fstatSync } from 'node:fs';
import type { Writable } from 'node:stream';
import type { Logger } from 'winston';
import { printJournal, printJson, printText, type Level, type Line, type PrintLine } from './log-line';
import type { Log, LogFields } from './ports';

export interface LogOptions {
  readonly format: 'text' | 'json';
  /** 0: up to info; 1 and more: debug too. */
  readonly verbosity: number;
  /** Text for systemd's journal: no time, but priorities. See {@link isJournal}. */
  readonly journald: boolean;
  /** Standard error by default. */
  readonly stream?: Writable;
  /**
   * Loading winston takes 40 to 60 ms, which no first packet should wait for. For so long, lines are written directly, and look
   * the same; 10 s by default, 0 is at once.
   */
  readonly winstonAfterMilliseconds?: number;
}

/** A {@link Log} whose verbosity can be changed while it is used. */
export interface AdjustableLog extends Log {
  readonly verbosity: number;
  /** Not below 0. */
  setVerbosity(verbosity: number): void;
  /** Resolves once winston writes the lines. */
  readonly settled: Promise<void>;
  /** Resolves when all lines are out, or after half a second: what to wait for before the process ends. */
  flush(): Promise<void>;
}

/** The agent's log. A reader of it that goes away (EPIPE) does not end the process. */
export function createLog(options: LogOptions): AdjustableLog {
  return new WinstonLog(options);
}

/** True if standard error goes to systemd's journal. Source: systemd.exec(5), `$JOURNAL_STREAM`. */
export function isJournal(env: NodeJS.ProcessEnv, fileDescriptor = 2): boolean {
  const stream = env['JOURNAL_STREAM'];
  if (!stream) return false;
  try {
    // A child of a service inherits the variable, but its standard error may be another.
    const { dev, ino } = fstatSync(fileDescriptor, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

const tolerated = new WeakSet<Writable>();

/** Without a listener, an error of a stream (EPIPE: its reader is gone) would end the process. */
function tolerateErrors(stream: Writable): void {
  if (!tolerated.has(stream)) stream.on('error', () => undefined);
  tolerated.add(stream);
}

/** A reader that does not read must not cost us all our memory. */
const MOST_WAITING_BYTES = 4 << 20;
const FLUSH_MILLISECONDS = 500;

class WinstonLog implements AdjustableLog {
  readonly settled: Promise<void>;
  readonly #print: PrintLine;
  readonly #stream: Writable;
  /** Lines of this turn of the event loop. They are written at its end: a peer, or a packet, must not wait for its line. */
  #waiting: Line[] = [];
  readonly #writeWaiting = () => this.#write();
  #verbosity: number;
  #logger: Logger | undefined;
  #dropped = 0;

  constructor({ format, verbosity, journald, stream, winstonAfterMilliseconds }: LogOptions) {
    this.#print = format === 'json' ? printJson : journald ? printJournal : printText;
    this.#stream = stream ?? process.stderr;
    this.#verbosity = Math.max(0, verbosity);
    tolerateErrors(this.#stream);
    tolerateErrors(process.stdout);
    this.settled = this.#useWinston(winstonAfterMilliseconds ?? 10_000);
  }

  get verbosity(): number {
    return this.#verbosity;
  }

  get debugEnabled(): boolean {
    return this.#verbosity > 0;
  }

  setVerbosity(verbosity: number): void {
    this.#verbosity = Math.max(0, verbosity);
    if (this.#logger) this.#logger.level = this.#level;
  }

  error(message: string, fields: LogFields = {}): void {
    this.#log('error', message, fields);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#log('warn', message, fields);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#log('info', message, fields);
  }

  debug(message: string, fields: LogFields = {}): void {
    if (this.#verbosity > 0) this.#log('debug', message, fields);
  }

  get #level(): Level {
    return this.#verbosity > 0 ? 'debug' : 'info';
  }

  async flush(): Promise<void> {
    this.#write();
    // What winston has buffered reaches the stream within this turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#stream.writableLength === 0) return;
    await new Promise<void>((resolve) => {
      setTimeout(resolve, FLUSH_MILLISECONDS).unref();
      this.#stream.write('', () => resolve());
    });
  }

  #log(level: Level, message: string, fields: LogFields): void {
    if (this.#waiting.length === 0) {
      setImmediate(this.#writeWaiting);
      process.once('exit', this.#writeWaiting);
    }
    this.#waiting.push({ time: new Date(), level, message, fields });
  }

  #write(): void {
    process.removeListener('exit', this.#writeWaiting);
    const lines = this.#waiting;
    this.#waiting = [];
    for (const line of lines) this.#writeLine(line);
  }

  #writeLine(line: Line): void {
    if (this.#stream.writableLength > MOST_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) {
      const lines = this.#dropped;
      this.#dropped = 0;
      const message = 'nobody read the log for a while; lines were dropped';
      this.#writeLine({ time: new Date(), level: 'warn', message, fields: { lines } });
    }
    const text = this.#print(line);
    if (this.#logger) this.#logger.log(line.level, text);
    else this.#stream.write(`${text}\n`);
  }

  async #useWinston(afterMilliseconds: number): Promise<void> {
    // A command that ends earlier does not wait for this.
    if (afterMilliseconds > 0) {
      await new Promise<void>((resolve) => void setTimeout(resolve, afterMilliseconds).unref());
    }
    const { createLogger, format, transports } = await import('winston');
    this.#logger = createLogger({
      levels: { error: 0, warn: 1, info: 2, debug: 3 },
      level: this.#level,
      format: format.printf(({ message }) => String(message)),
      transports: [new transports.Stream({ stream: this.#stream, eol: '\n' })],
    });
  }
}
