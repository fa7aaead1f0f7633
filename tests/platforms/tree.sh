# Functions of scripts that work in a tree of another Debian. They need root.
# shellcheck shell=bash

platforms=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# sources SUITE: prints the lines of apt for a tree. A script may have a function of its own.
sources() { "$platforms/source" "$1"; }

# make_tree DIR SUITE STAMP [OPTION...]: makes the tree DIR/root, unless DIR/stamp says that it is there. It
# is made with mmdebstrap, from the mirror that this machine gets its own packages from. The options are for
# mmdebstrap. Another STAMP makes the tree again.
make_tree() {
  local dir=$1 suite=$2 wanted=$3 lines
  shift 3
  mapfile -t lines < <(sources "$suite")
  [ ${#lines[@]} -gt 0 ] || return 1
  wanted="$wanted $(cksum <"${BASH_SOURCE[0]}")"
  if [ -f "$dir/stamp" ] && [ "$(cat "$dir/stamp")" = "$wanted" ]; then return; fi
  echo "${0##*/}: making a tree in $dir/root"
  rm -rf --one-file-system "$dir/stamp" "$dir/root"
  # In a mount namespace: what mmdebstrap mounts is gone even if it is killed. The tree need not survive a
  # power cut.
  unshare --mount -- mmdebstrap --quiet --variant=apt --include=passwd --dpkgopt=force-unsafe-io "$@" \
    "$suite" "$dir/root" "${lines[@]}"
  # As in an installed system.
  chown root:42 "$dir/root/etc/shadow"
  chmod 640 "$dir/root/etc/shadow"
  touch "$dir/root/etc/resolv.conf" "$dir/root/etc/hosts"
  printf '%s' "$wanted" >"$dir/stamp"
}

# in_tree TREE FOLDER=PLACE... -- COMMAND [ARG...]: runs a command in a tree, with each folder mounted at its
# place. No process and no mount of it outlives the call.
in_tree() {
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- bash -c '
    set -e
    tree=$1
    shift
    # A mount point, or no test could make a mount namespace of its own.
    mount --bind "$tree" "$tree"
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$tree/run"
    mkdir "$tree/run/systemd" # as on a machine that has booted; systemd-analyze writes below it
    mount --bind "$(readlink -f /etc/resolv.conf)" "$tree/etc/resolv.conf"
    mount --bind /etc/hosts "$tree/etc/hosts"
    while [ "$1" != -- ]; do
      mkdir -p "$tree/${1##*=}"
      mount --bind "${1%=*}" "$tree/${1##*=}"
      shift
    done
    shift
    exec chroot "$tree" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    ' bash "$@"
}
