# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# Kubernetes and etcd from their Go modules, built once and kept outside the checkout.

. "$cluster_dir/build/recipe.sh"

KUBE_VERSION=$(sed -n 's/^require k8s.io\/kubernetes //p' "$cluster_dir/build/go.mod")
build_hash=$(cd "$cluster_dir" && cat build/go.mod build/go.sum build-etcd/go.mod build-etcd/go.sum build/recipe.sh |
  sha256sum | cut -c1-12)
BUILD_DIR=$CACHE/k8s/$KUBE_VERSION-$build_hash
BIN=$BUILD_DIR/bin
IMAGES=$BUILD_DIR/images

# build_binaries NAME...: those that are not there yet. Two builds at once wait for one another.
build_binaries() {
  local name missing=()
  for name in "$@"; do [[ -x $BIN/$name ]] || missing+=("$name"); done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v go >/dev/null || die "no go on PATH: it builds Kubernetes $KUBE_VERSION"
  mkdir -p "$BIN"
  exec 8>"$BUILD_DIR/lock"
  flock -n 8 || { say "waiting for another build of the same"; flock 8; }
  say "building ${#missing[@]} binaries of Kubernetes $KUBE_VERSION into $BIN (cold: 5 to 15 minutes)"
  for name in "${missing[@]}"; do build_binary "$name"; done
  exec 8>&-
}

build_binary() {
  local name=$1 module=build from=$SECONDS
  [[ $name != etcd ]] || module=build-etcd
  [[ ! -x $BIN/$name ]] || return 0 # by the build that we waited for
  say "  $name …"
  (cd "$cluster_dir/$module" && build_one "$name" "$KUBE_VERSION" "$BIN/.$name.new") ||
    die "$name does not build (try: cd hack/cluster/$module && go mod verify)"
  mv "$BIN/.$name.new" "$BIN/$name"
  say "  $name took $((SECONDS - from)) s"
}
