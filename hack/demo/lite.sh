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

bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 ]] || bold='' plain=''
step() { printf '\n%s[%3d s] %s%s\n' "$bold" $SECONDS "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

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

work=/run/lite shop=(-f hack/demo/lite -f hack/demo/shop/policies.yaml)
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p $work /run/netns

palisade() { nsenter --net=/run/netns/node bin/palisade "$@"; }
flags=(--node lite --state-dir $work/state)

pods=(shop/frontend shop/backend shop/db outsider/stranger)
ends=("${pods[@]}" shop/billing)
declare -A host=([shop/frontend]=11 [shop/backend]=12 [shop/db]=13 [outsider/stranger]=14 [shop/billing]=100)
net() { [[ $1 == shop/billing ]] && echo 88 || echo 77; }
ip4() { echo "10.$(net "$1").0.${host[$1]}"; }
ip6() { echo "fd00:$(net "$1")::${host[$1]}"; }

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

# reach FILE: who reaches whom on TCP 8080, a line a pair: FROM TO yes|no. Both
# families are tried, and have to agree.
reach() {
  local from to targets
  for from in "${ends[@]}"; do
    targets=()
    for to in "${ends[@]}"; do
      [[ $to == "$from" ]] || targets+=("tcp/$(ip4 "$to"):8080" "tcp/[$(ip6 "$to")]:8080")
    done
    nsenter --net="/run/netns/${from#*/}" bin/probe dial --timeout=700ms "${targets[@]}" >"$work/dialled.${from#*/}" &
    dialling+=($!)
  done
  wait "${dialling[@]}"
  dialling=()
  for from in "${ends[@]}"; do
    for to in "${ends[@]}"; do
      [[ $to == "$from" ]] || answer "$from" "$to"
    done
  done >"$1"
}
dialling=()

answer() { # FROM TO
  local said
  said=$(grep -F -e "\"tcp/$(ip4 "$2"):8080\"" -e "\"tcp/[$(ip6 "$2")]:8080\"" "$work/dialled.${1#*/}" | grep -o '"ok":[a-z]*' | sort | uniq -c | tr -s ' ')
  case $said in
    ' 2 "ok":true') echo "$1 $2 yes" ;;
    ' 2 "ok":false') echo "$1 $2 no" ;;
    *) echo "$1 $2 families-differ" ;;
  esac
}

matrix() { # FILE
  awk -v bold="$bold" -v plain="$plain" '
    !($1 in seen) { seen[$1] = 1; names[++n] = $1 }
    { cell[$1, $2] = $3 }
    END {
      printf "  %-18s", "from \\ to"; for (i = 1; i <= n; i++) printf "%-18s", names[i]; print ""
      for (i = 1; i <= n; i++) {
        printf "  %-18s", names[i]
        for (j = 1; j <= n; j++) printf "%-18s", i == j ? "." : cell[names[i], names[j]]
        print ""
      }
    }' "$1"
}

expected() {
  cat <<'END'
shop/frontend shop/backend yes
shop/frontend shop/db no
shop/frontend outsider/stranger yes
shop/frontend shop/billing yes
shop/backend shop/frontend yes
shop/backend shop/db yes
shop/backend outsider/stranger yes
shop/backend shop/billing yes
shop/db shop/frontend no
shop/db shop/backend no
shop/db outsider/stranger no
shop/db shop/billing no
outsider/stranger shop/frontend no
outsider/stranger shop/backend no
outsider/stranger shop/db no
outsider/stranger shop/billing yes
shop/billing shop/frontend yes
shop/billing shop/backend yes
shop/billing shop/db no
shop/billing outsider/stranger yes
END
}

check() { # FILE EXPECTED
  diff <(sort "$2") <(sort "$1") >"$work/diff" || fail "the kernel judged otherwise than expected (< expected, > seen):
$(cat "$work/diff")"
}

# who FILE: for every denied pair, who decided it, over each family.
who() {
  palisade flows "${flags[@]}" -o json --verdict Deny >"$work/flows"
  local from to seen family by
  while read -r from to seen; do
    [[ $seen == no ]] || continue
    for family in "$(ip4 "$to")" "$(ip6 "$to")"; do
      by=$(jq -rs --arg from "$from" --arg to "$to" --arg addr "$family" '
        [.[] | select("\(.from.namespace)/\(.from.name)" == $from and "\(.to.namespace)/\(.to.name)" == $to
                      and .to.addr == $addr and .to.port == 8080)] | last
        | if . == null then "" else "\(.direction) \(.tier) \(.policy) \(.rule)" end' "$work/flows")
      [[ -n $by ]] || fail "nobody says who denied $from -> $to ($family)"
    done
    printf '  %-18s -> %-18s %s\n' "$from" "$to" "$by"
  done <"$1"
}

step "1. A node, four pods and a legacy host, as network namespaces; IPv4 and IPv6"
build
ip -n node -br link show type veth

step "2. Before any policy: who reaches whom on TCP 8080"
reach $work/before
matrix $work/before
sed 's/ no$/ yes/' <(expected) >$work/open
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
run bin/palisade reach "${shop[@]}" --port 8080/tcp

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
echo "  no process of Palisade; pinned: $(ls /sys/fs/bpf/palisade | tr '\n' ' ')"
reach $work/alone
check $work/alone $work/expected

step "8. Taken away again, on request only"
run palisade uninstall "${flags[@]}" --yes
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
