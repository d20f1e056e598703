// Command palisade-cni is a chained CNI plugin: it lets a pod start only when the
// node's agent has put the pod's addresses under policy. It makes no interface
// and changes no result.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"

	"palisade.dev/palisade/nodeagent/cni"
)

// version is stamped by the build.
var version = "v0.0.0-unknown"

func main() {
	skel.PluginMainFuncs(cni.Plugin(), cni.Versions, "palisade-cni "+version+": waits until Palisade enforces for a pod; chain it last")
}
