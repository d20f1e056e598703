package webhooks

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Act is something that a process of the policy system has to do.
type Act struct {
	What      string // for example "pod palisade-system/agent-x to load eBPF programs"
	Who       model.EndpointID
	Container string
	Operation model.Operation
}

// program is one of the policy system's own: how its manifest in config/ calls
// it, and what it cannot do without.
type program struct {
	name         string // the pods' label app.kubernetes.io/name
	container    string
	executable   string
	capabilities []v1alpha1.Capability
	bpf          bool
	reads        []string
	writes       []string
}

// nameLabel tells the system's programs apart.
const nameLabel = "app.kubernetes.io/name"

var programs = []program{
	{
		name: "palisade-controller", container: "controller", executable: "/controller",
		reads: []string{"/var/run/secrets/kubernetes.io/serviceaccount/token"},
	},
	{
		name: "palisade-nodeagent", container: "nodeagent", executable: "/nodeagent",
		capabilities: []v1alpha1.Capability{"BPF", "PERFMON", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"},
		bpf:          true,
		reads:        []string{"/var/run/secrets/palisade/token", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/container/config.json"},
		writes:       []string{"/var/lib/palisade/snapshot", "/run/palisade/sock"},
	},
}

// acts lists what the programs in the pods have to do. Of pods with the same
// labels, which no policy tells apart, one speaks for all.
func acts(pods []model.Endpoint, needs []Need) []Act {
	var out []Act
	var seen []model.Endpoint
	for _, pod := range pods {
		i := slices.IndexFunc(programs, func(p program) bool { return p.name == pod.Labels[nameLabel] })
		if i < 0 || slices.ContainsFunc(seen, func(s model.Endpoint) bool { return maps.Equal(s.Labels, pod.Labels) }) {
			continue
		}
		seen = append(seen, pod)
		out = append(out, programs[i].acts(pod)...)
		out = append(out, programs[i].connects(pod, needs)...)
	}
	return out
}

// acts lists what a program does by itself.
func (p program) acts(pod model.Endpoint) []Act {
	var out []Act
	add := func(what string, op model.Operation) {
		op.Executable, op.Ancestry = p.executable, []string{p.executable}
		out = append(out, Act{What: fmt.Sprintf("pod %s to %s", pod.ID, what), Who: pod.ID, Container: p.container, Operation: op})
	}
	add("execute "+p.executable, model.Operation{Section: model.SectionExecutables, Path: p.executable, Origin: model.OriginImage})
	for _, c := range p.capabilities {
		add("use the capability "+string(c), model.Operation{
			Section: model.SectionPrivileges, Bits: uint32(model.PrivilegeCapability),
			Capability: uint8(slices.Index(v1alpha1.Capabilities, c)),
		})
	}
	if p.bpf {
		add("load eBPF programs", model.Operation{Section: model.SectionPrivileges, Bits: uint32(model.PrivilegeLoadBPF)})
	}
	file := func(path string, bits model.FileOperation) model.Operation {
		return model.Operation{Section: model.SectionFiles, Path: path, Bits: uint32(bits), Origin: model.OriginModified, Owned: true}
	}
	for _, path := range p.reads {
		add("read "+path, file(path, model.FileRead))
	}
	for _, path := range p.writes {
		add("write "+path, file(path, model.FileWrite))
	}
	return out
}

// connects lists the ends that the connections of needs have in a pod: where one
// opens them, and where it listens for them. What nodes open, the agent does,
// which has its node's addresses.
func (p program) connects(pod model.Endpoint, needs []Need) []Act {
	var out []Act
	add := func(what string, bits model.SocketOperation, address netip.Addr, n Need) {
		out = append(out, Act{What: what, Who: pod.ID, Container: p.container, Operation: model.Operation{
			Section: model.SectionNetwork, Bits: uint32(bits), Address: address, Proto: n.Connection.Proto, Port: n.Connection.Port,
			Executable: p.executable, Ancestry: []string{p.executable},
		}})
	}
	listens := map[model.Port]bool{}
	for _, n := range needs {
		opens := slices.Contains(pod.Addresses, n.Connection.From) || pod.HostNetwork && n.Node == pod.Node && n.Node != ""
		if opens {
			add(n.What, model.SocketConnect, n.Connection.To, n)
		}
		if slices.Contains(pod.Addresses, n.Connection.To) && !listens[n.Connection.Port] {
			listens[n.Connection.Port] = true
			any := netip.IPv6Unspecified()
			add(fmt.Sprintf("pod %s to bind port %d", pod.ID, n.Connection.Port), model.SocketBind, any, n)
			add(fmt.Sprintf("pod %s to listen on port %d", pod.ID, n.Connection.Port), model.SocketListen, any, n)
		}
	}
	return out
}
