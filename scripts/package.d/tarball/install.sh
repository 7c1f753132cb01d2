#!/bin/sh
# Installs vtepd, or another version of it over the one that is there. It needs neither dpkg nor npm.
CDPATH='' cd "$(dirname "$0")" && . ./setup/common.sh && . ./setup/about || exit

usage() {
  cat << 'TEXT'
Usage: ./install.sh [--prefix DIR] [--cni-bin DIR]

Installs vtepd, or upgrades it where it is installed: then the agent is restarted, and no packet is lost.

  --prefix DIR    where the program goes: /usr/local by default, or where it is. Another is /opt/vtepd
  --cni-bin DIR   where container runtimes look for CNI plugins: /opt/cni/bin by default
  -h, --help      this text

Options of the agent are in /etc/vtepd/vtepd.conf. uninstall.sh takes all of it away again.
TEXT
}

main() {
  PREFIX='' CNI_BIN=''
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --prefix=* | --cni-bin=*) take "${1%%=*}" "${1#*=}"; shift ;;
      --prefix | --cni-bin) [ $# -gt 1 ] || refuse "$1 takes a directory"; take "$1" "$2"; shift 2 ;;
      *) refuse "there is no option '$1'" ;;
    esac
  done
  need_root
  check_machine
  choose_places
  check_places
  # Said when something fails from here on, by whatever ends this script.
  halfway='it stopped halfway: run it again once the reason is gone. What ran before goes on'
  trap '[ -z "$halfway" ] || say "$halfway" >&2' EXIT
  # Not every sh takes a signal for an exit.
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say "vtepd $VERSION goes below $PREFIX ($(du -sk lib | sed 's/...[^0-9].*//') MB)${former:+, over $former}"
  install_files
  install_configuration
  # The user, what Node compiles ahead, and the restart: as the Debian package does it.
  package_script "$PROGRAM" postinst configure "$former"
  # By it the next installation knows that this one was whole, and is to be upgraded.
  put 644 setup/about "$PROGRAM/setup/about"
  halfway=
  tell
}

take() { # take OPTION DIRECTORY
  check_path "$1" "$2"
  case $1 in --prefix) check_prefix "$2"; PREFIX=${2%/} ;; *) CNI_BIN=${2%/} ;; esac
}

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "vtepd needs Linux, and this is $(uname -s)"
  case $(uname -m) in
    x86_64) machine=amd64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) machine=$(uname -m) ;;
  esac
  [ "$machine" = "$ARCH" ] || fail "this tarball is for $ARCH, and this machine is $machine: take the one for $machine"
  libc=$(getconf GNU_LIBC_VERSION 2> /dev/null) || libc=
  case $libc in
    'glibc 2.'*)
      minor=${libc#glibc 2.}
      [ "${minor%%.*}" -ge "${LIBC#2.}" ] ||
        fail "glibc 2.$minor is too old, vtepd needs $LIBC or newer: take a newer release of this distribution, or the container image"
      ;;
    *)
      for loader in /lib/ld-musl-*; do
        [ ! -e "$loader" ] || fail 'this system has musl and not glibc, which vtepd needs: take the container image'
      done
      ;;
  esac
  # What else can be missing.
  said=$(./lib/node --version 2>&1) || fail "the Node of this tarball does not run here: $said
It needs libstdc++ (package libstdc++6 or libstdc++), and a folder that is not mounted noexec."
  [ ! -e /var/lib/dpkg/info/vtepd.list ] || [ ! -e /usr/lib/vtepd/dist/main.js ] ||
    fail 'the Debian package of vtepd is installed: upgrade that one, or remove it first (apt remove vtepd)'
  command -v systemd-sysusers > /dev/null || command -v useradd > /dev/null || getent passwd vtepd > /dev/null ||
    fail "there is neither systemd-sysusers nor useradd: make a system user and group 'vtepd', and run this again"
}

# Sets PREFIX, PROGRAM, CNI_BIN, and `former`: the version that is there.
choose_places() {
  present=$(installed_prefix)
  PREFIX=${PREFIX:-${present:-/usr/local}}
  [ "${present:-$PREFIX}" = "$PREFIX" ] ||
    fail "vtepd is installed below $present: upgrade it there (without --prefix), or remove it first ($present/lib/vtepd/uninstall.sh)"
  PROGRAM=$PREFIX/lib/vtepd
  former=$(sed -n "s/^VERSION='\(.*\)'$/\1/p" "$PROGRAM/setup/about" 2> /dev/null) || former=
  [ -n "$CNI_BIN" ] || CNI_BIN=$(sed -n 's|/flannel$||p' "$PROGRAM/installed" 2> /dev/null) || CNI_BIN=
  CNI_BIN=${CNI_BIN:-/opt/cni/bin}
}

# Prints `MODE FROM TO` for every file; the mode of a link is `link`.
plan() {
  find lib setup -type f | sort | while read -r file; do
    case $file in
      lib/node | lib/run | */main.js | setup/p* | setup/bin/*) mode=755 ;;
      *) mode=644 ;;
    esac
    echo "$mode $file $PROGRAM/${file#lib/}"
  done
  echo "755 uninstall.sh $PROGRAM/uninstall.sh"
  echo "644 LICENSES.txt $PROGRAM/LICENSES.txt"
  find share -type f | sort | while read -r file; do echo "644 $file $PREFIX/$file"; done
  echo "link ../lib/vtepd/run $PREFIX/bin/vtepd"
  echo "link ../lib/vtepd/run $PREFIX/bin/vtepd-cni"
  [ "$CNI_BIN" = none ] || echo "link $PROGRAM/run $CNI_BIN/flannel"
  ! command -v systemd-sysusers > /dev/null || echo '644 systemd/sysusers.conf /etc/sysusers.d/vtepd.conf'
  has_systemd || return 0
  echo "644 systemd/vtepd.service $UNIT"
  echo '755 systemd/vtepd-generator /etc/systemd/system-generators/vtepd-generator'
  echo '644 systemd/10-vtepd.network /etc/systemd/network/10-vtepd.network'
  echo '644 systemd/NetworkManager.conf /etc/NetworkManager/conf.d/10-vtepd.conf'
}

# What others have where ours is to go stays.
check_places() {
  # A removal of the Debian package masks its unit.
  masked=/var/lib/systemd/deb-systemd-helper-masked/vtepd.service
  if [ -e $masked ] && is_masked; then rm -f $masked $UNIT; fi
  ! is_masked || fail 'vtepd.service is masked: systemctl unmask vtepd.service, and run this again'
  if is_there "$CNI_BIN/flannel" && ! is_ours "$CNI_BIN/flannel"; then
    say "$CNI_BIN/flannel is there and is not vtepd's: it stays, and vtepd's own is not installed as a CNI plugin"
    CNI_BIN=none
  fi
  plan | while read -r _ _ to; do
    ! is_there "$to" || is_ours "$to" || fail "$to is there, and this script has not made it: move it away, and run this again"
  done
}

is_masked() { [ "$(readlink $UNIT)" = /dev/null ]; }
is_there() { [ -e "$1" ] || [ -L "$1" ]; }
is_ours() { [ -e "$PROGRAM/installed" ] && grep -Fqx "$1" "$PROGRAM/installed"; }

install_files() {
  list=$PROGRAM/installed
  ours=$(plan | cut -d ' ' -f 3; new_directories; grep -h '/$' "$list" $REMOVING 2> /dev/null || true)
  mkdir -p "$PROGRAM"
  # First of all, so that uninstall.sh knows what to remove whatever happens. Directories that are ours end with a slash.
  { [ ! -e "$list" ] || cat "$list"; echo "$ours"; } | sort -u > "$list.new"
  mv -f "$list.new" "$list"
  plan | while read -r mode from to; do [ "$from" = setup/about ] || put "$mode" "$from" "$to"; done
  "$PREFIX/bin/vtepd" --version > /dev/null || fail "$PREFIX/bin/vtepd does not run; is $PREFIX mounted noexec?"
  # What only the former version had.
  echo "$ours" | sort -u > "$list.new"
  grep -Fvx -f "$list.new" "$list" | while read -r file; do rm -f "$file"; done
  mv -f "$list.new" "$list"
}

# The directories of the plan that are not there, each with a slash behind it.
new_directories() {
  plan | while read -r _ _ to; do
    while to=${to%/*} && [ -n "$to" ] && [ ! -d "$to" ]; do echo "$to/"; done
  done
}

# A program that runs is replaced, and not written to.
put() { # put MODE FROM TO
  mkdir -p "${3%/*}"
  rm -f "$3.vtepd-new"
  case $2 in
    ../* | /*) ln -s "$2" "$3.vtepd-new" ;;
    lib/run | lib/docker.service.d/* | setup/p* | systemd/*) placed "$2" > "$3.vtepd-new" ;;
    *) cp "$2" "$3.vtepd-new" ;;
  esac
  [ "$1" = link ] || chmod "$1" "$3.vtepd-new"
  mv -f "$3.vtepd-new" "$3"
}

# Where the Debian package has its files, and what is done there, is told as it is here.
placed() { # placed FILE
  start='systemctl enable --now vtepd'
  has_systemd || start=$PREFIX/bin/vtepd
  sed -e "s|/usr/lib/vtepd|$PROGRAM|g" -e "s|/usr/bin/vtepd|$PREFIX/bin/vtepd|g" -e "s|systemctl enable --now vtepd|$start|g" \
    -e "s|apt remove vtepd|$PROGRAM/uninstall.sh|g" -e "s|apt purge vtepd|$KEPT/uninstall.sh --purge|g" "$1"
}

# As dpkg does: what was edited is kept, and what was removed is not made again.
install_configuration() {
  sample=$PROGRAM/vtepd.conf.sample
  if [ ! -e "$sample" ] && [ ! -e $CONF ] || { [ -e $CONF ] && cmp -s "$sample" $CONF; }; then
    mkdir -p "${CONF%/*}"
    # It may hold a password. postinst gives it to the agent's group.
    (umask 027 && cp vtepd.conf $CONF.vtepd-new)
    if [ -e $CONF ]; then chgrp "$(stat -c %g $CONF)" $CONF.vtepd-new; fi
    mv -f $CONF.vtepd-new $CONF
  elif [ -e $CONF ] && ! cmp -s vtepd.conf $CONF && ! cmp -s vtepd.conf "$sample"; then
    say "$CONF stays as you edited it; all options of this version are in $sample"
  fi
  put 644 vtepd.conf "$sample"
}

tell() {
  [ "$CNI_BIN" = none ] && plugin='(not installed)' || plugin=$CNI_BIN/flannel
  say "vtepd $VERSION is installed
  program     $PREFIX/bin/vtepd
  options     $CONF
  CNI plugin  $plugin
  removal     $PROGRAM/uninstall.sh"
  [ "$(command -v vtepd)" = "$PREFIX/bin/vtepd" ] || say "$PREFIX/bin is not in \$PATH: call vtepd by its path"
  has_systemd && return
  say "there is no systemd here, so nothing starts the agent: let this system's own init run '$PREFIX/bin/vtepd' as root, and start it again when it ends"
  running=$(echo $(agents "$PROGRAM"))
  [ -z "$running" ] || say "an agent runs (process $running): end it and start it again, and it is of this version; no packet is lost meanwhile"
}

main "$@"; exit
