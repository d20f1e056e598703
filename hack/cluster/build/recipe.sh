# How the binaries are built. With the files of the two modules this decides the name of the cache's
# directory, so a change here builds anew.
#
# Without cgo every binary shares one compilation of each package (cold, that is half of the time)
# and runs in an image without a C library.
readonly KUBE_BINARIES="kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl agnhost"
readonly E2E_BINARIES="e2e.test ginkgo"

package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    agnhost) echo k8s.io/kubernetes/test/images/agnhost ;;
    ginkgo) echo github.com/onsi/ginkgo/v2/ginkgo ;;
    e2e.test) echo k8s.io/kubernetes/test/e2e ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# build_one NAME VERSION OUT: in the module's directory.
build_one() {
  local minor=${2#v1.} v=k8s.io/component-base/version command=(build)
  local flags="-s -w -X $v.gitVersion=$2 -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X k8s.io/client-go/pkg/version.gitVersion=$2"
  [[ $1 != *.test ]] || command=(test -c)
  CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" \
    go "${command[@]}" -ldflags "$flags" -o "$3" "$(package_of "$1")"
}
