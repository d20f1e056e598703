# shellcheck shell=bash
# target.sh: which cluster a script works on. To be sourced; it starts nothing by itself.
#
#   . hack/cluster/target.sh
#   target_up                      the cluster is there (the local one is started)
#   load_image out.tar             the image of a docker-archive is on its nodes
#   kubectl apply -f …             with $KUBECONFIG set
#   image_name controller          the name under which manifests find our image
#   target_nodes                   two nodes for pods, where manifests say n1 and n2
#   target_down                    stops the local cluster; removes the kubeconfig that kind gave
#
# Which one:
#   (nothing set)      the local cluster of hack/cluster/cluster
#   KIND=1             a kind cluster that is there (KIND_CLUSTER, by default "kind")
#   KUBECONFIG=FILE    the user's own; its nodes must be able to pull $IMAGE_REPO/NAME:$IMAGE_TAG
# After sourcing, TARGET is local, kind or given.

target_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target_cluster=$target_dir/cluster
# One file for all scripts, not one for each run: it lets its reader administer the cluster.
target_kubeconfig=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}/kind-${KIND_CLUSTER:-kind}.kubeconfig

target_die() { printf 'target: %s\n' "$*" >&2; return 1; }

if [[ -n ${KIND-} && ${KIND-} != 0 ]]; then
  TARGET=kind
elif [[ -n ${KUBECONFIG-} && $KUBECONFIG != "$("$target_cluster" kubeconfig --path)" ]]; then
  TARGET=given
else
  TARGET=local
fi
if [[ $TARGET != given ]]; then IMAGE_REPO=palisade.dev; fi
export IMAGE_REPO=${IMAGE_REPO-} IMAGE_TAG=${IMAGE_TAG:-dev}

image_name() { echo "$IMAGE_REPO/$1:$IMAGE_TAG"; }

# kubectl: the machine's, or the one of the local cluster's version.
kubectl() {
  local program
  program=$(type -P kubectl) || program=$("$target_cluster" bin)/kubectl
  [[ -x $program ]] || { target_die "no kubectl: put one on PATH, or run $target_cluster build"; return 1; }
  "$program" "$@"
}

target_up() {
  case $TARGET in
    local)
      "$target_cluster" up || return 1
      KUBECONFIG=$("$target_cluster" kubeconfig) || return 1
      ;;
    kind)
      command -v kind >/dev/null || { target_die "KIND=1, but no kind on PATH"; return 1; }
      # As kind has it now: a cluster that was made anew has new keys.
      KUBECONFIG=$(kind get kubeconfig --name "${KIND_CLUSTER:-kind}") ||
        { target_die "no kind cluster \"${KIND_CLUSTER:-kind}\": kind create cluster"; return 1; }
      mkdir -p "${target_kubeconfig%/*}" && (umask 077 && printf '%s\n' "$KUBECONFIG" >"$target_kubeconfig") || return 1
      KUBECONFIG=$target_kubeconfig
      ;;
    given)
      [[ -r $KUBECONFIG ]] || { target_die "KUBECONFIG=$KUBECONFIG cannot be read"; return 1; }
      [[ -n $IMAGE_REPO ]] ||
        { target_die "set IMAGE_REPO to where the nodes of your cluster can pull NAME:$IMAGE_TAG from"; return 1; }
      ;;
  esac
  export KUBECONFIG
  kubectl get --raw /readyz >/dev/null || { target_die "the API server of $KUBECONFIG does not answer"; return 1; }
}

# target_nodes: the first two nodes that take any pod, on a line each; the only one twice.
target_nodes() {
  local taken
  if [[ $TARGET == local ]]; then printf '%s\n' n1 n2; return; fi
  taken=$(kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.spec.taints[*].effect}{"\n"}{end}' |
    awk '!/ .*(NoSchedule|NoExecute)/ { print $1 }') || return 1
  [[ -n $taken ]] || { target_die "no node of $KUBECONFIG takes pods: all have taints"; return 1; }
  head -n 2 <<<"$taken"
  [[ $taken == *$'\n'* ]] || echo "$taken"
}

target_down() {
  case $TARGET in
    local) "$target_cluster" down ;;
    kind) rm -f "$target_kubeconfig" ;;
  esac
}

load_image() {
  case $TARGET in
    local) "$target_cluster" load-image "$@" ;;
    kind)
      local tar
      for tar in "$@"; do kind load image-archive "$tar" --name "${KIND_CLUSTER:-kind}" || return 1; done
      ;;
    given) echo "target: your cluster pulls the images from $IMAGE_REPO; push these there: $*" >&2 ;;
  esac
}
