export type LogFields = Readonly<Record<string, unknown>>;

/** Constant text, and fields that are called the same in every line. */
export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** False: spare the work of making the fields of a debug line. */
  readonly debugEnabled: boolean;
}
