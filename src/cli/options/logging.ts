/** Options about the log. */
import type { Topic, ValuesOf } from './option';
import { oneOf, readInteger, readText } from './values';

export const logging = {
  title: 'Log',
  options: {
    verbosity: {
      name: 'v',
      placeholder: 'N',
      fallback: '0',
      read: readInteger(0, Number.MAX_SAFE_INTEGER),
      since: '0.1.0',
      help: '0: what changes. 1 and more: every step of it.',
    },
    logFormat: {
      name: 'log-format',
      placeholder: 'FORM',
      fallback: 'text',
      ...oneOf('text', 'json'),
      help: '`text` (under systemd with priorities for its journal) or `json`, one object a line.',
    },
    vmodule: {
      name: 'vmodule',
      placeholder: 'TEXT',
      read: readText,
      since: '0.1.0',
      help: 'Taken and ignored: verbosity by source file makes no sense here.',
      notEffective: '--vmodule is ignored: use -v',
    },
    logBacktraceAt: {
      name: 'log_backtrace_at',
      placeholder: 'TEXT',
      read: readText,
      since: '0.1.0',
      help: 'Taken and ignored.',
      notEffective: '--log_backtrace_at is ignored',
    },
  },
} satisfies Topic;

/** What is logged, and how it is written. */
export function logSettings({ logFormat, verbosity }: ValuesOf<typeof logging.options>) {
  return { format: logFormat, verbosity };
}
