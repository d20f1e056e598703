#!/usr/bin/env bash
# verify-dockerfile.sh: builds every target of the Dockerfile with buildah, from
# a builder image made of this machine's Go toolchain and module cache, and runs
# each program once. No registry and no daemon is used. What it built is left in
# bin/images/TARGET.tar, docker archives to be pushed from, with the names that the
# nodes are to find them by:
#
#   IMAGE_REPO=registry.example/palisade IMAGE_TAG=v1 hack/verify-dockerfile.sh
#
# Without these, they are called as config/ calls them.
set -euo pipefail
cd "$(dirname "$0")/.."

# buildah's chroot isolation needs root where user namespaces are not set up.
[[ $EUID -eq 0 ]] || { echo "verify-dockerfile.sh: run as root: sudo make image" >&2; exit 1; }

readonly TARGETS="controller nodeagent cni cli"
declare -rA ASK=([controller]="/controller --version" [nodeagent]="/nodeagent --version"
  [cni]="/palisade-cni --version" [cli]="/palisade version")
version=${VERSION:-v0.0.0-verify}
repo=${IMAGE_REPO:-palisade.dev}
tag=${IMAGE_TAG:-dev}

work=$(mktemp -d)
export STORAGE_DRIVER=vfs
store=(--root "$work/root" --runroot "$work/run")
container=
cleanup() {
  [[ -z $container ]] || buildah "${store[@]}" rm "$container" >/dev/null 2>&1 || true
  buildah "${store[@]}" rmi --all --force >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

# The builder: the toolchain, and what "sh" and "go" need of the machine. It
# stands in for the golang image.
go mod download
goroot=$(go env GOROOT)
modules=$(go env GOMODCACHE)
# Builds write here; sharing the machine's own makes the second run quick.
gocache=$(go env GOCACHE)
container=$(buildah "${store[@]}" from scratch)
tree=$(buildah "${store[@]}" mount "$container")
mkdir -p "$tree"/{bin,tmp,root,src,etc/ssl/certs,usr/local/go,go/pkg/mod,go/cache}
busybox=$(command -v busybox) || { echo "verify-dockerfile.sh: no busybox; run hack/deps.sh cluster" >&2; exit 1; }
cp "$busybox" "$tree/bin/busybox"
for tool in sh mkdir rm cp env cat ls; do ln -s busybox "$tree/bin/$tool"; done
buildah "${store[@]}" umount "$container" >/dev/null
buildah "${store[@]}" config \
  --env PATH=/usr/local/go/bin:/bin --env HOME=/root --env GOPATH=/go --env GOCACHE=/go/cache \
  --env GOFLAGS=-mod=mod --env GOPROXY=off --env GOTOOLCHAIN=local "$container"
buildah "${store[@]}" commit --quiet "$container" localhost/builder >/dev/null
buildah "${store[@]}" rm "$container" >/dev/null
container=

mkdir -p bin/images
for target in $TARGETS; do
  begin=$SECONDS
  buildah "${store[@]}" bud --quiet --layers --isolation chroot --pull-never \
    --build-arg BUILDER=localhost/builder --build-arg VERSION="$version" \
    --volume "$goroot:/usr/local/go:ro" --volume "$modules:/go/pkg/mod:ro" --volume "$gocache:/go/cache" \
    --target "$target" --tag "localhost/palisade/$target" . >/dev/null
  container=$(buildah "${store[@]}" from "localhost/palisade/$target")
  tree=$(buildah "${store[@]}" mount "$container")
  extra=$(find "$tree" -type f -not \( -name controller -o -name nodeagent -o -name palisade-cni -o -name palisade \))
  [[ -z $extra ]] || { echo "verify-dockerfile.sh: $target holds more than programs: $extra" >&2; exit 1; }
  # Static, or it would not start in an image that holds nothing else.
  # shellcheck disable=SC2086
  said=$(buildah "${store[@]}" run --isolation chroot "$container" ${ASK[$target]} 2>&1 | head -n 1)
  [[ $said == *"$version"* ]] || { echo "verify-dockerfile.sh: $target: ${ASK[$target]} printed: $said" >&2; exit 1; }
  buildah "${store[@]}" umount "$container" >/dev/null
  buildah "${store[@]}" rm "$container" >/dev/null
  container=
  rm -f "bin/images/$target.tar" # an archive is not written into
  buildah "${store[@]}" push --quiet "localhost/palisade/$target" "docker-archive:bin/images/$target.tar:$repo/$target:$tag"
  printf '%-12s %5d s  %s\n' "$target" $((SECONDS - begin)) "$said"
done
echo "the images are in bin/images; docs/install.md says how to push them:"
for target in $TARGETS; do printf '  bin/images/%s.tar\t%s/%s:%s\n' "$target" "$repo" "$target" "$tag"; done
