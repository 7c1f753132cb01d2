# Sourced by every script here: the project's root, its Node, and a way to speak and to stop.
set -euo pipefail

# With it, cd may go elsewhere, and prints where.
unset CDPATH
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PROGRAM=$(basename "$0")
TOOLS=$ROOT/.tools
cd "$ROOT"

# A fresh root shell may lack the sbin directories, where ip, bridge and tcpdump can live.
export PATH=$TOOLS/node_modules/.bin:$ROOT/node_modules/.bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL=C.UTF-8

say() { printf '%s: %s\n' "$PROGRAM" "$*"; }

fail() {
  printf '%s: %s\n' "$PROGRAM" "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "$1 Run it as root: sudo scripts/$PROGRAM"
}
