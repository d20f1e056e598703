#!/bin/bash
# shellcheck disable=SC2086,SC2116,SC2206 # lists of package names are split on purpose
# deps.sh: installs the distribution's packages that a part of Palisade needs.
#
#   hack/deps.sh GROUP...      GROUP: build | bpf | cluster | vm | lite | image | all
#   hack/deps.sh --check GROUP...   installs nothing: exit 1 and the names when something is missing
#
# It asks dpkg first and does nothing, silently, when everything is there.
set -euo pipefail

declare -rA PACKAGES=(
  [build]="make gcc libc6-dev protobuf-compiler"
  [bpf]="clang-19 llvm-19 bpftool libbpf-dev"
  [cluster]="containerd runc containernetworking-plugins busybox-static nftables iptables
             conntrack socat jq iproute2 iputils-ping kmod gcc libc6-dev openssl"
  [vm]="qemu-system-x86 xz-utils runc busybox-static"
  [lite]="iproute2 jq procps util-linux"
  [image]="buildah busybox-static"
)
readonly ORDER="build bpf cluster vm lite image"

usage() {
  sed -n '3,8s/^# \{0,1\}//p' "$0"
  local group
  for group in $ORDER; do printf '  %-8s %s\n' "$group" "$(echo ${PACKAGES[$group]})"; done
}

die() { printf 'deps.sh: %s\n' "$*" >&2; exit 1; }

check_only=
groups=()
for arg in "$@"; do
  case $arg in
    -h | --help) usage; exit 0 ;;
    --check) check_only=1 ;;
    all) groups+=($ORDER) ;;
    *)
      [[ -v PACKAGES[$arg] ]] || die "unknown group \"$arg\": use ${ORDER// /, } or all"
      groups+=("$arg")
      ;;
  esac
done
[[ ${#groups[@]} -gt 0 ]] || { usage >&2; exit 2; }
command -v dpkg-query >/dev/null || die "no dpkg on this system; install yourself: $(for g in "${groups[@]}"; do echo ${PACKAGES[$g]}; done | tr '\n' ' ')"

wanted=$(for group in "${groups[@]}"; do printf '%s\n' ${PACKAGES[$group]}; done | sort -u)
# dpkg-query fails for names that it has never heard of; those are missing too.
installed=" $({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null || true; } |
  sed -n 's/^installed //p' | tr '\n' ' ') "
missing=
for package in $wanted; do
  [[ $installed == *" $package "* ]] || missing+="${missing:+ }$package"
done
[[ -n $missing ]] || exit 0

by_hand="apt-get install --no-install-recommends $missing"
[[ -z $check_only ]] || die "missing packages: $missing (run: hack/deps.sh ${groups[*]})"
[[ $EUID -eq 0 ]] || die "missing packages: $missing; not root, so run as root: $by_hand"
command -v apt-get >/dev/null || die "missing packages: $missing; no apt-get here, install them by hand"

echo "deps.sh: installing $missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Packages such as containerd start a service when they are installed; we run our own copies
# inside namespaces and want none on the machine. Someone's own policy-rc.d is left alone.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
apt() { # ARGS...: waits for another apt to finish rather than failing on its lock
  apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
install() { apt install --no-install-recommends $missing; }
# A machine with fresh lists needs no update; one with none or old ones fails at first.
install || { apt update && install; } || {
  tail -n 15 "$log" >&2
  die "apt-get could not install: $missing (log: $log)"
}
rm -f "$log"
