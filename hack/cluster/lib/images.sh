# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# The images of every cluster: pause, without which no pod starts, and agnhost, which upstream's
# tests use as client and server. Made once, from the sources of the Kubernetes module.

PAUSE_IMAGE=registry.k8s.io/pause:3.10.2
AGNHOST_IMAGE=registry.k8s.io/e2e-test-images/agnhost:2.63.0

build_images() {
  mkdir -p "$IMAGES"
  [[ -s $IMAGES/pause.tar ]] || build_pause
  [[ -s $IMAGES/agnhost.tar ]] || build_agnhost
}

kubernetes_source() { (cd "$cluster_dir/build" && GOWORK=off go list -m -f '{{.Dir}}' k8s.io/kubernetes); }

build_pause() (
  say "making the image $PAUSE_IMAGE"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  gcc -Os -static -DVERSION="${PAUSE_IMAGE##*:}" -o "$root/pause" "$(kubernetes_source)/build/pause/linux/pause.c"
  strip "$root/pause"
  "$cluster_dir/mkimage.sh" "$IMAGES/pause.tar" "$PAUSE_IMAGE" "$root" '["/pause"]' 65535:65535
)

# agnhost beside a busybox, because tests run sh, nc, ping and ip in its pods. Debian's static wget
# crashes when it looks a name up, so it is left out: "agnhost connect" and nc do its work.
build_agnhost() (
  say "making the image $AGNHOST_IMAGE"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,tmp,uploads,etc,proc,sys,dev,var,root}
  chmod 1777 "$root/tmp"
  install -m 755 "$BIN/agnhost" "$root/agnhost"
  ln -s agnhost "$root/agnhost-2"
  install -m 755 /bin/busybox "$root/bin/busybox"
  for applet in $(/bin/busybox --list); do
    [[ $applet == busybox || $applet == wget ]] || ln -s busybox "$root/bin/$applet"
  done
  install -m 644 "$(kubernetes_source)"/test/images/agnhost/porter/localhost.* "$root/"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false >"$root/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
  IMAGE_CMD='["pause"]' "$cluster_dir/mkimage.sh" "$IMAGES/agnhost.tar" "$AGNHOST_IMAGE" "$root" '["/agnhost"]'
)

# load_image TAR: into containerd of every node.
load_image() {
  local node
  [[ -r $1 ]] || die "no image file $1"
  [[ -n $(nodes) ]] || die "no node is running: cluster up"
  for node in $(nodes); do
    in_node "$node" ctr -n k8s.io images import - <"$1" >/dev/null || die "node $node does not take $1"
    say "$node has $(tar -xOf "$1" manifest.json | jq -r '.[].RepoTags | join(", ")')"
  done
}
