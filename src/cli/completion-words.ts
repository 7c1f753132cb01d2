/** What a shell may complete, from the tables of options and commands. */
import { COMMANDS, COMMAND_NAMES, type CommandName } from './help';
import { OPTIONS, OPTION_KEYS, dashed, isBoolean, type OptionKey, type OptionSpec } from './options';

/** What may stand behind the flag. `boolean` only behind `=`, the others also as the next word. */
export type CompletedValue =
  | { readonly kind: 'boolean' | 'file' | 'interface' | 'text' }
  | { readonly kind: 'words'; readonly words: readonly string[] };

export interface CompletedOption {
  /** `--iface`, `-v` */
  readonly flag: string;
  readonly placeholder: string;
  /** One sentence, without quotes of any kind. */
  readonly summary: string;
  readonly isRepeatable: boolean;
  readonly value: CompletedValue;
}

export interface CompletedWord {
  readonly word: string;
  readonly summary: string;
}

export const BOOLEAN_WORDS = ['true', 'false'];

export const COMPLETED_OPTIONS: readonly CompletedOption[] = OPTION_KEYS.map((key) => {
  const { name, placeholder, help, repeatable } = OPTIONS[key] as OptionSpec<unknown>;
  return {
    flag: dashed(name),
    placeholder: placeholder ?? 'BOOLEAN',
    summary: plain(firstSentence(help)),
    isRepeatable: repeatable === true,
    value: valueOf(key),
  };
});

/** `run` is what happens without a command, and needs no completion. */
export const COMPLETED_COMMANDS: readonly CompletedWord[] = COMMAND_NAMES.filter(
  (name) => name !== 'run',
).map((name) => ({ word: name, summary: plain(summaryOf(name)) }));

export const CONFIG_ACTIONS: readonly CompletedWord[] = COMMANDS.config.usage.map((line, index) => ({
  word: line.split(' ')[2]!,
  summary: plain(COMMANDS.config.summary[index]!),
}));

/** Flags of `vtepd docker-opts`, which has none of the options. */
export const DOCKER_OPTS_FLAGS = ['-f', '-d', '-i', '-c', '-k', '-m', '--require', '--wait', '--help'];

/** Flags that only this command has, or this action of `vtepd config`. `vtepd status` needs none of the options besides. */
export const OWN_FLAGS: Readonly<Record<'status' | 'cleanup' | 'get' | 'set', readonly CompletedWord[]>> = {
  status: [
    { word: '--json', summary: 'One object, for programs' },
    { word: '--peers', summary: 'Every peer, too' },
  ],
  cleanup: [{ word: '--for-flannel', summary: 'Leave the device to flannel' }],
  get: [{ word: '--raw', summary: 'The text as it is stored' }],
  set: [{ word: '--dry-run', summary: 'Say what it would do, and store nothing' }],
};

function valueOf(key: OptionKey): CompletedValue {
  const { placeholder, words } = OPTIONS[key] as OptionSpec<unknown>;
  if (isBoolean(key)) return { kind: 'boolean' };
  if (words) return { kind: 'words', words };
  if (placeholder === 'FILE') return { kind: 'file' };
  return { kind: key === 'iface' ? 'interface' : 'text' };
}

function summaryOf(name: CommandName): string {
  return name === 'config' ? 'handles the network configuration' : COMMANDS[name].summary[0];
}

function firstSentence(text: string): string {
  return /^.*?[.;:](?= |$)/.exec(text)?.[0].replace(/[.;:]$/, '') ?? text;
}

function plain(text: string): string {
  return text.replaceAll('`', '').replaceAll("'", '’').replaceAll('"', '');
}
