# What install.sh and uninstall.sh share. POSIX sh.
set -eu
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL=C
program=${0##*/}
CONF=/etc/vtepd/vtepd.conf
UNIT=/etc/systemd/system/vtepd.service
# Where the Debian package's scripts keep the program between a removal and a purge.
KEPT=/var/lib/vtepd-removed
# What a removal has begun to remove.
REMOVING=$KEPT/removing

say() { printf '%s: %s\n' "$program" "$*"; }

fail() {
  printf '%s: %s\n' "$program" "$*" >&2
  exit 1
}

refuse() {
  printf '%s: %s\n\n' "$program" "$1" >&2
  usage >&2
  exit 2
}

need_root() { [ "$(id -u)" = 0 ] || fail "it writes system files: run it as root (sudo $0)"; }

# Where systemd is PID 1, or will be once this root file system boots.
has_systemd() { command -v systemctl > /dev/null; }

# Other characters would have to be quoted in units and scripts.
check_path() { # check_path OPTION DIRECTORY
  case $2 in
    /*[!A-Za-z0-9/._+-]* | '' | [!/]*) refuse "$1 takes an absolute path of letters, digits and /._+-, and not '$2'" ;;
  esac
}

check_prefix() { # check_prefix DIRECTORY
  case ${1%/}/ in
    # The unit has ProtectHome and PrivateTmp.
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*) fail "--prefix $1: the service sees nothing in there; take /usr/local or /opt/vtepd" ;;
    # Where the Debian package is.
    / | /usr/) fail "--prefix $1: that is the distribution's; take /usr/local or /opt/vtepd" ;;
  esac
}

# The prefix of what is installed, as its unit or, without systemd, its CNI plugin or its usual places tell; nothing where there is none.
installed_prefix() {
  plugin=$(readlink /opt/cni/bin/flannel) || plugin=
  for each in "$(sed -n 's|^ExecStart=\(/.*\)/bin/vtepd$|\1|p' $UNIT 2> /dev/null)" "${plugin%/lib/vtepd/run}" /usr/local /opt/vtepd; do
    if [ -n "$each" ] && [ -e "$each/lib/vtepd/installed" ]; then
      echo "$each"
      return
    fi
  done
}

# Process IDs of agents that run from HOME, also those of a program that was replaced meanwhile.
agents() { # agents HOME
  for each in /proc/[0-9]*; do
    is_program "${each#/proc/}" "$1" || continue
    # Not what an agent is about to start.
    is_program "$(sed -n 's/^PPid:[^0-9]*//p' "$each/status" 2> /dev/null)" "$1" || echo "${each#/proc/}"
  done
}

is_program() { # is_program PID HOME
  case $(readlink "/proc/$1/exe" 2> /dev/null) in
    "$2/node" | "$2/node (deleted)") ;;
    *) return 1 ;;
  esac
}

# package_script HOME NAME WORD…: a script of the Debian package, for HOME.
package_script() {
  script=$1/setup/$2
  search=$1/setup/bin
  shift 2
  PATH=$search:$PATH sh "$script" "$@"
}
