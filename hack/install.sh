#!/usr/bin/env bash
# install.sh: Palisade on a cluster, from this checkout.
#
#   hack/install.sh up           start the cluster if need be, build, load images, install, wait until ready
#   hack/install.sh images       only build the programs and their images, into bin/images/
#   hack/install.sh manifests P  print a file or a kustomization with images and nodes as the cluster knows them
#   hack/install.sh remove       take Palisade off the cluster; nodes stop enforcing
#   hack/install.sh down         stop the local cluster (a cluster of the user's is left as it is; what
#                                was kept of KIND=1 is its kubeconfig, and is removed)
#   hack/install.sh kubectl …    kubectl on that cluster
#
# Which cluster: the local one, KIND=1, or KUBECONFIG=… (see hack/cluster/target.sh).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# shellcheck source=hack/cluster/target.sh
. hack/cluster/target.sh

say() { printf 'install [%3d s] %s\n' $SECONDS "$*" >&2; }

# One static binary or more to an image; the base is empty.
image() { # NAME ENTRYPOINT USER FILE...
  local name=$1 entrypoint=$2 user=$3 root
  shift 3
  root=$(mktemp -d)
  install -m 755 -t "$root" "$@"
  hack/cluster/mkimage.sh "bin/images/$name.tar" "$(image_name "$name")" "$root" "[\"$entrypoint\"]" "$user"
  rm -rf "$root"
}

images() {
  say "building the programs"
  make build
  CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/probe ./hack/demo/probe
  mkdir -p bin/images
  image controller /controller 65532:65532 bin/controller
  image nodeagent /nodeagent 0:0 bin/nodeagent bin/palisade-cni bin/palisade
  # A second program of the same image, for runtime policies to be about.
  ln -f bin/probe bin/tool
  image probe /probe 65532:65532 bin/probe bin/tool
}

# manifests DIR|FILE: what is to be applied, with the images as this cluster finds them,
# and pods where it takes them.
manifests() {
  local text node=() script="s#(image: *)palisade\.dev/([a-z]+):dev#\1$IMAGE_REPO/\2:$IMAGE_TAG#"
  if [[ -d $1 ]]; then text=$(kubectl kustomize "$1"); else text=$(<"$1"); fi
  if [[ $text == *nodeName:* ]]; then
    mapfile -t node < <(target_nodes)
    [[ ${#node[@]} == 2 ]] || return 1
    script+="; s#(nodeName: *)n1\$#\1${node[0]}#; t; s#(nodeName: *)n2\$#\1${node[1]}#"
  fi
  sed -E "$script" <<<"$text"
}

wait_ready() {
  kubectl -n palisade-system rollout status deployment/palisade-controller --timeout=180s >&2 &&
    kubectl -n palisade-system rollout status daemonset/palisade-nodeagent --timeout=180s >&2
}

# What a newcomer would look at first, when it does not come up.
diagnose() {
  {
    kubectl -n palisade-system get pods -o wide
    kubectl -n palisade-system get events --sort-by=.lastTimestamp | tail -n 15
    kubectl -n palisade-system logs deployment/palisade-controller --tail=20 --all-containers
    kubectl -n palisade-system logs daemonset/palisade-nodeagent --tail=20 --all-containers
  } >&2 || true
}

up() {
  # For a cluster of the user's nothing is installed on this machine that it can do without.
  [[ $TARGET != local ]] && type make jq >/dev/null 2>&1 || hack/deps.sh build lite
  target_up >&2
  images >&2
  say "loading the images"
  load_image bin/images/controller.tar bin/images/nodeagent.tar bin/images/probe.tar >&2
  say "installing config/default"
  manifests config/default | kubectl apply --server-side -f - >&2
  # The images keep their tag, so running pods must be told.
  kubectl -n palisade-system rollout restart deployment/palisade-controller daemonset/palisade-nodeagent >&2
  wait_ready || { diagnose; return 1; }
  say "Palisade is ready; export KUBECONFIG=$KUBECONFIG"
}

# Without the last three steps nodes would go on enforcing, and wait for an agent
# before they start a pod.
remove() {
  kubectl delete --ignore-not-found -k config/default
  manifests config/uninstall | kubectl apply -f -
  kubectl -n palisade-uninstall rollout status daemonset/palisade-uninstall --timeout=120s || {
    kubectl -n palisade-uninstall get pods -o wide >&2 || true
    kubectl -n palisade-uninstall logs -l app.kubernetes.io/name=palisade-uninstall -c uninstall --prefix >&2 || true
    return 1
  }
  kubectl delete -k config/uninstall
}

# kubeconfig finds the cluster without starting it.
kubeconfig() {
  if [[ $TARGET == local ]]; then KUBECONFIG=$(hack/cluster/cluster kubeconfig); else target_up >&2; fi
  export KUBECONFIG
}

case ${1-} in
  up) up ;;
  images) images ;;
  manifests) [[ $TARGET == local ]] || kubeconfig; manifests "${2:?which file or folder}" ;;
  remove) kubeconfig; remove ;;
  down) target_down ;;
  kubectl) shift; kubeconfig; kubectl "$@" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
