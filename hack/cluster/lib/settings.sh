# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# Names, places and addresses. Sourced by cluster and by the scripts beside it.

cluster_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repo_dir=$(cd "$cluster_dir/../.." && pwd)

# Two clusters differ in their name only: their addresses may be equal, because no network
# namespace of one is joined to one of the other, nor to the machine's own.
CLUSTER=${PALISADE_CLUSTER:-pal}
# cgroup and namespace names are made from it, and down removes what bears it.
[[ $CLUSTER =~ ^[a-z][a-z0-9]{0,11}$ ]] ||
  { echo "PALISADE_CLUSTER=$CLUSTER: use one to twelve lower-case letters and digits, a letter first" >&2; exit 2; }

CACHE=${PALISADE_CACHE:-${HOME:-/root}/.cache/palisade}
STATE_HOME=${PALISADE_CLUSTER_HOME:-/var/lib/palisade-cluster}
STATE=$STATE_HOME/$CLUSTER
RUN=$STATE/run
PKI=$STATE/pki
LOGS=$STATE_HOME/$CLUSTER.log       # beside the state, so that they outlive a failed up
LOCK=$STATE_HOME/$CLUSTER.lock
CGROUP=palisade-$CLUSTER

DOMAIN=cluster.local
SERVICE_CIDRS=10.96.0.0/16,fd00:10:96::/112
POD_CIDRS=10.244.0.0/16,fd00:10:244::/48
API_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10           # nothing listens there: the tests use addresses

# The fabric is one layer-2 segment: the control plane is host 1, an outside host is 100,
# the gateway (a bridge with nothing behind it) is 254, node nN is 10+N.
fabric4() { echo "10.90.0.$1"; }
fabric6() { echo "fd00:10:90::$1"; }  # the decimal digits stand in the text of the address
CP_HOST=1 OUTSIDE_HOST=100 GATEWAY_HOST=254

node_number() { echo "${1#n}"; }
node_host()   { echo $((10 + ${1#n})); }
node_ip4()    { fabric4 "$(node_host "$1")"; }
node_ip6()    { fabric6 "$(node_host "$1")"; }
pod_cidr4()   { echo "10.244.${1#n}.0/24"; }
pod_cidr6()   { echo "fd00:10:244:${1#n}::/64"; }

netns() { echo "$CLUSTER-$1"; }       # fab, cp, out, n1, n2, …

# The nodes of the running cluster; up writes the file.
nodes() { if [[ -s $RUN/nodes ]]; then cat "$RUN/nodes"; fi; }
