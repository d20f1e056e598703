package webhooks

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// SystemLabel is on the pods of the policy system, beside its namespace.
const (
	SystemLabel      = "app.kubernetes.io/part-of"
	SystemLabelValue = "palisade"
)

// CacheFacts answers from a client whose reads are served by informers.
type CacheFacts struct {
	Reader    client.Reader
	Namespace string // where the policy system runs
}

var _ Facts = CacheFacts{}

// Clusterwide returns the ClusterwidePolicy objects of a tier and priority.
func (f CacheFacts) Clusterwide(ctx context.Context, tier v1alpha1.Tier, priority int32) ([]v1alpha1.ClusterwidePolicy, error) {
	var list v1alpha1.ClusterwidePolicyList
	if err := f.Reader.List(ctx, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p v1alpha1.ClusterwidePolicy) bool {
		return p.Spec.Tier != tier || p.Spec.Priority != priority
	}), nil
}

// Namespaces returns all namespaces, with their labels.
func (f CacheFacts) Namespaces(ctx context.Context) ([]model.Namespace, error) {
	var list corev1.NamespaceList
	if err := f.Reader.List(ctx, &list); err != nil {
		return nil, err
	}
	var out []model.Namespace
	for i := range list.Items {
		out = append(out, translate.Namespace(&list.Items[i]))
	}
	return out, nil
}

// System gathers the system's pods, the nodes, and the policies that may select
// those pods: every clusterwide one, and those of the system's namespace.
func (f CacheFacts) System(ctx context.Context) (System, error) {
	var cluster model.Cluster
	var namespace corev1.Namespace
	if err := f.Reader.Get(ctx, client.ObjectKey{Name: f.Namespace}, &namespace); err != nil {
		return System{}, fmt.Errorf("namespace %s: %w", f.Namespace, err)
	}
	cluster.Namespaces = []model.Namespace{translate.Namespace(&namespace)}
	pods, err := f.pods(ctx)
	if err != nil {
		return System{}, err
	}
	nodes, err := f.nodes(ctx)
	if err != nil {
		return System{}, err
	}
	cluster.Endpoints = slices.Concat(pods, nodes)
	apiServer, err := f.apiServer(ctx)
	if err != nil {
		return System{}, err
	}
	for _, a := range apiServer {
		cluster.APIServer = append(cluster.APIServer, a.Addr())
	}
	if cluster.Policies, err = f.policies(ctx); err != nil {
		return System{}, err
	}
	groups, err := f.addressGroups(ctx)
	if err != nil {
		return System{}, err
	}
	cluster.AddressGroups = groups
	wanted := needs(pods, nodes, apiServer)
	return System{Cluster: cluster, Needs: wanted, Acts: acts(pods, wanted)}, nil
}

func (f CacheFacts) pods(ctx context.Context) ([]model.Endpoint, error) {
	var list corev1.PodList
	if err := f.Reader.List(ctx, &list, client.InNamespace(f.Namespace), client.MatchingLabels{SystemLabel: SystemLabelValue}); err != nil {
		return nil, fmt.Errorf("pods of %s: %w", f.Namespace, err)
	}
	var out []model.Endpoint
	for i := range list.Items {
		// A pod that is no endpoint has ended. One with host networking has no
		// address of its own, and so no needs, but it acts.
		if e, ok, err := translate.Pod(&list.Items[i]); err != nil {
			return nil, err
		} else if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f CacheFacts) nodes(ctx context.Context) ([]model.Endpoint, error) {
	var list corev1.NodeList
	if err := f.Reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	var out []model.Endpoint
	for i := range list.Items {
		e, err := translate.Node(&list.Items[i])
		if err != nil {
			continue // the controller reports the node; it is no reason to refuse a policy
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b model.Endpoint) int { return model.CompareEndpointIDs(a.ID, b.ID) })
	return out, nil
}

// apiServer returns the addresses and TCP ports behind the Service kubernetes.
func (f CacheFacts) apiServer(ctx context.Context) ([]netip.AddrPort, error) {
	var list discoveryv1.EndpointSliceList
	if err := f.Reader.List(ctx, &list, client.InNamespace("default"), client.MatchingLabels{discoveryv1.LabelServiceName: "kubernetes"}); err != nil {
		return nil, fmt.Errorf("endpoints of the API server: %w", err)
	}
	var out []netip.AddrPort
	for i := range list.Items {
		addresses, err := translate.APIServer(list.Items[i : i+1])
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			for _, port := range list.Items[i].Ports {
				if port.Port != nil {
					out = append(out, netip.AddrPortFrom(a, uint16(*port.Port)))
				}
			}
		}
	}
	return out, nil
}

// policies returns what is stored and can be translated; what cannot is not in
// force as it stands.
func (f CacheFacts) policies(ctx context.Context) ([]model.Policy, error) {
	var clusterwide v1alpha1.ClusterwidePolicyList
	var ours v1alpha1.NetworkPolicyList
	var runtime v1alpha1.RuntimePolicyList
	var upstream networkingv1.NetworkPolicyList
	if err := f.Reader.List(ctx, &clusterwide); err != nil {
		return nil, err
	}
	if err := f.Reader.List(ctx, &ours, client.InNamespace(f.Namespace)); err != nil {
		return nil, err
	}
	if err := f.Reader.List(ctx, &runtime, client.InNamespace(f.Namespace)); err != nil {
		return nil, err
	}
	if err := f.Reader.List(ctx, &upstream, client.InNamespace(f.Namespace)); err != nil {
		return nil, err
	}
	var out []model.Policy
	keep := func(p model.Policy, err error) {
		if err == nil {
			out = append(out, p)
		}
	}
	for i := range clusterwide.Items {
		keep(translate.ClusterwidePolicy(&clusterwide.Items[i]))
	}
	for i := range ours.Items {
		keep(translate.NetworkPolicy(&ours.Items[i]))
	}
	for i := range runtime.Items {
		keep(translate.RuntimePolicy(&runtime.Items[i]))
	}
	for i := range upstream.Items {
		keep(translate.Upstream(&upstream.Items[i]))
	}
	return out, nil
}

func (f CacheFacts) addressGroups(ctx context.Context) ([]model.AddressGroup, error) {
	var list v1alpha1.AddressGroupList
	if err := f.Reader.List(ctx, &list); err != nil {
		return nil, err
	}
	var out []model.AddressGroup
	for i := range list.Items {
		if g, err := translate.AddressGroup(&list.Items[i]); err == nil {
			out = append(out, g)
		}
	}
	return out, nil
}

// unneeded are named ports of the system's pods that nobody but their own node, or
// nobody that the system depends on, has to reach.
var unneeded = []string{"health", "metrics"}

// needs lists the connections that the policy system cannot do without: nodes
// (agents use their network) and the API server to its pods, and its pods to
// the API server. Those of one node stand together, after those of the API server.
func needs(pods, nodes []model.Endpoint, apiServer []netip.AddrPort) []Need {
	var out []Need
	add := func(n Need) {
		if n.Connection.From.Is4() == n.Connection.To.Is4() {
			out = append(out, n)
		}
	}
	for _, pod := range pods {
		for _, server := range apiServer {
			for _, n := range reaches(server.Addr(), "the API server", pod) {
				add(n)
			}
			for _, from := range pod.Addresses {
				add(Need{
					What:       fmt.Sprintf("pod %s to the API server, port %d", pod.ID, server.Port()),
					Connection: model.Connection{From: from, To: server.Addr(), Proto: model.ProtoTCP, Port: model.Port(server.Port())},
				})
			}
		}
	}
	for _, node := range nodes {
		for _, pod := range pods {
			for _, from := range node.Addresses {
				for _, n := range reaches(from, "node "+node.ID.String(), pod) {
					n.Node = model.NodeName(node.ID.Name)
					add(n)
				}
			}
		}
	}
	return out
}

// reaches lists the connections from an address to a pod's needed ports.
func reaches(from netip.Addr, fromName string, pod model.Endpoint) []Need {
	var out []Need
	for _, to := range pod.Addresses {
		for _, port := range pod.Ports {
			if slices.Contains(unneeded, port.Name) {
				continue
			}
			out = append(out, Need{
				What:       fmt.Sprintf("%s to pod %s, port %d", fromName, pod.ID, port.Port),
				Connection: model.Connection{From: from, To: to, Proto: port.Proto, Port: port.Port},
			})
		}
	}
	return out
}
