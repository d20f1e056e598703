package translate

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Namespace translates a namespace. It has the label kubernetes.io/metadata.name
// even if a manifest leaves it out, as the API server sees to it.
func Namespace(ns *corev1.Namespace) model.Namespace {
	labels := maps.Clone(ns.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[corev1.LabelMetadataName] = ns.Name
	return model.Namespace{Name: ns.Name, Labels: labels}
}

// Pod translates a pod. It reports false for a pod that is no endpoint any more:
// one that has ended has given its address back and runs nothing. One with host
// networking has no addresses and no ports, which are its node's.
// A pod that is read from a file and has no UID gets NAMESPACE/NAME for one.
func Pod(pod *corev1.Pod) (model.Endpoint, bool, error) {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return model.Endpoint{}, false, nil
	}
	id := model.EndpointID{Kind: model.EndpointPod, Namespace: pod.Namespace, Name: pod.Name}
	p := &problems{object: "pod/" + id.String()}
	out := model.Endpoint{
		ID:             id,
		UID:            cmp.Or(model.UID(pod.UID), model.UID(id.String())),
		Labels:         pod.Labels,
		ServiceAccount: pod.Spec.ServiceAccountName,
		Node:           model.NodeName(pod.Spec.NodeName),
		ConfigHash:     configHash(pod),
		HostNetwork:    pod.Spec.HostNetwork,
	}
	if !out.HostNetwork {
		out.Addresses, out.Ports = p.podAddresses(pod), p.podPorts(&pod.Spec)
	}
	if err := p.err(); err != nil {
		return model.Endpoint{}, false, err
	}
	return out, true, nil
}

// AnnotationConfigHash is the annotation by which the kubelet tells the hash of a
// static pod's manifest, which is what it calls the pod itself by.
const AnnotationConfigHash = "kubernetes.io/config.hash"

// configHash is what a static pod's cgroups are named after; empty for other pods.
// Whoever may create pods may write these annotations, so that nothing is taken
// for a hash that could be another pod's UID.
func configHash(pod *corev1.Pod) string {
	hash := pod.Annotations[AnnotationConfigHash]
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; !mirror || len(hash) != 32 || strings.Trim(hash, "0123456789abcdef") != "" {
		return ""
	}
	return hash
}

func (p *problems) podAddresses(pod *corev1.Pod) []netip.Addr {
	at := field.NewPath("status", "podIPs")
	var out []netip.Addr
	for i, ip := range pod.Status.PodIPs {
		if a, ok := p.address(at.Index(i).Child("ip"), ip.IP); ok {
			out = append(out, a)
		}
	}
	if len(pod.Status.PodIPs) == 0 && pod.Status.PodIP != "" {
		if a, ok := p.address(field.NewPath("status", "podIP"), pod.Status.PodIP); ok {
			out = append(out, a)
		}
	}
	return sortedAddrs(out)
}

// podPorts collects the named ports of the containers that run with the pod:
// ordinary ones, and init containers that are restarted as sidecars.
func (p *problems) podPorts(spec *corev1.PodSpec) []model.NamedPort {
	var out []model.NamedPort
	collect := func(at *field.Path, c *corev1.Container) {
		for i, port := range c.Ports {
			if port.Name == "" {
				continue
			}
			where := at.Child("ports").Index(i)
			if n, ok := p.namedPort(where, port.Name, cmp.Or(port.Protocol, corev1.ProtocolTCP), where.Child("containerPort"), port.ContainerPort); ok {
				out = append(out, n)
			}
		}
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			collect(field.NewPath("spec", "initContainers").Index(i), c)
		}
	}
	for i := range spec.Containers {
		collect(field.NewPath("spec", "containers").Index(i), &spec.Containers[i])
	}
	return sortedPorts(out)
}

func (p *problems) namedPort(at *field.Path, name string, protocol corev1.Protocol, numberAt *field.Path, number int32) (model.NamedPort, bool) {
	proto, ok := p.transport(at.Child("protocol"), protocol)
	if number < 1 || number > lastPort {
		p.add(numberAt, "write 1 to 65535", "%d is no port", number)
		ok = false
	}
	return model.NamedPort{Name: name, Proto: proto, Port: model.Port(number)}, ok
}

func sortedPorts(list []model.NamedPort) []model.NamedPort {
	slices.SortFunc(list, func(a, b model.NamedPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(list)
}

// Node translates a node: every entry of its addresses that is an IP address,
// host names left out.
func Node(node *corev1.Node) (model.Endpoint, error) {
	p := &problems{object: "node/" + node.Name}
	out := model.Endpoint{
		ID:     model.EndpointID{Kind: model.EndpointNode, Name: node.Name},
		Labels: node.Labels,
		Node:   model.NodeName(node.Name),
	}
	for _, a := range node.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			out.Addresses = append(out.Addresses, ip.Unmap().WithZone(""))
		}
	}
	out.Addresses = sortedAddrs(out.Addresses)
	ranges, at := node.Spec.PodCIDRs, field.NewPath("spec", "podCIDRs")
	if len(ranges) == 0 && node.Spec.PodCIDR != "" {
		ranges, at = []string{node.Spec.PodCIDR}, field.NewPath("spec", "podCIDR")
	}
	for i, s := range ranges {
		if c, ok := p.looseCIDR(at.Index(i), s); ok {
			out.PodRanges = append(out.PodRanges, c)
		}
	}
	slices.SortFunc(out.PodRanges, comparePrefixes)
	out.PodRanges = slices.Compact(out.PodRanges)
	if err := p.err(); err != nil {
		return model.Endpoint{}, err
	}
	return out, nil
}

// ExternalWorkload translates an endpoint outside the cluster.
func ExternalWorkload(w *v1alpha1.ExternalWorkload) (model.Endpoint, error) {
	id := model.EndpointID{Kind: model.EndpointExternal, Namespace: w.Namespace, Name: w.Name}
	p := &problems{object: "pew/" + id.String()}
	out := model.Endpoint{ID: id, Labels: w.Labels}
	spec := field.NewPath("spec")
	for i, s := range w.Spec.Addresses {
		at := spec.Child("addresses").Index(i)
		c, ok := p.cidr(at, string(s))
		if ok && !c.IsSingleIP() {
			p.add(at, "write IPv4 with /32 and IPv6 with /128, and use an AddressGroup for a range", "%s is no single address", s)
			continue
		}
		if ok {
			out.Addresses = append(out.Addresses, c.Addr())
		}
	}
	out.Addresses = sortedAddrs(out.Addresses)
	for i, port := range w.Spec.Ports {
		at := spec.Child("ports").Index(i)
		n, ok := p.namedPort(at, string(port.Name), cmp.Or(corev1.Protocol(port.Protocol), corev1.ProtocolTCP), at.Child("port"), int32(port.Port))
		if ok {
			out.Ports = append(out.Ports, n)
		}
	}
	out.Ports = sortedPorts(out.Ports)
	if err := p.err(); err != nil {
		return model.Endpoint{}, err
	}
	return out, nil
}

// AddressGroup translates a named list of CIDRs.
func AddressGroup(g *v1alpha1.AddressGroup) (model.AddressGroup, error) {
	p := &problems{object: "pag/" + g.Name}
	out := model.AddressGroup{Name: g.Name}
	for i, s := range g.Spec.CIDRs {
		if c, ok := p.cidr(field.NewPath("spec", "cidrs").Index(i), string(s)); ok {
			out.CIDRs = append(out.CIDRs, c)
		}
	}
	slices.SortFunc(out.CIDRs, comparePrefixes)
	out.CIDRs = slices.Compact(out.CIDRs)
	if err := p.err(); err != nil {
		return model.AddressGroup{}, err
	}
	return out, nil
}

// APIServer collects the addresses behind the Service kubernetes of the
// namespace default from its EndpointSlices; other slices are passed over.
func APIServer(list []discoveryv1.EndpointSlice) ([]netip.Addr, error) {
	var out []netip.Addr
	for i := range list {
		s := &list[i]
		if s.Namespace != "default" || s.Labels[discoveryv1.LabelServiceName] != "kubernetes" {
			continue
		}
		p := &problems{object: "endpointslice/" + s.Namespace + "/" + s.Name}
		for j, e := range s.Endpoints {
			for k, text := range e.Addresses {
				if a, ok := p.address(field.NewPath("endpoints").Index(j).Child("addresses").Index(k), text); ok {
					out = append(out, a)
				}
			}
		}
		if err := p.err(); err != nil {
			return nil, err
		}
	}
	return sortedAddrs(out), nil
}
