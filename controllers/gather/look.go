package gather

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// get reads an object from the cache; nil if there is none.
func get[T client.Object](ctx context.Context, e *Engine, k key, into T) (T, bool, error) {
	err := e.Cache.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: k.name}, into)
	if apierrors.IsNotFound(err) {
		return into, false, nil
	}
	return into, err == nil, err
}

// look brings the compiler's input up to one object. An object that cannot be
// translated counts as absent and stops nobody else.
func (e *Engine) look(ctx context.Context, k key) (*candidate, error) {
	switch k.kind {
	case kindNamespace:
		return nil, e.lookAtNamespace(ctx, k)
	case kindPod:
		return nil, e.lookAtPod(ctx, k)
	case kindNode:
		return nil, e.lookAtNode(ctx, k)
	case kindAPIServer:
		return nil, e.lookAtAPIServer(ctx)
	case kindServices:
		return nil, e.lookAtServices(ctx)
	case kindExternal:
		return nil, e.lookAtExternal(ctx, k)
	case kindAddressGroup:
		return nil, e.lookAtAddressGroup(ctx, k)
	}
	ref := refOf(k)
	live, there, err := get(ctx, e, k, accepted.ObjectOf(ref.Kind))
	if err != nil {
		return nil, err
	}
	if !there {
		live = nil
	}
	return e.lookAtPolicy(ref, live), nil
}

var policyKinds = map[Kind]model.PolicyKind{
	kindClusterwide: model.KindClusterwide, kindNetworkPolicy: model.KindNetworkPolicy, kindRuntime: model.KindRuntime, kindUpstream: model.KindUpstream,
}

func refOf(k key) model.PolicyRef {
	return model.PolicyRef{Kind: policyKinds[k.kind], Namespace: k.namespace, Name: k.name}
}

func (e *Engine) lookAtNamespace(ctx context.Context, k key) error {
	ns, there, err := get(ctx, e, k, &corev1.Namespace{})
	switch {
	case err != nil:
		return err
	case there:
		e.compiler.PutNamespace(translate.Namespace(ns))
	default:
		e.compiler.DeleteNamespace(k.name)
	}
	return nil
}

func (e *Engine) lookAtPod(ctx context.Context, k key) error {
	id := model.EndpointID{Kind: model.EndpointPod, Namespace: k.namespace, Name: k.name}
	pod, there, err := get(ctx, e, k, &corev1.Pod{})
	if err != nil {
		return err
	}
	var endpoint model.Endpoint
	if there {
		if endpoint, there, err = translate.Pod(pod); err != nil {
			e.unreadable(err)
			there = false
		}
	}
	e.setOwner(id, endpoint, there)
	return nil
}

func (e *Engine) lookAtNode(ctx context.Context, k key) error {
	id := model.EndpointID{Kind: model.EndpointNode, Name: k.name}
	node, there, err := get(ctx, e, k, &corev1.Node{})
	if err != nil {
		return err
	}
	var endpoint model.Endpoint
	if there {
		if endpoint, err = translate.Node(node); err != nil {
			e.unreadable(err)
			there = false
		}
	}
	e.setOwner(id, endpoint, there)
	e.recheck(e.claims.setRanges("the pods of node "+k.name, endpoint.PodRanges))
	return nil
}

// setOwner puts or deletes a pod or node.
func (e *Engine) setOwner(id model.EndpointID, endpoint model.Endpoint, there bool) {
	if there {
		e.compiler.PutEndpoint(endpoint)
	} else {
		e.compiler.DeleteEndpoint(id)
	}
	e.recheck(e.claims.setOwner(id, endpoint.Addresses))
}

// recheck looks again at ExternalWorkloads whose claims may stand differently.
func (e *Engine) recheck(ids []model.EndpointID) {
	for _, id := range ids {
		e.queue.mark(key{kindExternal, id.Namespace, id.Name})
	}
}

func (e *Engine) lookAtAPIServer(ctx context.Context) error {
	var list discoveryv1.EndpointSliceList
	if err := e.Cache.List(ctx, &list); err != nil {
		return err
	}
	addresses, err := translate.APIServer(list.Items)
	if err != nil {
		e.unreadable(err)
		return nil
	}
	e.compiler.SetAPIServer(addresses)
	return nil
}

func (e *Engine) lookAtServices(ctx context.Context) error {
	var list networkingv1.ServiceCIDRList
	if err := e.Cache.List(ctx, &list); err != nil {
		return err
	}
	ranges := slices.Clone(e.ServiceRanges)
	for _, s := range list.Items {
		for _, text := range s.Spec.CIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				ranges = append(ranges, p)
			}
		}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	e.recheck(e.claims.setRanges("services", slices.Compact(ranges)))
	return nil
}

func (e *Engine) lookAtExternal(ctx context.Context, k key) error {
	id := model.EndpointID{Kind: model.EndpointExternal, Namespace: k.namespace, Name: k.name}
	object := Object{Endpoint: id}
	w, there, err := get(ctx, e, k, &v1alpha1.ExternalWorkload{})
	if err != nil {
		return err
	}
	if !there {
		e.recheck(e.claims.setWorkload(id, w.CreationTimestamp.Time, nil))
		e.compiler.DeleteEndpoint(id)
		delete(e.peers, object)
		return nil
	}
	endpoint, err := translate.ExternalWorkload(w)
	if err != nil {
		e.recheck(e.claims.setWorkload(id, w.CreationTimestamp.Time, nil))
		e.compiler.DeleteEndpoint(id)
		e.peers[object] = refusedPeer(w, v1alpha1.ReasonInvalid, err.Error())
		return nil
	}
	if own := e.claims.workloads[id]; !own.created.Equal(w.CreationTimestamp.Time) || !slices.Equal(own.addresses, endpoint.Addresses) {
		e.recheck(e.claims.setWorkload(id, w.CreationTimestamp.Time, endpoint.Addresses))
	}
	if conflict := e.claims.conflict(id); conflict != "" {
		e.compiler.DeleteEndpoint(id)
		e.peers[object] = refusedPeer(w, v1alpha1.ReasonAddressConflict, conflict+": give the workload an address of its own")
		return nil
	}
	e.compiler.PutEndpoint(endpoint)
	e.peers[object] = acceptedPeer(w)
	return nil
}

func (e *Engine) lookAtAddressGroup(ctx context.Context, k key) error {
	object := Object{Group: k.name}
	g, there, err := get(ctx, e, k, &v1alpha1.AddressGroup{})
	if err != nil {
		return err
	}
	if !there {
		e.compiler.DeleteAddressGroup(k.name)
		delete(e.peers, object)
		return nil
	}
	m, err := translate.AddressGroup(g)
	if err != nil {
		// What was accepted before stays: the compiler has it still.
		e.peers[object] = refusedPeer(g, v1alpha1.ReasonInvalid, err.Error())
		return nil
	}
	e.compiler.PutAddressGroup(m)
	e.peers[object] = acceptedPeer(g)
	return nil
}

func acceptedPeer(o client.Object) Outcome {
	return Outcome{UID: o.GetUID(), Generation: o.GetGeneration(), Accepted: true}
}

func refusedPeer(o client.Object, reason, message string) Outcome {
	refused.WithLabelValues(reason).Inc()
	return Outcome{UID: o.GetUID(), Generation: o.GetGeneration(), Reason: reason, Message: message}
}

// unreadable notes an object that nothing can be made of.
func (e *Engine) unreadable(err error) {
	e.Log.Error(err, "object counts as absent")
	unreadable.WithLabelValues(fmt.Sprintf("%T", err)).Inc()
}
