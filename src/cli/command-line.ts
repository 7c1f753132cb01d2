/** The command line as a whole: which command, with which options. */
import { Command as Commander, CommanderError, Option } from 'commander';
import { version } from '../../package.json';
import { UsageError } from '../model/errors';
import { SHELLS, completionFor, isShell, type Shell } from './completion';
import type { ReadConfigFile } from './config-file';
import { COMMANDS, COMMAND_NAMES, commandHelp, helpPage, type CommandName } from './help';
import { nearest } from './nearest';
import { OPTIONS, OPTION_KEYS, type OptionKey } from './options';
import { readOptions, type Options, type WrittenOptions } from './read-options';
import { respell } from './words';

export type ConfigAction = 'set' | 'get' | 'check';

export interface ConfigCommand {
  readonly kind: 'config';
  readonly action: ConfigAction;
  /** `-` is standard input. Always there for `set`, never for `get`. */
  readonly file: string | undefined;
  /** Show the text as it is stored. */
  readonly raw: boolean;
  /** Say what `set` would do, and store nothing. */
  readonly dryRun: boolean;
  readonly options: Options;
}

export interface StatusCommand {
  readonly kind: 'status';
  readonly asJson: boolean;
  readonly withPeers: boolean;
}

export interface CleanupCommand {
  readonly kind: 'cleanup';
  /** Leave the device and what flannel finds useful on it. */
  readonly forFlannel: boolean;
  readonly options: Options;
}

/** What the user wants. */
export type Command =
  | { readonly kind: 'run'; readonly options: Options }
  | { readonly kind: 'leave'; readonly options: Options }
  | CleanupCommand
  | ConfigCommand
  | StatusCommand
  /** Say this on standard output, and no more. */
  | { readonly kind: 'print'; readonly text: string };

/**
 * What these arguments (without the program's name), this environment and the file of options ask for. Throws a
 * {@link UsageError} that says what is wrong and what is allowed; it never prints and never exits. Without `readFile` there is
 * no file.
 */
export function parseCommandLine(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  readFile: ReadConfigFile = () => undefined,
): Command {
  const { words, asksFor, notices } = respell(argv);
  if (asksFor === 'version') return { kind: 'print', text: `vtepd ${version}\nNode ${process.version}\n` };
  if (asksFor === 'help') return { kind: 'print', text: helpFor(words.find(isCommandName)) };
  const { choice, written } = parseWords(words);
  const options = () => readOptions(written, env, readFile, notices);
  switch (choice.name) {
    case 'help':
      return { kind: 'print', text: helpFor(choice.topic) };
    case 'completion':
      return { kind: 'print', text: completionFor(choice.shell) };
    case 'status':
      return { kind: 'status', ...choice.status };
    case 'config':
      return { kind: 'config', ...choice.config, options: options() };
    case 'run':
    case 'leave':
      return { kind: choice.name, options: options() };
    case 'cleanup':
      return { kind: 'cleanup', forFlannel: choice.forFlannel, options: options() };
  }
}

type Choice =
  | { readonly name: 'run' | 'leave' }
  | { readonly name: 'cleanup'; readonly forFlannel: boolean }
  | { readonly name: 'help'; readonly topic: CommandName | undefined }
  | { readonly name: 'completion'; readonly shell: Shell }
  | { readonly name: 'status'; readonly status: Omit<StatusCommand, 'kind'> }
  | { readonly name: 'config'; readonly config: Pick<ConfigCommand, 'action' | 'file' | 'raw' | 'dryRun'> };

function parseWords(words: readonly string[]): { choice: Choice; written: WrittenOptions } {
  let choice: Choice | undefined;
  const program = commander((chosen) => (choice = chosen));
  try {
    program.parse([...words], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    throw new UsageError(error.message.replace(/^error: /, '').replace(/\n\(Did you mean/, ' (did you mean'));
  }
  const values = program.opts<Record<string, readonly string[] | undefined>>();
  const written = Object.fromEntries(
    OPTION_KEYS.flatMap((key) => {
      const texts = values[attributeOf(key)];
      return texts ? [[key, texts]] : [];
    }),
  );
  return { choice: choice!, written };
}

/** Everything commander must know. Values are only collected here: the environment has a say in them too. */
function commander(choose: (choice: Choice) => void): Commander {
  const program = quiet(new Commander('vtepd'));
  for (const key of OPTION_KEYS) program.addOption(commanderOption(key));
  // The commands inherit being quiet, and share the program's options, before their name and behind it.
  program
    .command('run', { isDefault: true })
    .argument('[words...]')
    .action((words: string[]) => {
      if (words.length > 0) throw new UsageError(strayWord(words[0]!));
      choose({ name: 'run' });
    });
  program.command('leave').action(() => choose({ name: 'leave' }));
  program
    .command('cleanup')
    .option('--for-flannel')
    .action(({ forFlannel = false }: { forFlannel?: boolean }) => choose({ name: 'cleanup', forFlannel }));
  program
    .command('status')
    .option('--json')
    .option('--peers')
    .action(({ json = false, peers = false }: { json?: boolean; peers?: boolean }) =>
      choose({ name: 'status', status: { asJson: json, withPeers: peers } }),
    );
  program
    .command('help')
    .argument('[command]')
    .action((topic?: string) => {
      if (topic !== undefined && !isCommandName(topic)) throw new UsageError(strayWord(topic));
      choose({ name: 'help', topic });
    });
  program
    .command('completion')
    .argument('[shell]')
    .action((shell?: string) => {
      if (shell === undefined || !isShell(shell))
        throw new UsageError(`completion for which shell? there are: ${SHELLS.join(', ')}`);
      choose({ name: 'completion', shell });
    });
  addConfig(program, choose);
  return program;
}

function addConfig(program: Commander, choose: (choice: Choice) => void): void {
  const config = program
    .command('config')
    .argument('[words...]')
    .action((words: string[]) => {
      const wrong = words.length === 0 ? 'config what?' : `'config ${words[0]}' is not known;`;
      throw new UsageError(`${wrong} there are: ${COMMANDS.config.usage.join(', ')}`);
    });
  const chooseConfig = (action: ConfigAction, file?: string, { raw = false, dryRun = false } = {}) =>
    choose({ name: 'config', config: { action, file, raw, dryRun } });
  config
    .command('set')
    .argument('[file]')
    .option('--dry-run')
    .action((file: string | undefined, { dryRun }: { dryRun?: boolean }) => {
      if (file === undefined)
        throw new UsageError("config set needs a FILE with the configuration, or '-' for standard input");
      chooseConfig('set', file, { dryRun: dryRun ?? false });
    });
  config
    .command('get')
    .option('--raw')
    .action(({ raw }: { raw?: boolean }) => chooseConfig('get', undefined, { raw: raw ?? false }));
  config
    .command('check')
    .argument('[file]')
    .action((file?: string) => chooseConfig('check', file));
}

/** No output, no exit, no help of its own. */
function quiet(program: Commander): Commander {
  return program
    .exitOverride()
    .configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
    .helpOption(false)
    .helpCommand(false);
}

function commanderOption(key: OptionKey): Option {
  const { name, placeholder = 'BOOLEAN' } = OPTIONS[key];
  return new Option(`--${name} <${placeholder}>`).argParser(
    (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
  );
}

function attributeOf(key: OptionKey): string {
  return commanderOption(key).attributeName();
}

function isCommandName(word: string): word is CommandName {
  return (COMMAND_NAMES as readonly string[]).includes(word);
}

function strayWord(word: string): string {
  if (/^(true|false)$/.test(word))
    return `what is '${word}' for? a switch takes its value with '=', as in --ip-masq=${word}`;
  if (isCommandName(word)) return `'${word}' is a command of its own, and there may be one at a time`;
  const meant = nearest(word, COMMAND_NAMES);
  return `there is no command '${word}'; ${meant ? `did you mean '${meant}'?` : `there are: ${COMMAND_NAMES.join(', ')}`}`;
}

function helpFor(topic: CommandName | undefined): string {
  return topic === undefined || topic === 'help' ? helpPage() : commandHelp(topic);
}
