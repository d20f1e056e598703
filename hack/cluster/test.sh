#!/bin/bash
# test.sh: does the local cluster do what it says? It uses a cluster of its own name, so that one that
# is in use stays as it is. Exit 0 when every check passed. About two minutes.
#
#   hack/cluster/test.sh            everything
#   hack/cluster/test.sh network    one part: network, workloads, webhook, remains, interrupted
set -euo pipefail

export PALISADE_CLUSTER=paltest
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster=$here/cluster
for part in settings log proc build network images; do
  # shellcheck source=/dev/null
  . "$here/lib/$part.sh"
done
[[ $EUID -eq 0 ]] || die "the cluster needs root"
work=$(mktemp -d)
trap '"$cluster" down >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

failed=0 passed=0
# expect WHAT COMMAND...: the command succeeds. What it printed is shown when it does not.
expect() {
  local what=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $what"
  else
    failed=$((failed + 1))
    echo "FAIL  $what"
    sed 's/^/      /' "$work/out" | tail -n 15
  fi
}
refuse() { ! "$@"; }
within() { # SECONDS COMMAND...: polls, and shows what the last attempt printed
  local end=$((SECONDS + $1))
  shift
  until "$@" >"$work/attempt" 2>&1; do
    ((SECONDS < end)) || { cat "$work/attempt"; return 1; }
    sleep 0.2
  done
}
kc() { "$cluster" kubectl "$@"; }
# prints PATTERN COMMAND...: whatever the command's exit code. The whole output is read: a grep that
# leaves early would make the command fail by its closed pipe.
prints() {
  local pattern=$1 out
  shift
  out=$("$@" 2>&1) || true
  echo "$out"
  grep -q -e "$pattern" <<<"$out"
}

# ---- what the rest needs

deploy() {
  kc apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - {name: web, image: "$AGNHOST_IMAGE", args: [netexec], readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ipFamilyPolicy: RequireDualStack
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
END
  kc rollout status deployment/web --timeout=60s
  # One line per pod: name, node, IPv4, IPv6.
  kc get pods -l app=web --sort-by=.spec.nodeName \
    -o jsonpath='{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIPs[0].ip} {.status.podIPs[1].ip}{"\n"}{end}' >"$work/pods"
}
pod() { sed -n "$1p" "$work/pods" | cut -d' ' -f"$2"; } # 1 and 2 are on n1, 3 and 4 on n2
dial() { kc exec "$1" -- /agnhost connect --timeout=3s "$2"; }
dial_from() { # WHERE TARGET: from a node or from outside
  "$cluster" exec "$1" env PATH="$BIN:/opt/kubernetes/bin" agnhost connect --timeout=3s "$2"
}

# ---- parts

part_network() {
  local v4 v6 n
  expect "two pods on each node" test "$(cut -d' ' -f2 "$work/pods" | tr '\n' ' ')" = "n1 n1 n2 n2 "
  expect "pods have an address of each family" prints '10\.244\.1\.[0-9]* fd00:10:244:1::' cat "$work/pods"
  expect "pod to pod, same node, IPv4" dial "$(pod 1 1)" "$(pod 2 3):8080"
  expect "pod to pod, same node, IPv6" dial "$(pod 1 1)" "[$(pod 2 4)]:8080"
  expect "pod to pod, other node, IPv4" dial "$(pod 1 1)" "$(pod 3 3):8080"
  expect "pod to pod, other node, IPv6" dial "$(pod 1 1)" "[$(pod 3 4)]:8080"
  expect "a closed port is refused" refuse dial "$(pod 1 1)" "$(pod 3 3):81"
  v4=$(kc get service web -o jsonpath='{.spec.clusterIPs[0]}') v6=$(kc get service web -o jsonpath='{.spec.clusterIPs[1]}')
  for n in 1 3; do
    expect "ClusterIP from $(pod $n 2), IPv4" within 10 dial "$(pod $n 1)" "$v4:80"
    expect "ClusterIP from $(pod $n 2), IPv6" within 10 dial "$(pod $n 1)" "[$v6]:80"
  done
  for n in n1 n2; do
    expect "NodePort of $n from outside, IPv4" dial_from out "$(node_ip4 $n):30080"
    expect "NodePort of $n from outside, IPv6" dial_from out "[$(node_ip6 $n)]:30080"
  done
  expect "n1 reaches a pod of its own" dial_from n1 "$(pod 1 3):8080"
  expect "n2 reaches a pod of n1" dial_from n2 "[$(pod 1 4)]:8080"
  expect "outside reaches a pod" dial_from out "$(pod 1 3):8080"
  expect "no node reaches outside of the fabric" refuse dial_from n1 198.51.100.1:80
  expect "the machine is in none of the networks" refuse ip route get "$(pod 1 3)" from 10.90.0.1
  expect "the machine has no interface of the cluster" refuse grep -qE 'cni0|v-n[12]' /proc/net/dev
}

part_workloads() {
  expect "exec" prints "^$(pod 1 1)$" kc exec "$(pod 1 1)" -- hostname
  expect "logs" prints 'HTTP server' kc logs "$(pod 1 1)"
  kc apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: client, image: "$AGNHOST_IMAGE", args: [inclusterclient, --poll-interval=1]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      hostPID: true
      terminationGracePeriodSeconds: 0
      containers:
      - name: agent
        image: $AGNHOST_IMAGE
        args: [pause]
        securityContext: {privileged: true}
        volumeMounts:
        - {name: bpf, mountPath: /sys/fs/bpf, mountPropagation: HostToContainer}
        - {name: state, mountPath: /var/lib/agent}
      volumes:
      - {name: bpf, hostPath: {path: /sys/fs/bpf, type: Directory}}
      - {name: state, hostPath: {path: /var/lib/agent, type: DirectoryOrCreate}}
END
  expect "a privileged DaemonSet of the host's network and pids" kc rollout status daemonset/agent --timeout=60s
  local agent
  agent=$(kc get pods -l app=agent --field-selector spec.nodeName=n1 -o jsonpath='{.items[0].metadata.name}')
  expect "it is in n1's network" prints "$(node_ip4 n1)/24" kc exec "$agent" -- ip addr show eth0
  expect "it sees n1's kubelet and no other" prints '^1$' kc exec "$agent" -- sh -c 'pidof kubelet | wc -w'
  expect "it sees a bpffs and the kernel's types" kc exec "$agent" -- sh -c 'grep -q "/sys/fs/bpf bpf" /proc/mounts && test -s /sys/kernel/btf/vmlinux'
  expect "it writes to n1's disk" kc exec "$agent" -- touch /var/lib/agent/mark
  expect "n1 has it" "$cluster" exec n1 test -e /var/lib/agent/mark
  expect "n2 does not, nor the machine" refuse sh -c "'$cluster' exec n2 test -e /var/lib/agent/mark || test -e /var/lib/agent/mark"
  expect "a pod reaches the API server by its Service, with its token" within 30 prints authz_header=. kc logs client
  mkdir "$work/rootfs"
  cp /bin/busybox "$work/rootfs/"
  "$here/mkimage.sh" "$work/image.tar" palisade.dev/cluster-test:dev "$work/rootfs" '["/busybox"]'
  "$here/mkimage.sh" "$work/again.tar" palisade.dev/cluster-test:dev "$work/rootfs" '["/busybox"]'
  expect "mkimage gives the same bytes again" cmp "$work/image.tar" "$work/again.tar"
  expect "load-image" "$cluster" load-image "$work/image.tar"
  expect "a pod of that image runs" prints '^hello$' kc run hello --image=palisade.dev/cluster-test:dev --restart=Never --attach --quiet -- echo hello
  expect "status" "$cluster" status
  expect "up again says so" prints 'already up' "$cluster" up
}

part_webhook() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" \
    -keyout "$work/tls.key" -out "$work/tls.crt" -subj /CN=hook -addext basicConstraints=CA:FALSE \
    -addext subjectAltName=DNS:hook.default.svc 2>/dev/null
  kc create secret tls hook --cert="$work/tls.crt" --key="$work/tls.key" >/dev/null
  kc apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: {name: hook, labels: {app: hook}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: hook
    image: $AGNHOST_IMAGE
    args: [webhook, --port=8443, --tls-cert-file=/tls/tls.crt, --tls-private-key-file=/tls/tls.key]
    readinessProbe: {httpGet: {path: /readyz, port: 8443, scheme: HTTPS}, periodSeconds: 1}
    volumeMounts: [{name: tls, mountPath: /tls}]
  volumes: [{name: tls, secret: {secretName: hook}}]
---
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {app: hook}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
webhooks:
- name: deny.cluster.test
  clientConfig: {service: {namespace: default, name: hook, path: /always-deny}, caBundle: $(base64 -w0 "$PKI/ca.crt")}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}
  admissionReviewVersions: [v1]
  sideEffects: None
  timeoutSeconds: 3
END
  expect "the webhook's pod is ready" kc wait --for=condition=Ready pod/hook --timeout=60s
  expect "the API server asks a webhook behind a Service" within 20 prints 'deny.cluster.test.*this webhook denies all requests' kc create configmap x
}

# remember: what must be gone after down: processes, with their start time, as pids come back.
remember() { cluster_processes >"$work/processes"; }
cluster_processes() {
  local pid ns inode
  {
    cgroup_pids
    # A process can be in a node's namespaces without being in its cgroup (cluster exec).
    for ns in $(cluster_netns); do
      inode=$(stat -Lc %i "/run/netns/$ns") || continue
      for pid in /proc/[0-9]*; do
        [[ $(readlink "$pid/ns/net" 2>/dev/null) != "net:[$inode]" ]] || echo "${pid#/proc/}"
      done
    done
  } | sort -u | while read -r pid; do echo "$pid $(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)"; done
}
# remember_all PID: whatever the cluster has had while that process, an up, ran.
remember_all() {
  : >"$work/seen"
  while kill -0 "$1" 2>/dev/null; do
    cluster_processes >>"$work/seen" 2>/dev/null || true # they come and go meanwhile
  done
  sort -u "$work/seen" >"$work/processes"
}
gone() {
  local pid start
  while read -r pid start; do
    [[ $(cut -d' ' -f3,22 "/proc/$pid/stat" 2>/dev/null) != [!Z]" $start" ]] || { ps -fp "$pid"; return 1; }
  done <"$work/processes"
}
no_mounts() { ! grep -e "$STATE" -e "/run/netns/$CLUSTER-" /proc/self/mountinfo; }
none() { local out; out=$("$@"); echo "$out"; [[ -z $out ]]; }
expect_nothing_left() { # AFTER
  expect "after $1: no process" within 10 gone
  expect "after $1: no network namespace" none cluster_netns
  expect "after $1: no cgroup" none cgroup_dirs
  expect "after $1: no mount" no_mounts
  expect "after $1: no state" test ! -e "$STATE"
  expect "after $1: no lock" test ! -e "$LOCK"
}

# sleepers COUNT: that many processes of the cluster are "sleep 1000".
sleepers() {
  local pid count=0
  for pid in $(cgroup_pids); do
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != "sleep 1000 " ]] || count=$((count + 1))
  done
  [[ $count -eq $1 ]]
}

part_remains() {
  local where
  remember
  expect "there was something to leave behind" test "$(wc -l <"$work/processes")" -gt 20
  for where in n1 out; do
    "$cluster" exec $where sleep 1000 2>/dev/null &
    disown
  done
  expect "two commands run in it" within 5 sleepers 2
  remember
  expect "down" "$cluster" down
  expect_nothing_left down
  expect "after down: no logs" test ! -e "$LOGS"
  expect "down again" "$cluster" down
  expect "status of nothing" refuse "$cluster" status
}

part_interrupted() {
  local broken=$work/cache/k8s/$KUBE_VERSION-$build_hash pid
  expect "up for the control plane alone" "$cluster" up --control-plane-only
  expect "its API server answers" kc get namespace default
  expect "up with nodes says that it has none" prints 'up with 0 nodes, not 2' "$cluster" up
  remember
  kill -KILL "$(<"$RUN/etcd.pid")"
  expect "status sees that etcd is dead" within 10 prints 'etcd is not running' "$cluster" status
  expect "and fails" refuse "$cluster" status
  expect "down without etcd" "$cluster" down
  expect_nothing_left "etcd was killed"

  mkdir -p "$broken"
  cp -rs "$BIN" "$IMAGES" "$broken/"
  ln -sf /bin/false "$broken/bin/kube-controller-manager"
  PALISADE_CACHE="$work/cache" "$cluster" up >"$work/said" 2>&1 &
  pid=$!
  remember_all $pid
  expect "up with a broken binary fails" refuse wait $pid
  expect "and says why" prints 'kube-controller-manager ended' cat "$work/said"
  expect "there was something to leave behind" test "$(wc -l <"$work/processes")" -gt 5
  expect_nothing_left "a failed up"
  expect "a failed up leaves its logs" test -s "$LOGS/etcd.log"

  ln -sf /bin/false "$broken/bin/etcd"
  # Nobody reads what it says: the closed pipe must not keep it from cleaning up.
  PALISADE_CACHE=$work/cache "$cluster" up > >(:) 2>&1 &
  pid=$!
  remember_all $pid
  expect "up into a closed pipe, with another broken binary, fails" refuse wait $pid
  expect "there was something to leave behind then" test "$(wc -l <"$work/processes")" -gt 2
  expect_nothing_left "a failed up into a closed pipe"

  "$cluster" up >/dev/null 2>&1 &
  pid=$!
  within 20 test -e "$(node_dir n2)/pid"
  remember
  kill -KILL $pid
  wait $pid 2>/dev/null || true
  expect "down after a killed up" "$cluster" down
  expect_nothing_left "a killed up"

  "$cluster" up >/dev/null 2>&1 &
  pid=$!
  within 20 test -e "$(node_dir n2)/pid"
  remember
  kill -TERM $pid
  wait $pid 2>/dev/null || true
  expect_nothing_left "a terminated up"
}
node_dir() { echo "$STATE/nodes/$1"; }

parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(network workloads webhook remains interrupted)
if [[ " ${parts[*]} " != " interrupted " ]]; then
  # Through a pipe: a daemon that kept it open would hang us here.
  from=$SECONDS
  expect "up" prints 'nodes ready: n1 n2' timeout 300 "$cluster" up
  echo "      took $((SECONDS - from)) s"
  expect "deploy" deploy
  ((failed == 0)) || { echo "nothing to test without these"; exit 1; }
fi
for part in "${parts[@]}"; do
  "part_$part"
done
echo "passed=$passed failed=$failed"
[[ $failed -eq 0 ]]
