#!/usr/bin/env bash
# lite.sh: the shop of the demo in under a minute and without Kubernetes.
#
#   LITE=1 make demo
#
# Pods are network namespaces on a bridge; `palisade apply` compiles the policies
# for this host and brings them into force, the way the agent of a cluster does.
# Everything happens in namespaces of its own (mounts, processes, networks), so
# that nothing is left behind, however the script ends.
#
# Every step checks what it shows; the demo fails where the kernel's verdict is not
# the expected one, or where a denied pair has nobody who answers for it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

# shellcheck source=hack/demo/shop.sh
. hack/demo/shop.sh

if [[ -z ${LITE_INSIDE-} ]]; then
  [[ $EUID == 0 ]] || fail "this makes network namespaces and loads BPF: run it as root (sudo LITE=1 make demo)"
  hack/deps.sh lite
  step "Building bin/palisade and bin/probe"
  CGO_ENABLED=0 go build -o bin/palisade ./cmd/palisade
  CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/probe ./hack/demo/probe
  # Kill this process, and all processes, mounts and networks of the demo are gone.
  LITE_INSIDE=$SECONDS exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0"
fi
SECONDS=$LITE_INSIDE
trap 'code=$?; [[ $code == 0 ]] || printf "\ndemo: stopped by an error after %d s\n" $SECONDS >&2' EXIT

work=/run/lite
shop=(-f hack/demo/lite -f hack/demo/shop/policies.yaml)
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p $work /run/netns

palisade() { nsenter --net=/run/netns/node bin/palisade "$@"; }
flags=(--node lite --state-dir $work/state)
# What a real Palisade may have on this machine is none of the demo's.
elsewhere=(--root $work/host --cni-conf-dir $work/host --cni-bin-dir $work/host)

declare -A host=([shop/frontend]=11 [shop/backend]=12 [shop/db]=13 [outsider/stranger]=14 [shop/billing]=100)
net() { [[ $1 == shop/billing ]] && echo 88 || echo 77; }
ip4() { echo "10.$(net "$1").0.${host[$1]}"; }
ip6() { echo "fd00:$(net "$1")::${host[$1]}"; }

dial() { nsenter --net="/run/netns/${1#*/}" bin/probe dial --timeout=700ms "${@:2}"; }
denials() { palisade flows "${flags[@]}" -o json --verdict Deny; }

# wire END: a network namespace whose eth0 leads to the node.
wire() {
  local name=${1#*/} n
  n=$(net "$1")
  ip netns add "$name"
  ip -n "$name" link set lo up
  ip -n node link add "v-$name" type veth peer name eth0 netns "$name"
  ip -n "$name" addr add "$(ip4 "$1")/24" dev eth0
  ip -n "$name" addr add "$(ip6 "$1")/64" dev eth0 nodad
  ip -n "$name" link set eth0 up
  ip -n node link set "v-$name" up
  ip -n "$name" route add default via "10.$n.0.1"
  ip -n "$name" route add default via "fd00:$n::1"
}

build() {
  ip netns add node
  ip -n node link set lo up
  nsenter --net=/run/netns/node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  ip -n node link add cni0 type bridge
  ip -n node addr add 10.77.0.1/24 dev cni0
  ip -n node addr add fd00:77::1/64 dev cni0 nodad
  ip -n node link set cni0 up
  local p
  for p in "${pods[@]}"; do
    wire "$p"
    ip -n node link set "v-${p#*/}" master cni0
  done
  wire shop/billing
  ip -n node addr add 10.88.0.1/24 dev v-billing
  ip -n node addr add fd00:88::1/64 dev v-billing nodad
  for p in "${ends[@]}"; do
    nsenter --net="/run/netns/${p#*/}" bin/probe serve --tcp 8080,9090 --reply "$p" >"$work/${p#*/}.log" 2>&1 &
  done
  ready
}

# ready waits until every server answers in its own namespace.
ready() {
  local p i
  for p in "${ends[@]}"; do
    for ((i = 0; i < 50; i++)); do
      nsenter --net="/run/netns/${p#*/}" bin/probe dial --timeout=1s tcp/127.0.0.1:8080 | grep -q '"ok":true' && continue 2
      sleep 0.1
    done
    fail "the server of $p did not start: $(cat "$work/${p#*/}.log")"
  done
}

step "1. A node, four pods and a legacy host, as network namespaces; IPv4 and IPv6"
build
ip -n node -br link show type veth

step "2. Before any policy: who reaches whom on TCP 8080"
reach $work/before
matrix $work/before
expected | sed 's/ no$/ yes/' >$work/open
check $work/before $work/open

step "3. The policies"
cat hack/demo/shop/policies.yaml
run palisade apply "${flags[@]}" "${shop[@]}" --dry-run
run palisade apply "${flags[@]}" "${shop[@]}"

step "4. After: who reaches whom, and who decided each denied pair (from the kernel's flow records)"
reach $work/after
matrix $work/after
expected >$work/expected
check $work/after $work/expected
echo
who $work/after

step "5. The same from the policies alone, without a packet"
code=0
run bin/palisade reach "${shop[@]}" --port 8080/tcp || code=$?
[[ $code == 3 ]] || fail "reach ended with $code: 3 is what says that a pair is denied"
agree "${shop[@]}"
echo "  pair by pair the same, and the same policy and rule"

step "6. A bad policy is refused, and nothing of it is applied"
cat >$work/bad.yaml <<'END'
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: bad, namespace: shop}
spec:
  subject: {pods: {}}
  isolate: Ingress
  ingress: [{name: lan, action: Accept, from: [{ipBlock: {cidr: 10.1.2.3/8}}]}]
END
if run palisade apply "${flags[@]}" "${shop[@]}" -f $work/bad.yaml; then fail "a bad policy was applied"; fi
reach $work/refused
check $work/refused $work/expected
echo "  the pairs are judged as before"

step "7. Nothing runs, and enforcement holds: it is the kernel that judges"
if pgrep -x palisade || pgrep -x nodeagent; then fail "a program of Palisade still runs"; fi
echo "  no process of Palisade runs"
run palisade host "${flags[@]}"
reach $work/alone
check $work/alone $work/expected

step "8. Taken away again, on request only"
run palisade uninstall "${flags[@]}" "${elsewhere[@]}" --yes
reach $work/gone
check $work/gone $work/open
echo "  every pair is open again"

step "Done. What to try next"
cat <<'END'
  make demo                              the same on a real Kubernetes cluster on this machine
  bin/palisade explain -f hack/demo/lite -f hack/demo/shop/policies.yaml \
    --from shop/frontend --to shop/db --port 8080/tcp
  docs/network-policy.md                 how to write policies
END
