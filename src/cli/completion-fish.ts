/** Completion for fish. */
import {
  COMPLETED_COMMANDS,
  COMPLETED_OPTIONS,
  CONFIG_ACTIONS,
  OWN_FLAGS,
  type CompletedOption,
} from './completion-words';

/** The script. */
export function fishCompletion(): string {
  const commands = COMPLETED_COMMANDS.map(({ word }) => word).join(' ');
  const inCommand = (command: string) => `'__fish_seen_subcommand_from ${command}'`;
  return [
    '# fish completion for vtepd, made from its table of options: vtepd completion fish',
    'complete -c vtepd -f',
    ...COMPLETED_COMMANDS.map(
      ({ word, summary }) => `complete -c vtepd -n __fish_use_subcommand -a ${word} -d '${summary}'`,
    ),
    ...CONFIG_ACTIONS.map(
      ({ word, summary }) => `complete -c vtepd -n ${inCommand('config')} -a ${word} -d '${summary}'`,
    ),
    `complete -c vtepd -n ${inCommand('set check')} -F`,
    ...Object.entries(OWN_FLAGS).flatMap(([name, flags]) =>
      flags.map(
        ({ word, summary }) => `complete -c vtepd -n ${inCommand(name)} -l ${word.slice(2)} -d '${summary}'`,
      ),
    ),
    `complete -c vtepd -n ${inCommand('help')} -a '${commands}'`,
    `complete -c vtepd -n ${inCommand('completion')} -a 'bash zsh fish'`,
    ...COMPLETED_OPTIONS.map((option) =>
      `complete -c vtepd ${flagOf(option)} -d '${option.summary}' ${valueOf(option)}`.trimEnd(),
    ),
    "complete -c vtepd -s h -l help -d 'This page'",
    "complete -c vtepd -l version -d 'The version'",
    '',
  ].join('\n');
}

function flagOf({ flag }: CompletedOption): string {
  return flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
}

function valueOf({ value }: CompletedOption): string {
  switch (value.kind) {
    case 'boolean':
      // With values fish would offer them as the next word, where they are none.
      return '';
    case 'words':
      return `-x -a '${value.words.join(' ')}'`;
    case 'file':
      return '-r -F';
    case 'interface':
      return "-x -a '(ls /sys/class/net)'";
    case 'text':
      return '-x';
  }
}
