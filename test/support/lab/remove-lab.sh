#!/bin/bash
# remove-lab.sh ID: ends every process in the namespaces of the lab vtl-ID, and removes the namespaces and its directory.
# remove-lab.sh --when-abandoned ID: waits until whoever holds the other end of standard input is gone, then does the same;
# the word "keep" on standard input leaves the lab standing. So a lab ends with its owner, even with one that is killed.
set -u
export PATH=$PATH:/usr/sbin:/sbin
DIRECTORY=/run/vtepd-lab

# Ctrl-C reaches every process of a terminal; whoever pressed it twice still wants the lab gone.
trap '' INT TERM HUP

if [ "$1" = --when-abandoned ]; then
  read -r word
  [ "${word-}" = keep ] && exit 0
  shift
fi
ID=$1
shopt -s nullglob
namespaces=(/run/netns/vtl-"$ID"-*)

if [ ${#namespaces[@]} -gt 0 ]; then
  # One look at all processes, again until none is left: a process may start another while it is being ended.
  for _ in 1 2 3 4 5; do
    pids=$(
      { stat -L -c '%i' "${namespaces[@]}"; echo --; stat -L -c '%i %n' /proc/[0-9]*/ns/net; } 2> /dev/null |
        awk '$1 == "--" { listed = 1; next } !listed { ours[$1]; next } $1 in ours { split($2, part, "/"); print part[3] }'
    )
    [ -z "$pids" ] && break
    kill -KILL $pids 2> /dev/null
    sleep 0.02
  done
  # The kernel gives the number of a namespace to a later one, which would seem to have had these agents.
  stat -L -c '%i' "${namespaces[@]}" | while read -r number; do rm -f "/run/vtepd/$number-"*; done
  for namespace in "${namespaces[@]}"; do echo "netns del ${namespace##*/}"; done | ip -force -batch -
fi

# Docker's, which are empty now; a moment later, for some of what was killed.
for _ in 1 2 3 4 5; do
  cgroups=$(find /sys/fs/cgroup -maxdepth 3 -type d -name "vtl-$ID-*" 2> /dev/null)
  [ -z "$cgroups" ] && break
  find $cgroups -depth -type d -exec rmdir {} + 2> /dev/null
  sleep 0.05
done

place=$(sed -n 's/^directory=//p' "$DIRECTORY/$ID" 2> /dev/null)
case $place in
  /tmp/vtl-*)
    awk -v place="$place/" 'index($5, place) == 1 { print $5 }' /proc/self/mountinfo | xargs -r umount --lazy
    rm -rf "$place"
    ;;
esac
rm -f "$DIRECTORY/$ID"
