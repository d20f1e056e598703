# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# The fabric: a bridge in a namespace of its own, and one veth for each member. The machine's own
# namespace is not a member, so no packet of a pod can leave the machine, and no address here can
# meet one outside.

network_up() { # NODE...
  local fab node member peer
  fab=$(netns fab)
  ip netns add "$fab"
  quick_ipv6 "$fab"
  ip -n "$fab" link set lo up
  ip -n "$fab" link add br0 type bridge
  ip -n "$fab" link set br0 up
  ip -n "$fab" addr add "$(fabric4 $GATEWAY_HOST)/24" dev br0
  ip -n "$fab" addr add "$(fabric6 $GATEWAY_HOST)/64" dev br0

  join cp $CP_HOST
  join out $OUTSIDE_HOST
  for node in "$@"; do join "$node" "$(node_host "$node")"; done

  # Every member knows where the pods of the other nodes live, as a cloud's router would. The
  # API server needs it too: it calls webhooks and aggregated APIs by the address of a pod.
  for member in cp out "$@"; do
    for peer in "$@"; do
      [[ $member != "$peer" ]] || continue
      ip -n "$(netns "$member")" route add "$(pod_cidr4 "$peer")" via "$(node_ip4 "$peer")"
      ip -n "$(netns "$member")" route add "$(pod_cidr6 "$peer")" via "$(node_ip6 "$peer")"
    done
  done
}

# join MEMBER HOST: a namespace with eth0 on the fabric.
join() {
  local fab ns
  fab=$(netns fab) ns=$(netns "$1")
  ip netns add "$ns"
  quick_ipv6 "$ns"
  ip -n "$ns" link set lo up
  ip -n "$fab" link add "v-$1" type veth peer name eth0 netns "$ns"
  ip -n "$fab" link set "v-$1" master br0 up
  ip -n "$ns" link set eth0 up
  ip -n "$ns" addr add "$(fabric4 "$2")/24" dev eth0
  ip -n "$ns" addr add "$(fabric6 "$2")/64" dev eth0
  ip -n "$ns" route add default via "$(fabric4 $GATEWAY_HOST)"
  ip -n "$ns" route add default via "$(fabric6 $GATEWAY_HOST)"
}

# quick_ipv6 NETNS: without duplicate address detection an address is usable at once; with it,
# every daemon that binds one has to wait two seconds.
quick_ipv6() {
  local conf
  for conf in all default; do
    in_netns "$1" sh -c "echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_ra"
  done
}

# in_netns NETNS COMMAND...: like "ip netns exec", which would also remount /sys.
in_netns() {
  local ns=$1
  shift
  ${replace-} nsenter --net="/run/netns/$ns" -- "$@"
}

cluster_netns() {
  local path
  for path in /run/netns/"$CLUSTER"-{fab,cp,out,n[1-9]}; do
    if [[ -e $path ]]; then echo "${path##*/}"; fi
  done
}

network_down() {
  local ns
  for ns in $(cluster_netns); do ip netns del "$ns"; done
}
