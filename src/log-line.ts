/** How a line of the log looks: text for people, text for systemd's journal, JSON for machines. */
import { describeError } from './model/errors';
import { escapeControls } from './model/printable';
import type { LogFields } from './ports';

export type Level = 'error' | 'warn' | 'info' | 'debug';

export interface Line {
  readonly time: Date;
  readonly level: Level;
  readonly message: string;
  readonly fields: LogFields;
}

export type PrintLine = (line: Line) => string;

/** `2026-11-23 21:50:11.123 INFO  lease acquired  subnet=10.5.1.0/24`, in local time. */
export const printText: PrintLine = (line) =>
  `${printTime(line.time)} ${line.level.toUpperCase().padEnd(5)} ${printMessage(line)}`;

/** The levels of sd-daemon(3), by which the journal filters and colors. */
const PRIORITIES = { error: 3, warn: 4, info: 6, debug: 7 } as const;

/** `<6>lease acquired  subnet=10.5.1.0/24`: the journal knows the time. */
export const printJournal: PrintLine = (line) => `<${PRIORITIES[line.level]}>${printMessage(line)}`;

/** `{"time":"2026-11-23T20:50:11.123Z","level":"info","message":"lease acquired","subnet":"10.5.1.0/24"}` */
export const printJson: PrintLine = ({ time, level, message, fields }) => {
  const json: Record<string, unknown> = { time: time.toISOString(), level, message: redact(message) };
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) json[name in json ? `${name}_` : name] = plain(name, value);
  }
  // JSON leaves as they are what only ASCII has none of; written by their numbers they are the same to who parses it.
  return escapeControls(JSON.stringify(json));
};

function printMessage({ message, fields }: Line): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${printValue(plain(name, value))}`);
  const text = escapeControls(redact(message));
  return pairs.length === 0 ? text : `${text} ${pairs.join('')}`;
}

function printValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  // Quoted where it would not be told from the next field; a line is always one line.
  return /^[^\s"=\p{C}\p{DI}]+$/u.test(text) ? text : escapeControls(JSON.stringify(text));
}

function printTime(time: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return `${date} ${clock}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

const SECRET_NAME = /password|passwd|secret|token|privatekey|credential/i;
const HIDDEN = '(not shown)';

/** A value that JSON can hold, without secrets. */
function plain(name: string, value: unknown): unknown {
  if (SECRET_NAME.test(name)) return HIDDEN;
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Error) return redact(describeError(value));
  try {
    const text = JSON.stringify(value, (key, inner: unknown) => replaceInner(key, inner));
    return text === undefined ? typeof value : (JSON.parse(text) as unknown);
  } catch {
    return '(cannot be shown)';
  }
}

function replaceInner(key: string, value: unknown): unknown {
  if (key !== '' && SECRET_NAME.test(key)) return HIDDEN;
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Error) return redact(describeError(value));
  if (value instanceof Set) return [...(value as Set<unknown>)];
  if (value instanceof Map) return Object.fromEntries(value as Map<string, unknown>);
  return value;
}

/** Without the user and password of a URL, and without a private key: texts of others may hold one. */
export function redact(text: string): string {
  return text
    .replace(/:\/\/[^/\s@]*@/g, `://${HIDDEN}@`)
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, HIDDEN);
}
