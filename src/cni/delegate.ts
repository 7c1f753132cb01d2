/** Running the plugin that does the work. */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { CNI_CODES, CniError } from './cni-error';
import { isObject, isPluginName, type JsonObject } from './network-conf';
import type { Request } from './request';

/** A result is a few kilobytes; a delegate that talks without end is ended. */
const LONGEST_OUTPUT = 16 * 1024 * 1024;

/**
 * Makes the same request of the plugin named by `config.type`, and returns what it printed. No shell is involved; what it says
 * on its standard error goes to ours. Throws the delegate's own error if it has one.
 */
export function runDelegate({ command, path, environment }: Request, config: JsonObject): string {
  const type = typeof config['type'] === 'string' ? config['type'] : '';
  const failed = (code: number, why: string, details?: string) =>
    new CniError(code, `failed to delegate ${command.toLowerCase()}: ${why}`, details);
  const program = findPlugin(type, path);
  if (program === undefined)
    throw failed(CNI_CODES.invalidConfig, `failed to find plugin "${type}" in path [${path.join(' ')}]`);

  const { error, status, signal, stdout } = spawnSync(program, [], {
    input: JSON.stringify(config),
    env: environment,
    stdio: ['pipe', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: LONGEST_OUTPUT,
  });
  // A delegate may end without having read its input, and be right.
  if (error && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw failed(CNI_CODES.io, error.message);
  if (status === 0) return stdout;
  const answer = parsedError(stdout);
  if (answer) throw failed(answer.code, answer.msg, answer.details);
  const end = signal ? `was ended by ${signal}` : `ended with status ${status}`;
  throw failed(CNI_CODES.delegateDied, `${type} ${end} and gave no reason`, stdout.slice(0, 1000));
}

/** The first regular file of that name in these directories. */
function findPlugin(type: string, path: readonly string[]): string | undefined {
  if (!isPluginName(type)) return undefined;
  return path
    .map((directory) => join(directory, type))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
}

function parsedError(text: string): { code: number; msg: string; details: string | undefined } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value)) return undefined;
    const { code, msg, details } = value;
    if (typeof code !== 'number' || typeof msg !== 'string') return undefined;
    return { code, msg, details: typeof details === 'string' ? details : undefined };
  } catch {
    return undefined;
  }
}
