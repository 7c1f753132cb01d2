/** Completion for zsh. */
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

/** The script: as `_vtepd` in a directory of $fpath, or to be sourced behind compinit. */
export function zshCompletion(): string {
  return `#compdef vtepd
# zsh completion for vtepd, made from its table of options: vtepd completion zsh
_vtepd() {
  local curcontext=$curcontext state line
  local -a own
  typeset -A opt_args
  if (( \${words[(I)docker-opts]} )); then
    _arguments '*:file:_files' ${DOCKER_OPTS_FLAGS.map((flag) => `'${flag}'`).join(' ')}
    return
  fi
  if (( \${words[(I)status]} )); then
    _arguments '*: : ' ${flagsOf(OWN_FLAGS.status)}
    return
  fi
  if (( \${words[(I)cleanup]} )); then own=(${flagsOf(OWN_FLAGS.cleanup)}); fi
  if (( \${words[(I)config]} && \${words[(I)get]} )); then own=(${flagsOf(OWN_FLAGS.get)}); fi
  _arguments -C $own \\
${COMPLETED_OPTIONS.map((option) => `    '${specOf(option)}' \\`).join('\n')}
    '(-h --help)'{-h,--help}'[This page]' \\
    '--version[The version]' \\
    '1:command:((${described(COMPLETED_COMMANDS)}))' \\
    '*:argument:->argument' && return
  [[ $state == argument ]] || return
  case $line[1] in
    config)
      if (( \${line[(I)set]} || \${line[(I)check]} )); then
        _files
      else
        local -a actions=(${CONFIG_ACTIONS.map(({ word, summary }) => `'${word}:${summary}'`).join(' ')})
        _describe action actions
      fi
      ;;
    help) compadd ${COMPLETED_COMMANDS.map(({ word }) => word).join(' ')} ;;
    completion) compadd bash zsh fish ;;
  esac
}
if [[ $funcstack[1] == _vtepd ]]; then _vtepd "$@"; else compdef _vtepd vtepd; fi
`;
}

function specOf({ flag, placeholder, summary, isRepeatable, value }: CompletedOption): string {
  const repeat = isRepeatable ? '*' : '';
  const help = `[${summary.replace(/[[\]:\\]/g, '\\$&')}]`;
  const what = placeholder.replaceAll(':', '\\:');
  switch (value.kind) {
    case 'boolean':
      return `${repeat}${flag}=-${help}::${what}:(${BOOLEAN_WORDS.join(' ')})`;
    case 'words':
      return `${repeat}${flag}=${help}:${what}:(${value.words.join(' ')})`;
    case 'file':
      return `${repeat}${flag}=${help}:${what}:_files`;
    case 'interface':
      return `${repeat}${flag}=${help}:${what}:_net_interfaces`;
    case 'text':
      return `${repeat}${flag}${flag.startsWith('--') ? '=' : ''}${help}:${what}: `;
  }
}

function flagsOf(flags: readonly CompletedWord[]): string {
  return flags.map(({ word, summary }) => `'${word}[${summary}]'`).join(' ');
}

function described(words: readonly CompletedWord[]): string {
  return words.map(({ word, summary }) => `${word}\\:"${summary.replaceAll(':', '\\:')}"`).join(' ');
}
