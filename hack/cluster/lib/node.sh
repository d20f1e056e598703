# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# A node: network, mount, pid, cgroup, uts and ipc namespaces of its own, and in them containerd,
# kubelet and kube-proxy. This file writes what the node finds in its /etc; node-init.sh is its pid 1.

node_dir() { echo "$STATE/nodes/$1"; }

# prepare_node NODE: the files. etc is the upper layer of the node's /etc.
prepare_node() {
  local node=$1 dir etc internal
  dir=$(node_dir "$node") etc=$dir/etc internal=https://$(fabric4 $CP_HOST):6443
  mkdir -p "$dir"/{etc-work,tmp,sysctl,opt/cni/bin,opt/kubernetes/{bin,images}} \
    "$dir"/var/{log/kubernetes,lib/kubelet,lib/containerd,lib/cni,tmp} \
    "$etc"/{cni/net.d,containerd,kubernetes/{pki,manifests}}
  chmod 1777 "$dir/tmp" "$dir/var/tmp"
  ln -sfn /run "$dir/var/run"
  # Links, so that a product can put its own plugin beside them without touching the machine's.
  ln -sfn /usr/lib/cni/* "$dir/opt/cni/bin/"

  echo "$node" >"$etc/hostname"
  tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
  echo "nameserver $DNS_SERVICE_IP" >"$etc/kubernetes/resolv.conf"
  cp "$PKI/ca.crt" "$etc/kubernetes/pki/"
  cp "$PKI/$node.crt" "$etc/kubernetes/pki/kubelet.crt"
  cp "$PKI/$node.key" "$etc/kubernetes/pki/kubelet.key"
  kubeconfig "$node" "$internal" >"$etc/kubernetes/kubelet.kubeconfig"
  kubeconfig kube-proxy "$internal" >"$etc/kubernetes/kube-proxy.kubeconfig"
  chmod 600 "$etc"/kubernetes/*.kubeconfig "$etc/kubernetes/pki/kubelet.key"
  containerd_config >"$etc/containerd/config.toml"
  cni_config "$node" >"$etc/cni/net.d/10-bridge.conflist"
  kubelet_config "$node" >"$etc/kubernetes/kubelet.yaml"
  kube_proxy_config "$node" >"$etc/kubernetes/kube-proxy.yaml"
}

cni_config() {
  cat <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [
     [{"subnet": "$(pod_cidr4 "$1")"}], [{"subnet": "$(pod_cidr6 "$1")"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
}

# oom_score and restrict_oom_score_adj: lowering oom_score_adj takes CAP_SYS_RESOURCE, which a
# machine that is itself a container or a sandbox may not have.
containerd_config() {
  cat <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
END
}

kubelet_config() {
  cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: "::"
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/pki/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/pki/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
staticPodPath: /etc/kubernetes/manifests
resolvConf: /etc/kubernetes/resolv.conf
clusterDomain: $DOMAIN
clusterDNS: [$DNS_SERVICE_IP]
maxPods: 200
serializeImagePulls: false
# The disk is the machine's: its being full is not this node's to judge, and there is no registry
# from which a collected image could come back.
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
END
}

# The zeroes of conntrack leave the machine's global limits alone.
kube_proxy_config() {
  cat <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $POD_CIDRS
hostnameOverride: $1
oomScoreAdj: 0
clientConnection: {kubeconfig: /etc/kubernetes/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
END
}

# start_node NODE: containerd and the images; kubelet waits for release_nodes, so that all this
# happens while the API server starts.
start_node() {
  spawn "$1" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    NODE="$1" NODE_DIR="$(node_dir "$1")" NODE_IPS="$(node_ip4 "$1"),$(node_ip6 "$1")" \
    CGROUP2_DIR="$(cgroup2_dir)/$CGROUP/$1" BIN="$BIN" IMAGES="$IMAGES" LOGS="$LOGS" \
    nsenter --net="/run/netns/$(netns "$1")" \
    unshare --cgroup bash "$cluster_dir/lib/node-init.sh" enter
}

release_node() { touch "$(node_dir "$1")/start"; }

# in_node NODE COMMAND...: in all of the node's namespaces; cp and out have a network only.
# replace=exec makes the command take the shell's place.
in_node() {
  local node=$1 pid
  shift
  case $node in
    cp | out | fab) in_netns "$(netns "$node")" "$@" ;;
    *)
      pid=$(cat "$(node_dir "$node")/pid" 2>/dev/null) || die "no node \"$node\" (there are: $(nodes | tr '\n' ' ')cp out fab)"
      ${replace-} nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup --wd=/ -- \
        env PATH=/opt/kubernetes/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
      ;;
  esac
}
