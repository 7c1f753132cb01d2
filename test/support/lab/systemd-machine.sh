#!/bin/bash
# systemd-machine.sh NAME NAMESPACE LAYER TARGET [ROOT]: boots the systemd and the programs of ROOT (by default of this
# machine itself) as PID 1 of a container in a network namespace, until it powers off or is ended. Files of LAYER lie over
# those of ROOT; what it writes is gone with it. Its mounts are in a namespace of this script's, so they end with it, and its cgroups are named NAME.
set -eu
export PATH=$PATH:/usr/sbin:/sbin
if [ "${VTEPD_LAB_MACHINE-}" != mounts ]; then VTEPD_LAB_MACHINE=mounts exec unshare --mount "$0" "$@"; fi
name=$1 namespace=$2 layer=$3 target=$4 root=${5:-/}

cgroups=/sys/fs/cgroup
[ -d $cgroups/unified ] && cgroups=$cgroups/unified
place=$(mktemp -d "/tmp/$name-XXXXXX")
end() {
  echo $$ > $cgroups/cgroup.procs
  echo 1 > "$cgroups/$name/cgroup.kill"
  umount -l "$place/root" 2> /dev/null || true
  # What was just killed leaves its cgroup a moment later.
  for _ in $(seq 50); do
    # systemd-nspawn makes them in the old hierarchy as well, where there is one.
    own=$(ls -d "$cgroups/$name" "/sys/fs/cgroup/systemd/$name" 2> /dev/null || true)
    [ -n "$own" ] || break
    find $own -depth -type d -exec rmdir {} + 2> /dev/null || true
    sleep 0.02
  done
  rm -rf "$place"
}
trap end EXIT
trap 'exit 143' TERM INT

mkdir -p "$place"/{root,above,work} "$cgroups/$name"
chmod 755 "$place/above"
cp -a "$layer/." "$place/above"
mount -t overlay overlay "$place/root" -o "lowerdir=$root,upperdir=$place/above,workdir=$place/work"
rm -f "$place"/root/etc/systemd/system/{multi-user,sockets}.target.wants/*
[ ! -e "$layer/usr/lib/sysusers.d/vtepd.conf" ] || systemd-sysusers --root="$place/root" vtepd.conf
echo $$ > "$cgroups/$name/cgroup.procs"
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$place/root" --machine="$name" --boot \
  --register=no --keep-unit --network-namespace-path="/run/netns/$namespace" --capability=CAP_NET_ADMIN \
  --system-call-filter="add_key keyctl bpf" \
  --console=read-only "systemd.unit=$target" systemd.show_status=0 < /dev/null &
machine=$!
wait $machine
