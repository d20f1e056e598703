#!/bin/bash
# mkimage.sh: a container image, as a docker-archive tar, from a directory. No registry, no daemon,
# no builder; the same input gives the same bytes.
#
#   mkimage.sh OUT.tar TAG[,TAG...] ROOTFS_DIR ENTRYPOINT_JSON [USER]
#
# IMAGE_CMD='["arg"]' sets the default arguments.
#
#   mkdir -p /tmp/rootfs && cp my-program /tmp/rootfs/
#   mkimage.sh my.tar example.test/my:dev /tmp/rootfs '["/my-program"]' 65532:65532
set -euo pipefail

if [[ ${1-} == --help || $# -lt 4 || $# -gt 5 ]]; then
  sed -n '2,11s/^# \{0,1\}//p' "$0"
  [[ ${1-} == --help ]] && exit 0 || exit 2
fi
out=$1 tags=$2 rootfs=$3 entrypoint=$4 user=${5-}
[[ -d $rootfs ]] || { echo "mkimage.sh: no directory $rootfs" >&2; exit 1; }
[[ ! -d $out ]] || { echo "mkimage.sh: $out is a directory" >&2; exit 1; }
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) echo "mkimage.sh: no image architecture for $(uname -m)" >&2; exit 1 ;;
esac

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
pack() { tar --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 "$@"; }

pack -C "$rootfs" -cf "$work/layer.tar" .
diff_id=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
jq -n --arg arch "$arch" --arg diff "sha256:$diff_id" --arg user "$user" \
  --argjson entrypoint "$entrypoint" --argjson cmd "${IMAGE_CMD:-null}" '{
    architecture: $arch, os: "linux", created: "1970-01-01T00:00:00Z",
    config: {Entrypoint: $entrypoint, Cmd: $cmd, User: $user, WorkingDir: "/",
             Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
    rootfs: {type: "layers", diff_ids: [$diff]},
    history: [{created: "1970-01-01T00:00:00Z", created_by: "mkimage.sh"}]}' >"$work/config.json"
jq -n --arg tags "$tags" \
  '[{Config: "config.json", RepoTags: ($tags / ","), Layers: ["layer.tar"]}]' >"$work/manifest.json"
pack -C "$work" -cf "$work/image.tar" manifest.json config.json layer.tar
mv "$work/image.tar" "$out"
