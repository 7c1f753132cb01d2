/** What the runtime asks for: the CNI_* variables, checked before anything is done with them. */
import { CNI_CODES, CniError } from './cni-error';

const REQUIRED = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  // The network namespace may be gone already.
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH'],
  GC: ['CNI_PATH'],
  STATUS: ['CNI_PATH'],
  VERSION: [],
} as const;

export type CniCommand = keyof typeof REQUIRED;

export interface Request {
  readonly command: CniCommand;
  /** A valid container ID, which can name a file in any directory; empty for GC, STATUS and VERSION. */
  readonly containerId: string;
  /** Where delegates are looked for, in this order. */
  readonly path: readonly string[];
  /** What a delegate gets too. */
  readonly environment: NodeJS.ProcessEnv;
}

/** The request that these variables make. Throws code 4 for a command that does not exist, and for a variable missing or wrong. */
export function readRequest(environment: NodeJS.ProcessEnv): Request {
  const command = environment['CNI_COMMAND'] ?? '';
  if (!Object.hasOwn(REQUIRED, command)) throw wrong(`unknown CNI_COMMAND: ${command}`);
  const required: readonly string[] = REQUIRED[command as CniCommand];
  const missing = required.filter((name) => !environment[name]);
  if (missing.length > 0) throw wrong(`required env variables [${missing.join(',')}] missing`);
  const containerId = environment['CNI_CONTAINERID'] ?? '';
  const isPerContainer = required.includes('CNI_CONTAINERID');
  if (isPerContainer && !isIdentifier(containerId))
    throw wrong('invalid characters in containerID', containerId);
  if (isPerContainer && !isInterfaceName(environment['CNI_IFNAME']!))
    throw wrong('invalid interface name', environment['CNI_IFNAME']);
  return {
    command: command as CniCommand,
    containerId: isPerContainer ? containerId : '',
    path: (environment['CNI_PATH'] ?? '').split(':').filter((directory) => directory !== ''),
    environment,
  };
}

/** True for what the specification takes as container ID and network name: no slash, and no dot in front. */
export function isIdentifier(text: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text) && text.length <= LONGEST_IDENTIFIER;
}

/** It becomes part of a file's name, of which Linux takes 255 bytes. */
const LONGEST_IDENTIFIER = 120;

function isInterfaceName(text: string): boolean {
  return /^[^\s/:]{1,15}$/.test(text) && text !== '.' && text !== '..';
}

function wrong(message: string, details?: string): CniError {
  return new CniError(CNI_CODES.invalidEnvironment, message, details);
}
