#!/usr/bin/env bash
# kernel.sh: fetches a kernel of the distribution for virtual machines; installs nothing.
#
#   hack/vm/kernel.sh VERSION      for example 6.1 or 6.12
#
# The newest linux-image-VERSION…-cloud-ARCH that apt's own sources offer is downloaded
# and unpacked under $PALISADE_CACHE/vm. Standard output is the folder (boot/,
# lib/modules/), standard error says which package it is. Where apt knows none, for
# example without a network, the newest that is unpacked already is taken.
set -euo pipefail

die() { printf 'kernel.sh: %s\n' "$*" >&2; exit 1; }

[[ $# -eq 1 && $1 =~ ^[0-9]+\.[0-9]+$ ]] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "no apt-get and dpkg here: kernels come from a Debian archive"

readonly VERSION=$1
arch=$(dpkg --print-architecture)
cache=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}/vm
mkdir -p "$cache"

newest() { # the newest package of this version that can be downloaded: "NAME VERSION"
  local name
  # Names of this form carry their ABI number, so the newest name is the newest kernel.
  while read -r name; do
    apt-cache show --no-all-versions "$name" 2>/dev/null |
      awk -v name="$name" '$1 == "Version:" { print name, $2; found = 1; exit } END { exit !found }' && return
  done < <(apt-cache pkgnames "linux-image-$VERSION." | grep -E -- "^linux-image-$VERSION\.[0-9].*-cloud-$arch\$" | sort -rV)
  return 1
}

unpacked() { # the newest folder that is there already
  find "$cache" -maxdepth 1 -type d -name "linux-image-$VERSION.*-cloud-${arch}_*" -printf '%f\n' | sort -V | tail -n 1 | grep .
}

if ! found=$(newest); then
  if [[ $EUID -eq 0 ]]; then apt-get -q -o DPkg::Lock::Timeout=300 update >&2 || true; fi
  found=$(newest) || found=
fi
if [[ -z $found ]]; then
  folder=$(unpacked) || die "no linux-image-$VERSION…-cloud-$arch in apt's sources: enable the suite of your mirror that has it (its security or backports suite), or run apt-get update as root"
  echo "kernel.sh: $VERSION is $folder (unpacked earlier; apt's sources have none now)" >&2
  echo "$cache/$folder"
  exit
fi
read -r name version <<<"$found"
folder=$cache/${name}_${version}
echo "kernel.sh: $VERSION is $name $version" >&2

# Two runs at once wait for each other; a folder under its final name is complete.
exec 9>"$cache/.lock"
flock 9
if [[ ! -d $folder ]]; then
  work=$(mktemp -d "$cache/.unpack.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$name=$version" >&2) || die "apt-get download $name=$version: see above"
  mkdir "$work/tree"
  dpkg -x "$work"/*.deb "$work/tree"
  rm -rf "$work/tree/usr"
  # Guests load modules one by one without tools of their own.
  find "$work/tree/lib/modules" -name '*.ko.xz' -print0 | xargs -0 -r -P 2 -n 64 xz -d
  mv "$work/tree" "$folder"
fi
echo "$folder"
