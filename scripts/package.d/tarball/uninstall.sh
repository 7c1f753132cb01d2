#!/bin/sh
# Removes vtepd as install.sh installed it. It is beside the program, and with --purge also works when that is gone.
here=$(CDPATH='' cd "$(dirname "$0")" && pwd) && . "$here/setup/common.sh" || exit

usage() {
  cat << 'TEXT'
Usage: uninstall.sh [--purge] [--prefix DIR]

Ends the agent and removes the program. Traffic goes on with the peers of that moment; options, the lease and what the agent
remembers stay, so that vtepd goes on where it was once it is installed again.

  --purge        removes what stays, too: from the kernel and from /etc/vtepd, /var/lib/vtepd, /run/flannel; traffic ends
  --prefix DIR   where it is installed, when that is nowhere to be found
  -h, --help     this text
TEXT
}

main() {
  PURGE='' PREFIX=''
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --purge) PURGE=yes; shift ;;
      --prefix=*) check_path --prefix "${1#*=}"; PREFIX=${1#*=}; shift ;;
      --prefix) [ $# -gt 1 ] || refuse "$1 takes a directory"; check_path "$1" "$2"; PREFIX=$2; shift 2 ;;
      *) refuse "there is no option '$1'" ;;
    esac
  done
  need_root
  # Where an installation stopped before anything else was there.
  for place in "$PREFIX" /usr/local /opt/vtepd; do
    [ -e "$place/lib/vtepd/installed" ] || ! rm "$place/lib/vtepd/installed.new" 2> /dev/null || rmdir "$place/lib/vtepd"
  done
  if [ -e "$here/installed" ]; then PREFIX=${here%/lib/vtepd}; else PREFIX=${PREFIX:-$(installed_prefix)}; fi
  PROGRAM=${PREFIX%/}/lib/vtepd
  if [ -n "$PREFIX" ] && [ -e "$PROGRAM/installed" ]; then
    remove
  elif [ -e $REMOVING ]; then
    say 'an earlier removal stopped halfway: this goes on with it'
    finish
  elif [ ! "$PURGE" ]; then
    say "vtepd is not installed${PREFIX:+ below $PREFIX}; nothing was done"
    exit 0
  fi
  [ ! "$PURGE" ] || purge
}

remove() {
  if ! has_systemd; then
    running=$(echo $(agents "$PROGRAM"))
    [ -z "$running" ] || fail "an agent runs: keep this system's init from starting it again, end it (kill $running), and run this again"
  fi
  # It is put behind all that these need: without it there was an installation that stopped halfway, and no agent.
  if [ -e "$PROGRAM/uninstall.sh" ]; then
    package_script "$PROGRAM" prerm remove
    # For a purge that comes later.
    cp -R "$PROGRAM/setup" "$PROGRAM/uninstall.sh" $KEPT/
  fi
  mkdir -p -m 700 $KEPT
  { echo "$PROGRAM"; cat "$PROGRAM/installed"; } > $REMOVING.new
  mv -f $REMOVING.new $REMOVING
  # The program itself last: until then this can be run again.
  sed 1d $REMOVING | grep -v '/$' | while read -r file; do
    case $file in
      "$PROGRAM"/*) ;;
      *) rm -f "$file" "$file.vtepd-new" ;;
    esac
  done
  # At once: of a half of it nothing could be made any more.
  rm -rf "$PROGRAM.removed"
  mv "$PROGRAM" "$PROGRAM.removed"
  finish
}

# What is left to do once the program has gone from its place.
finish() {
  PROGRAM=$(head -n 1 $REMOVING)
  rm -rf "$PROGRAM.removed"
  # Deepest first. One that is not empty has something of others in it.
  sed 1d $REMOVING | grep '/$' | sort -r | while read -r directory; do rmdir "$directory" 2> /dev/null || true; done
  if [ -e $KEPT/setup/postrm ]; then package_script $KEPT postrm remove; fi
  rm $REMOVING
  # Nothing is in it where an installation stopped halfway.
  rmdir $KEPT 2> /dev/null || true
  [ "$PURGE" ] || say "vtepd is removed.$([ ! -e $KEPT/uninstall.sh ] || echo " What is left is removed by: $KEPT/uninstall.sh --purge")"
}

purge() {
  # Those of the installation, or where there is none any more, of the tarball; elsewhere, because they remove their own folder.
  [ -e $KEPT/setup/postrm ] && scripts=$KEPT/setup || scripts=$here/setup
  place=$(mktemp -d)
  cp -R "$scripts" "$place/setup"
  package_script "$place" postrm purge
  rm -rf "$place"
  say 'vtepd is removed, and with it all that it left here'
}

main "$@"; exit
