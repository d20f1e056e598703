#!/usr/bin/env bash
# demo.sh: a small shop on a real cluster, before and after its policies.
#
#   make demo            the local cluster: started, shown, stopped again
#   KEEP=1 make demo     leaves the cluster up to play with
#   KIND=1 make demo, KUBECONFIG=… make demo     on a cluster that the user has
#
# Every step checks what it shows; the demo fails where the kernel's verdict is
# not the expected one, or where a denied pair has nobody who answers for it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
# shellcheck source=hack/cluster/target.sh
. hack/cluster/target.sh
# shellcheck source=hack/demo/shop.sh
. hack/demo/shop.sh

work=$(mktemp -d)
outside_pid=
installed=
away=
agent=app.kubernetes.io/name=palisade-nodeagent
policies=(-f hack/demo/shop/policies.yaml -f hack/demo/shop/runtime.yaml)
shop=("${policies[@]}" -f hack/demo/shop/workloads.yaml)

finish() {
  local code=$?
  [[ -z $outside_pid ]] || kill "$outside_pid" 2>/dev/null || true
  if [[ $code -ne 0 ]]; then
    printf '\ndemo: stopped by an error after %d s\n' $SECONDS >&2
  fi
  if [[ -n $away && ( -n ${KEEP-} || $TARGET != local ) ]]; then agents_back || true; fi
  if [[ $TARGET == local ]]; then
    if [[ -n ${KEEP-} ]]; then
      echo "KEEP is set: the cluster stays up; hack/install.sh down stops it"
    else
      hack/install.sh down || code=1
    fi
  else
    if [[ -n ${KEEP-} ]]; then
      echo "KEEP is set: the shop stays; kubectl delete ${shop[*]} removes it"
    else
      hack/install.sh kubectl delete --ignore-not-found "${shop[@]}" || code=1
      target_down
    fi
    [[ -z $installed ]] ||
      echo "Palisade stays on your cluster, CNI plugin and webhook too; hack/install.sh remove, with the same variables, takes it off"
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

declare -A v4=([$billing]=10.90.0.100) v6=([$billing]=fd00:10:90::100)
ip4() { echo "${v4[$1]}"; }
ip6() { echo "${v6[$1]}"; }
# A host beside the cluster is there only if the cluster is ours.
[[ $TARGET == local ]] || ends=("${pods[@]}")

look_up() {
  local p
  for p in "${pods[@]}"; do
    read -r "v4[$p]" "v6[$p]" < <(kubectl get pod -n "${p%/*}" "${p#*/}" -o jsonpath='{.status.podIPs[*].ip}{"\n"}')
    [[ -n ${v6[$p]} ]] || fail "pod $p has only the address ${v4[$p]}: the demo needs a dual-stack cluster"
  done
}

dial() { # FROM TARGET...
  local from=$1
  shift
  if [[ $from == "$billing" ]]; then
    hack/cluster/cluster exec out "$PWD/bin/probe" dial --timeout=1s "$@"
  else
    kubectl exec -n "${from%/*}" "${from#*/}" -- /probe dial --timeout=1s "$@"
  fi
}

agent_pods() { kubectl get pods -n palisade-system -l "$agent" -o name; }

# agents: what is there of agents: pod/NAME, and on the local cluster, whose nodes can be looked
# into, NODE/PID/comm.
agents() {
  local node
  agent_pods || return 1
  [[ $TARGET == local ]] || return 0
  for node in n1 n2; do
    hack/cluster/cluster exec "$node" sh -c 'echo looked; grep -lsx nodeagent /proc/[0-9]*/comm; true' >"$work/looked" || return 1
    grep -qx looked "$work/looked" || return 1
    sed -n "s|^/proc/|$node/|p" "$work/looked"
  done
}

# place_agents VALUE: only on nodes with this label, which none has; null: on all again.
place_agents() {
  run kubectl patch daemonset -n palisade-system palisade-nodeagent --type=merge \
    -p "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"palisade.dev/demo-away\":$1}}}}}"
}

agents_back() {
  place_agents null && kubectl -n palisade-system rollout status daemonset/palisade-nodeagent --timeout=120s || return 1
  away=
}

# denials: the records of all agents.
denials() {
  local pod
  for pod in $(agent_pods); do
    kubectl exec -n palisade-system "$pod" -c nodeagent -- /palisade flows -o json --verdict Deny
  done
}

step "1. The cluster, and Palisade on it"
if [[ $TARGET == local ]]; then hack/deps.sh cluster; fi
installed=1
hack/install.sh up
if [[ $TARGET == local ]]; then KUBECONFIG=$(hack/cluster/cluster kubeconfig); export KUBECONFIG; else target_up; fi
run kubectl get nodes -o wide
run kubectl get pods -n palisade-system -o wide

step "2. A small shop: frontend, backend, db; an outsider; a legacy host outside the cluster"
if [[ $TARGET == local ]]; then
  hack/cluster/cluster exec out "$PWD/bin/probe" serve --tcp 8080,9090 --reply billing &
  outside_pid=$!
fi
# What an earlier demo with KEEP left behind.
kubectl delete --ignore-not-found "${policies[@]}"
echo '$ kubectl apply -f hack/demo/shop/workloads.yaml'
hack/install.sh manifests hack/demo/shop/workloads.yaml | kubectl apply -f -
kubectl wait --for=condition=Ready pod -n shop --all --timeout=90s
kubectl wait --for=condition=Ready pod -n outsider --all --timeout=90s
look_up

step "3. Before any policy: who reaches whom on TCP 8080, over IPv4 and IPv6"
expected | sed 's/ no$/ yes/' >"$work/open"
for _ in 1 2 3 4 5; do # deleting has no condition to wait for
  reach "$work/before"
  if ! grep -q ' no$' "$work/before"; then break; fi
done
matrix "$work/before"
check "$work/before" "$work/open"

step "4. The policies, and waiting until every node enforces them"
[[ $TARGET != local ]] || run kubectl apply -f hack/demo/shop/external.yaml
run kubectl apply -f hack/demo/shop/policies.yaml
run kubectl wait --for=condition=Ready -n shop pnp/db pnp/backend --timeout=60s
run kubectl wait --for=condition=Ready cwp/no-outsiders --timeout=60s
run kubectl get palisade -A

step "5. After: who reaches whom, and who decided each denied pair"
reach "$work/after"
matrix "$work/after"
expected >"$work/expected"
check "$work/after" "$work/expected"
echo
who "$work/after"
agree --kubeconfig "$KUBECONFIG"
echo "  palisade reach says the same of the pods, pair by pair, from the policies alone"

step "6. A question before a change: why can frontend not connect to db?"
printf '$ palisade explain --from shop/frontend --to shop/db --port 8080/tcp\n'
code=0
bin/palisade explain --from shop/frontend --to shop/db --port 8080/tcp || code=$?
[[ $code == 3 ]] || fail "palisade explain exited $code, want 3 (Deny)"

step "7. Bad policies are refused, with the reason"
refused() { # TITLE, manifest on standard input
  local out
  printf -- '- %s\n' "$1"
  if out=$(kubectl apply -f - 2>&1); then fail "\"$1\" was accepted: $out"; fi
  sed 's/^/    /' <<<"$out"
}
refused "a CIDR with host bits" <<'END'
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: bad, namespace: shop}
spec:
  subject: {pods: {}}
  isolate: Ingress
  ingress: [{name: lan, action: Accept, from: [{networks: [10.1.2.3/8]}]}]
END
refused "a policy that cuts off the policy system itself" <<'END'
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: bad}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}}
  ingress: [{name: all, action: Deny}]
END

step "8. Processes: a policy that kills one program, and nothing else"
tool() { # POD: whether /tool comes to its own end there
  if kubectl exec -n "${1%/*}" "${1#*/}" -- /tool dial --timeout=1s "tcp/$(ip4 "$1"):8080" >/dev/null 2>&1; then echo runs; else echo stopped; fi
}
[[ $(tool shop/db) == runs ]] || fail "/tool does not run in shop/db before any policy says so"
echo "  /tool runs in shop/db"
run kubectl apply -f hack/demo/shop/runtime.yaml
run kubectl wait --for=condition=Ready -n shop rtp/db --timeout=60s
[[ $(tool shop/db) == stopped ]] || fail "/tool still runs in shop/db"
[[ $(tool shop/backend) == runs ]] || fail "/tool does not run in shop/backend, of which the policy says nothing"
echo "  /tool is stopped in shop/db, and runs in shop/backend"
run kubectl get rtp -n shop db -o 'custom-columns=POLICY:.metadata.name,HOW:.status.conditions[?(@.type=="Programmed")].message'
for pod in $(agent_pods); do
  kubectl exec -n palisade-system "$pod" -c nodeagent -- /palisade events --policy rtp/shop/db
done | tee "$work/killed-by" | sed 's/^/  /'
grep -q 'shop/db/.*executables/tool' "$work/killed-by" || fail "no agent tells of it"

step "9. The agents are killed and kept away; the kernel goes on enforcing"
agents >"$work/agents" || fail "who runs on the nodes cannot be seen"
for node in pod $([[ $TARGET != local ]] || echo n1 n2); do
  grep -q "^$node/" "$work/agents" || fail "$node: no agent to kill is seen"
done
# A label that no node has keeps new ones away.
away=1
place_agents '"true"'
run kubectl delete pod -n palisade-system -l "$agent" --ignore-not-found --grace-period=1 --timeout=60s
for ((i = 0; ; i++)); do
  left=$(agents) || fail "who runs on the nodes cannot be seen"
  [[ -n $left ]] || break
  ((i < 60)) || fail "agents still run: $left"
  sleep 1
done
echo "  no agent runs on any node"
reach "$work/killed"
check "$work/killed" "$work/expected"
echo "  the same pairs are denied and allowed"
[[ $(tool shop/db) == stopped ]] || fail "/tool runs in shop/db while no agent does"
[[ $(tool shop/backend) == runs ]] || fail "/tool does not run in shop/backend while no agent does"
echo "  and /tool is still stopped"
left=$(agents) || fail "who runs on the nodes cannot be seen"
[[ -z $left ]] || fail "an agent has come back meanwhile: $left"
agents_back
reach "$work/back"
check "$work/back" "$work/expected"
echo "  and again with the agents back"

step "Done. What to try next"
cat <<'END'
  KEEP=1 make demo                       leaves all of this running
  kubectl get palisade -A                every object of ours, and where it is in force
  kubectl describe pnp -n shop db        its conditions and events
  bin/palisade reach --port 8080/tcp     all pairs, from the policies alone
  bin/palisade explain --from NS/POD --to NS/POD --port 8080/tcp
  docs/network-policy.md, docs/runtime-policy.md        how to write policies
END
