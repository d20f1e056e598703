# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# etcd, kube-apiserver, controller-manager and scheduler, in the network namespace cp. They need no
# other namespace: they start no containers.

start_apiserver() {
  local cp api4 etcd=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
  cp=$(netns cp) api4=$(fabric4 $CP_HOST)
  # The data goes away with the cluster, so nothing has to reach the disk.
  spawn etcd nsenter --net="/run/netns/$cp" "$BIN/etcd" --name etcd --data-dir "$STATE/etcd" \
    --unsafe-no-fsync --listen-client-urls $etcd --advertise-client-urls $etcd \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster etcd=$peer
  # Aggregator routing makes the API server call Services by the address of an endpoint: there is no
  # kube-proxy in this namespace to translate a ClusterIP.
  spawn kube-apiserver nsenter --net="/run/netns/$cp" "$BIN/kube-apiserver" \
    --etcd-servers=$etcd --bind-address=:: --advertise-address="$api4" --secure-port=6443 \
    --service-cluster-ip-range="$SERVICE_CIDRS" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --enable-aggregator-routing=true \
    --client-ca-file="$PKI/ca.crt" \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" \
    --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --service-account-issuer="https://kubernetes.default.svc.$DOMAIN" \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" \
    --requestheader-allowed-names=front-proxy --requestheader-username-headers=X-Remote-User \
    --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
    --v=1
  start_forward
  wait_until 60 kube-apiserver "the API server" kube get --raw /readyz
  say "API server ready on https://127.0.0.1:$(<"$RUN/port")"
}

# start_forward: a way from the machine's namespace to the API server that is no network between
# them. A unix socket has a path, not a network namespace: one socat listens on 127.0.0.1 here and
# connects to it, the other listens on it and connects to the API server there.
start_forward() {
  local port
  port=$(free_port)
  echo "$port" >"$RUN/port"
  spawn forward-in nsenter --net="/run/netns/$(netns cp)" socat -t 30 -b 65536 \
    "UNIX-LISTEN:$RUN/api.sock,fork,mode=600,backlog=512" TCP:127.0.0.1:6443
  spawn forward-out socat -t 30 -b 65536 \
    "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork,backlog=512" "UNIX-CONNECT:$RUN/api.sock"
  kubeconfig admin "https://127.0.0.1:$port" >"$STATE/kubeconfig.new"
  chmod 600 "$STATE/kubeconfig.new"
  mv "$STATE/kubeconfig.new" "$STATE/kubeconfig"
}

# free_port: below the range from which the kernel picks, so that no connection has it by chance.
free_port() {
  local port
  for port in $(seq 16443 16542); do
    if [[ -z $(ss -Htln "sport = :$port") ]]; then echo "$port"; return; fi
  done
  die "no free port on 127.0.0.1 between 16443 and 16542"
}

start_managers() {
  local cp internal
  cp=$(netns cp) internal=https://$(fabric4 $CP_HOST):6443
  kubeconfig controller-manager "$internal" >"$PKI/controller-manager.kubeconfig"
  kubeconfig scheduler "$internal" >"$PKI/scheduler.kubeconfig"
  # Pod ranges stand in the Nodes already (bootstrap_objects), so none are allocated here: n1 shall
  # have 10.244.1.0/24 whichever node comes first.
  spawn kube-controller-manager nsenter --net="/run/netns/$cp" "$BIN/kube-controller-manager" \
    --kubeconfig="$PKI/controller-manager.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
    --use-service-account-credentials --service-account-private-key-file="$PKI/sa.key" \
    --root-ca-file="$PKI/ca.crt" --cluster-signing-cert-file="$PKI/ca.crt" \
    --cluster-signing-key-file="$PKI/ca.key" --allocate-node-cidrs=false \
    --cluster-cidr="$POD_CIDRS" --service-cluster-ip-range="$SERVICE_CIDRS" --v=1
  spawn kube-scheduler nsenter --net="/run/netns/$cp" "$BIN/kube-scheduler" \
    --kubeconfig="$PKI/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 --v=1
}

# kube ARGS...: kubectl as the cluster's administrator.
kube() {
  env -u HTTPS_PROXY -u https_proxy "$BIN/kubectl" --kubeconfig "$STATE/kubeconfig" "$@"
}

# bootstrap_objects NODE...: Nodes, made before the kubelets register, which then find their pod ranges
# in them, and the rights that an installer gives.
bootstrap_objects() {
  local node
  cat <<END
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:node-proxier"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:kube-proxy"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-apiserver-kubelet-client}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kube-apiserver-kubelet-client}]
END
  for node in "$@"; do
    cat <<END
---
apiVersion: v1
kind: Node
metadata: {name: $node}
spec: {podCIDR: $(pod_cidr4 "$node"), podCIDRs: [$(pod_cidr4 "$node"), "$(pod_cidr6 "$node")"]}
END
  done
}
