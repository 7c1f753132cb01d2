/** JSON that people write by hand: where exactly it is wrong, which `JSON.parse` does not say in every version of Node. */
import { ConfigError } from './errors';
import { isDeeperThan } from './json-fields';

/** No configuration is nested so deep, or so long: etcd takes values of 1.5 MB from everybody who may write. */
const DEEPEST = 200;
const LONGEST = 65_536;

/** What the text says. Throws a {@link ConfigError} that names line, column, what stands there and what should. */
export function parseJson(text: string): unknown {
  if (text.length > LONGEST) {
    throw new ConfigError(`it has ${text.length} characters, and a configuration at most ${LONGEST}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`not valid JSON: ${whatIsWrong(text) ?? (error as Error).message}`);
  }
  if (isDeeperThan(value, DEEPEST)) throw new ConfigError(`it is nested more than ${DEEPEST} deep`);
  return value;
}

/** `line 2, column 14: expected ',' or '}', found '"'`; undefined when this text is JSON. */
export function whatIsWrong(text: string): string | undefined {
  const scanner = new Scanner(text);
  try {
    scanner.document();
    return undefined;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    const before = text.slice(0, error.offset).split('\n');
    return `line ${before.length}, column ${before.at(-1)!.length + 1}: ${error.message}`;
  }
}

/** What stands in a JSON text and cannot be told from its value, each as it is written. */
export interface JsonOddities {
  /** Keys that stand more than once in one object, in whatever case: the last counts. */
  readonly repeatedKeys: readonly string[];
  /** `1e3`, `24.0`: numbers with a point or an exponent, which Go does not read as whole ones. */
  readonly unusualNumbers: readonly string[];
}

/** Of a text that {@link parseJson} takes. */
export function jsonOddities(text: string): JsonOddities {
  const scanner = new Scanner(text);
  scanner.document();
  return scanner;
}

class Wrong extends Error {
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

/** Walks over a JSON text without building anything. Grammar: RFC 8259. */
class Scanner implements JsonOddities {
  readonly repeatedKeys: string[] = [];
  readonly unusualNumbers: string[] = [];
  #at = 0;

  constructor(private readonly text: string) {}

  document(): void {
    this.#value(0);
    if (this.#at < this.text.length) throw this.#expected('nothing more');
  }

  #value(depth: number): void {
    this.#space();
    const start = this.#at;
    const next = this.text[start];
    if (depth > DEEPEST) throw new Wrong('nested too deeply', this.#at);
    if (next === '{') this.#members('}', depth);
    else if (next === '[') this.#members(']', depth);
    else if (next === '"') this.#string();
    else if (!this.#skip(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])|(?:true|false|null)(?!\w)/y))
      throw this.#expected('a value');
    else if (/^-?\d+[.eE]/.test(this.text.slice(start, this.#at)))
      this.unusualNumbers.push(this.text.slice(start, this.#at));
    this.#space();
  }

  /** The members of an object, or the elements of an array. */
  #members(end: '}' | ']', depth: number): void {
    this.#at++;
    this.#space();
    if (this.#take(end)) return;
    const keys = new Set<string>();
    do {
      this.#space();
      if (end === '}') {
        if (this.text[this.#at] !== '"') throw this.#expected('a key in double quotes');
        const start = this.#at;
        this.#string();
        const key = JSON.parse(this.text.slice(start, this.#at)) as string;
        if (keys.has(key.toLowerCase())) this.repeatedKeys.push(key);
        keys.add(key.toLowerCase());
        this.#space();
        if (!this.#take(':')) throw this.#expected("':'");
      }
      this.#value(depth + 1);
    } while (this.#take(','));
    if (!this.#take(end)) throw this.#expected(`',' or '${end}'`);
  }

  #string(): void {
    const start = this.#at++;
    for (;;) {
      // eslint-disable-next-line no-control-regex -- control characters are what JSON strings must not hold
      this.#skip(/[^"\\\u0000-\u001f]+/y);
      if (this.#take('"')) return;
      const next = this.text[this.#at];
      if (next === undefined || next === '\n' || next === '\r')
        throw new Wrong('the text that begins here has no closing double quote', start);
      if (!this.#skip(/\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y)) {
        throw this.#expected(next === '\\' ? 'an escape like \\n or \\u0020' : 'no control character');
      }
    }
  }

  #space(): void {
    this.#skip(/[ \t\n\r]+/y);
  }

  #take(character: string): boolean {
    if (this.text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text);
    this.#at += match?.[0].length ?? 0;
    return match !== null;
  }

  #expected(what: string): Wrong {
    const next = this.text.codePointAt(this.#at);
    const found = next === undefined ? 'the end' : printCharacter(next);
    return new Wrong(`expected ${what}, found ${found}${this.#hint()}`, this.#at);
  }

  /** What people who write JSON by hand get wrong most. */
  #hint(): string {
    const next = this.text[this.#at];
    if ((next === '}' || next === ']') && /,\s*$/.test(this.text.slice(0, this.#at)))
      return ' (JSON allows no comma before it)';
    if (next === "'") return ' (JSON knows only double quotes)';
    if (next === '/' || next === '#') return ' (JSON allows no comments)';
    if (next === '\ufeff') return ' (a byte order mark)';
    return '';
  }
}

function printCharacter(codePoint: number): string {
  const isVisible = codePoint > 0x20 && codePoint !== 0x7f && codePoint !== 0xfeff;
  return isVisible
    ? `'${String.fromCodePoint(codePoint)}'`
    : `U+${codePoint.toString(16).padStart(4, '0').toUpperCase()}`;
}
