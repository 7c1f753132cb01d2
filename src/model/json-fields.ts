/** The members of a JSON object as Go's decoder reads them into a struct, with messages for a person. */
import { ConfigError } from './errors';

/**
 * Keys match whatever their case; of several spellings the last one wins; keys nobody asks for are ignored; null leaves the
 * default. What has the wrong type or lies out of bounds throws a {@link ConfigError}.
 */
export class JsonFields {
  readonly #fields: ReadonlyMap<string, unknown>;

  /** `context` stands before every message: `error decoding VXLAN backend config: `. */
  constructor(
    object: object,
    private readonly context = '',
  ) {
    this.#fields = new Map(
      Object.entries(object).map(([key, value]) => [key.toLowerCase(), value as unknown]),
    );
  }

  /** The value as it is; null is a value here. */
  raw(key: string): unknown {
    return this.#fields.get(key.toLowerCase());
  }

  string(key: string, fallback: string): string {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== 'string') throw this.#wrong(key, 'text in double quotes', value);
    return value;
  }

  boolean<Fallback extends boolean | undefined>(key: string, fallback: Fallback): boolean | Fallback {
    const value = this.raw(key) ?? fallback;
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') throw this.#wrong(key, 'true or false', value);
    return value;
  }

  /** A whole number in the given bounds, both included; by default any that is not negative. */
  integer(key: string, fallback: number, min = 0, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.raw(key) ?? fallback;
    if (!isInteger(value)) throw this.#wrong(key, 'a whole number', value);
    const bounds = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`;
    if (value < min || value > max) throw this.#wrong(key, bounds, value);
    return value;
  }

  #wrong(key: string, what: string, value: unknown): ConfigError {
    return new ConfigError(`${this.context}${key} must be ${what}, not ${printBriefly(value)}`);
  }
}

export function isJsonObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True if objects and arrays stand in each other more than so many levels deep. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

function isInteger(value: unknown): value is number {
  return Number.isInteger(value);
}

/** A JSON value, cut short, for a message. */
export function printBriefly(value: unknown): string {
  // JSON knows no number above 1.8e308, which is what 1e400 was read as.
  if (typeof value === 'number') return String(value);
  return shorten(JSON.stringify(value) ?? 'nothing');
}

/** A text for a message: its beginning, where it is long. */
export function shorten(text: string, longest = 40): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
