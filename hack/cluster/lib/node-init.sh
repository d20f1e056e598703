#!/bin/bash
# Pid 1 of a node. It runs in the node's namespaces, mounts what a node sees, starts the node's
# daemons and reaps what they leave. Killing it ends the node: the kernel then ends every process of
# the pid namespace, and with the last one the mount namespace and all its mounts.
#
# Started as "node-init.sh enter" in the node's network and cgroup namespace, it makes the others.
set -euo pipefail
cd "$NODE_DIR"

only_cgroup2() { ! grep -qv '^0:' /proc/self/cgroup; }

if [[ $1 == enter ]]; then
  if only_cgroup2; then
    # Here a cgroup that hands controllers down holds no process itself, and kubelet wants the
    # controllers in its root: so we move on into a leaf, and hand them down.
    mkdir -p "$CGROUP2_DIR/node"
    echo 0 >"$CGROUP2_DIR/node/cgroup.procs"
    for controller in $(<"$CGROUP2_DIR/cgroup.controllers"); do
      echo "+$controller" >"$CGROUP2_DIR/cgroup.subtree_control"
    done
  fi
  exec unshare --mount --propagation private --pid --uts --ipc --fork --kill-child bash "$0" init
fi

mount_cgroups() {
  local controllers dir kind
  if only_cgroup2; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    return
  fi
  # Version 1 hierarchies, and version 2 beside them, as on the machine.
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case $controllers in
      "") dir=unified kind=(-t cgroup2) ;;
      name=*) dir=${controllers#name=} kind=(-t cgroup -o "none,$controllers") ;;
      *) dir=$controllers kind=(-t cgroup -o "$controllers") ;;
    esac
    mkdir "/sys/fs/cgroup/$dir"
    mount "${kind[@]}" cgroup "/sys/fs/cgroup/$dir"
  done </proc/self/cgroup
}

# The machine's /proc is still mounted here and shows the pid by which the outside knows us.
read -r pid _ </proc/self/stat
echo "$pid" >pid
hostname "$NODE"

# Network namespaces that others have named must be free to go while this node lives.
umount --recursive --lazy /run/netns 2>/dev/null || true

# What the node needs from outside goes below its own directories before these hide the outside.
mount --bind "$BIN" opt/kubernetes/bin
mount -o remount,bind,ro opt/kubernetes/bin
mount --bind "$IMAGES" opt/kubernetes/images
mount -o remount,bind,ro opt/kubernetes/images
mount --bind "$LOGS" var/log/kubernetes

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount_cgroups
mount -t bpf -o mode=700 bpf /sys/fs/bpf

# kubelet insists on global sysctls. Files in their place let it read and write what it wants
# without changing the machine.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=sysctl/${setting//\//_}
  file=${file%=*}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

# These belong to the network namespace. bridge-nf-call-* is what Kubernetes asks of every node;
# other bridge settings keep the kernel's defaults.
for setting in net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv6/conf/default/forwarding \
  net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-call-ip6tables; do
  echo 1 >"/proc/sys/$setting"
done

mount -t overlay overlay -o "lowerdir=/etc,upperdir=$NODE_DIR/etc,workdir=$NODE_DIR/etc-work" /etc
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/netns
mount --rbind opt /opt
mount --bind tmp /tmp
mount --rbind var /var
mount --make-rshared /

bin=/opt/kubernetes/bin
daemon() {
  local name=$1
  shift
  "$@" >>"/var/log/kubernetes/$NODE-$name.log" 2>&1 &
  echo $! >"/run/$name.pid"
}

rm -f /var/log/kubernetes/"$NODE"-*.log
daemon containerd containerd --config /etc/containerd/config.toml
until ctr version >/dev/null 2>&1; do
  kill -0 "$(</run/containerd.pid)" || { tail /var/log/kubernetes/"$NODE"-containerd.log; exit 1; }
  sleep 0.05
done
for image in /opt/kubernetes/images/*.tar; do
  ctr -n k8s.io images import "$image"
done
touch imported

until [[ -e start ]]; do sleep 0.05; done
daemon kubelet $bin/kubelet --config=/etc/kubernetes/kubelet.yaml \
  --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --hostname-override="$NODE" --node-ip="$NODE_IPS" --v=2
daemon kube-proxy $bin/kube-proxy --config=/etc/kubernetes/kube-proxy.yaml --v=2

# Shims and whatever else loses its parent come to us.
while :; do wait -n || true; sleep 0.1; done
