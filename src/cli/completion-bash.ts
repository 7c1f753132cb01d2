/** Completion for bash. */
import {
  BOOLEAN_WORDS,
  COMPLETED_COMMANDS,
  COMPLETED_OPTIONS,
  CONFIG_ACTIONS,
  DOCKER_OPTS_FLAGS,
  OWN_FLAGS,
  type CompletedOption,
  type CompletedWord,
} from './completion-words';

/** The script. It needs no bash-completion package. */
export function bashCompletion(): string {
  const valued = COMPLETED_OPTIONS.filter(({ value }) => value.kind !== 'boolean');
  const flags = COMPLETED_OPTIONS.map(({ flag, value }) =>
    value.kind === 'boolean' || !flag.startsWith('--') ? flag : `${flag}=`,
  );
  return `# bash completion for vtepd, made from its table of options: vtepd completion bash
_vtepd() {
  local current=\${COMP_WORDS[COMP_CWORD]} option=\${COMP_WORDS[COMP_CWORD-1]} command= action= own= joined= index word
  # To bash the = of --name=value is a word of its own.
  if [[ $current == = ]]; then
    current= joined=1
  elif [[ $option == = && $COMP_CWORD -ge 2 ]]; then
    option=\${COMP_WORDS[COMP_CWORD-2]} joined=1
  fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    case $word in
${cases(valued.map(({ flag }) => flag).join('|'), '[[ ${COMP_WORDS[index+1]-} == = ]] || ((index++))')}
      =) ((index++)) ;;
      -*) ;;
      *) if [[ $command ]]; then action=\${action:-$word}; else command=$word; fi ;;
    esac
  done
  COMPREPLY=()
  if [[ $command == docker-opts ]]; then
    case $option in
      -f | -d) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      *) mapfile -t COMPREPLY < <(compgen -W '${DOCKER_OPTS_FLAGS.join(' ')}' -- "$current") ;;
    esac
    return
  fi
  case \${action:-$command} in
${Object.entries(OWN_FLAGS)
  .map(([name, flags]) => `    ${name}) own='${wordsOf(flags)}' ;;`)
  .join('\n')}
  esac
  if [[ $command == status ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$own --help" -- "$current")
    return
  fi
  case $option in
${valued.map((option) => cases(option.flag, `${valueOf(option)}; return`)).join('\n')}
  esac
  if [[ $joined ]]; then
    mapfile -t COMPREPLY < <(compgen -W '${BOOLEAN_WORDS.join(' ')}' -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$own ${[...flags, '--help', '--version'].join(' ')}" -- "$current")
    if [[ \${COMPREPLY[0]-} == *= ]]; then compopt -o nospace 2> /dev/null; fi
  else
    case $command in
      '') mapfile -t COMPREPLY < <(compgen -W '${wordsOf(COMPLETED_COMMANDS)}' -- "$current") ;;
      help) mapfile -t COMPREPLY < <(compgen -W '${wordsOf(COMPLETED_COMMANDS)}' -- "$current") ;;
      completion) mapfile -t COMPREPLY < <(compgen -W 'bash zsh fish' -- "$current") ;;
      cleanup) mapfile -t COMPREPLY < <(compgen -W "$own" -- "$current") ;;
      config)
        case $option in
          get) mapfile -t COMPREPLY < <(compgen -W "$own" -- "$current") ;;
          set | check) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames 2> /dev/null ;;
          config) mapfile -t COMPREPLY < <(compgen -W '${wordsOf(CONFIG_ACTIONS)}' -- "$current") ;;
        esac
        ;;
    esac
  fi
}
complete -F _vtepd vtepd
`;
}

function cases(pattern: string, commands: string): string {
  return `      ${pattern}) ${commands} ;;`;
}

function valueOf({ value }: CompletedOption): string {
  switch (value.kind) {
    case 'file':
      return `mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames 2> /dev/null`;
    case 'interface':
      return `mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net 2> /dev/null)" -- "$current")`;
    case 'words':
      return `mapfile -t COMPREPLY < <(compgen -W '${value.words.join(' ')}' -- "$current")`;
    case 'text':
    case 'boolean':
      return ':';
  }
}

function wordsOf(words: readonly CompletedWord[]): string {
  return words.map(({ word }) => word).join(' ');
}
