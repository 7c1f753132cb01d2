# zsh -f zsh-completions.zsh DIRECTORY LINE…: what a zsh at a terminal offers for each line, with the completions of the directory. Each
# answer begins with `== LINE`.
zmodload zsh/zpty
zpty shell zsh -f -i

# A prompt that is not seen, so that all that is read was printed on purpose.
zpty -w shell "PROMPT= RPROMPT= PROMPT2=; unsetopt zle_bracketed_paste prompt_sp; stty -echo; fpath=(${(q)1} \$fpath)"
zpty -w shell 'autoload -Uz compinit && compinit -D -u; bindkey "^I" complete-word; zstyle ":completion:*" menu no'
# Each match is printed, and none is completed.
zpty -w shell 'compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  local -a found
  builtin compadd -A found "$@"
  local each
  for each in $found; do print -r -- "OFFERED $each"; done
  builtin compadd "$@"
}'
# Called once; for the next time it must be named again.
zpty -w shell 'done_offering() { compstate[insert]= compstate[list]= comppostfuncs=(done_offering); print -r -- OFFERED-ALL }'
zpty -w shell 'comppostfuncs=(done_offering)'
zpty -w shell 'print READY-$((40 + 2))'
zpty -r shell text '*READY-42*'
for line in "${@[2,-1]}"; do
  zpty -w -n shell "$line"$'\t'
  zpty -r shell text '*OFFERED-ALL*'
  print -r -- "== $line"
  print -r -- $text | tr -d '\r' | sed -n 's/.*OFFERED \(.*\)/\1/p'
  # Kills the line.
  zpty -w -n shell $'\025'
done
zpty -d shell
