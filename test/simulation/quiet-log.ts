/** A log whose lines stand among the steps of a run. */
import type { Log, LogFields } from '../../src/ports';
import type { Scheduler } from './scheduler';

export class QuietLog implements Log {
  readonly debugEnabled = false;

  /** `isHeard` false: a thousand hosts have too much to say. */
  constructor(
    private readonly name: string,
    private readonly scheduler: Scheduler,
    private readonly isHeard: boolean,
    /** Called with every error. */
    private readonly onError: (message: string) => void,
  ) {}

  error(message: string, fields: LogFields = {}): void {
    this.onError(message);
    this.#say('error', message, fields);
  }
  warn(message: string, fields: LogFields = {}): void {
    this.#say('warn', message, fields);
  }
  info(message: string, fields: LogFields = {}): void {
    this.#say('info', message, fields);
  }
  debug(): void {}

  #say(level: string, message: string, fields: LogFields): void {
    if (this.isHeard) this.scheduler.note(`${this.name} ${level}: ${message} ${JSON.stringify(fields)}`);
  }
}
