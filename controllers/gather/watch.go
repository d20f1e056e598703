package gather

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// CacheOptions narrows the informers to what is needed: of pods and nodes the
// fields that are read, of EndpointSlices and ControllerRevisions the few that
// are ours to read.
func CacheOptions(namespace string) cache.Options {
	kubernetes := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: "kubernetes"})
	revisions, err := labels.Parse(accepted.Label)
	if err != nil {
		panic(err) // a constant that does not parse
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:  {Transform: stripPod},
			&corev1.Node{}: {Transform: stripNode},
			&discoveryv1.EndpointSlice{}: {
				Namespaces: map[string]cache.Config{metav1.NamespaceDefault: {LabelSelector: kubernetes}},
			},
			&appsv1.ControllerRevision{}: {
				Namespaces: map[string]cache.Config{namespace: {LabelSelector: revisions}},
			},
		},
	}
}

// stripPod keeps of a pod what translation reads: 100,000 whole ones would cost
// gigabytes.
func stripPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
			Annotations: stripAnnotations(pod.Annotations),
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork, ServiceAccountName: pod.Spec.ServiceAccountName,
			InitContainers: stripContainers(pod.Spec.InitContainers), Containers: stripContainers(pod.Spec.Containers),
		},
		Status: corev1.PodStatus{Phase: ended(pod.Status.Phase), PodIP: pod.Status.PodIP, PodIPs: pod.Status.PodIPs},
	}
	return out, nil
}

// stripAnnotations keeps what tells static pods, and by which name they have cgroups.
func stripAnnotations(all map[string]string) map[string]string {
	var out map[string]string
	for _, key := range []string{corev1.MirrorPodAnnotationKey, translate.AnnotationConfigHash} {
		if value, ok := all[key]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = value
		}
	}
	return out
}

// ended forgets the phases that make no difference, so that a pod that starts
// to run is no change.
func ended(phase corev1.PodPhase) corev1.PodPhase {
	if phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		return phase
	}
	return corev1.PodRunning
}

func stripContainers(list []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range list {
		if len(c.Ports) > 0 {
			out = append(out, corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	return out
}

func stripNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	out := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels},
		Spec:       corev1.NodeSpec{PodCIDR: node.Spec.PodCIDR, PodCIDRs: node.Spec.PodCIDRs},
		Status:     corev1.NodeStatus{Addresses: node.Status.Addresses},
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return out, nil
}

// watches lists the kinds and the key that an object of each marks.
func (e *Engine) watches() map[client.Object]func(client.Object) key {
	of := func(kind Kind) func(client.Object) key {
		return func(o client.Object) key { return key{kind, o.GetNamespace(), o.GetName()} }
	}
	all := func(kind Kind) func(client.Object) key {
		return func(client.Object) key { return key{kind: kind} }
	}
	return map[client.Object]func(client.Object) key{
		&corev1.Namespace{}:           of(kindNamespace),
		&corev1.Pod{}:                 of(kindPod),
		&corev1.Node{}:                of(kindNode),
		&discoveryv1.EndpointSlice{}:  all(kindAPIServer),
		&v1alpha1.NetworkPolicy{}:     of(kindNetworkPolicy),
		&v1alpha1.ClusterwidePolicy{}: of(kindClusterwide),
		&v1alpha1.RuntimePolicy{}:     of(kindRuntime),
		&networkingv1.NetworkPolicy{}: of(kindUpstream),
		&v1alpha1.ExternalWorkload{}:  of(kindExternal),
		&v1alpha1.AddressGroup{}:      of(kindAddressGroup),
		&appsv1.ControllerRevision{}:  nil, // noteRevision says whose it is
		&networkingv1.ServiceCIDR{}:   all(kindServices),
	}
}

func keyOf(ref model.PolicyRef) key {
	kind := kindUpstream
	switch ref.Kind {
	case model.KindClusterwide:
		kind = kindClusterwide
	case model.KindNetworkPolicy:
		kind = kindNetworkPolicy
	case model.KindRuntime:
		kind = kindRuntime
	}
	return key{kind, ref.Namespace, ref.Name}
}

// watch installs the informers' handlers. Kinds that an older API server does
// not have (ServiceCIDR before 1.33) are left out if they are optional.
func (e *Engine) watch(ctx context.Context, c cache.Cache, mapper meta.RESTMapper) ([]toolscache.ResourceEventHandlerRegistration, error) {
	var out []toolscache.ResourceEventHandlerRegistration
	for object, keyFor := range e.watches() {
		if _, optional := object.(*networkingv1.ServiceCIDR); optional && !served(mapper, object) {
			e.Log.Info("API server has no ServiceCIDR: give the Services' ranges by --service-cidr")
			continue
		}
		informer, err := c.GetInformer(ctx, object)
		if meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("watch %T: the API server does not know the kind: apply config/crd: %w", object, err)
		}
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", object, err)
		}
		registration, err := informer.AddEventHandler(e.handler(keyFor))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", object, err)
		}
		out = append(out, registration)
	}
	return out, nil
}

func served(mapper meta.RESTMapper, object client.Object) bool {
	gvk := networkingv1.SchemeGroupVersion.WithKind(reflect.TypeOf(object).Elem().Name())
	_, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	return err == nil
}

func (e *Engine) handler(keyFor func(client.Object) key) toolscache.ResourceEventHandler {
	mark := func(obj any, deleted bool) {
		if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		o, ok := obj.(client.Object)
		if !ok {
			return
		}
		if revision, ok := o.(*appsv1.ControllerRevision); ok {
			if ref, ok := e.noteRevision(revision, deleted); ok {
				e.queue.mark(keyOf(ref))
			}
			return
		}
		e.queue.mark(keyFor(o))
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { mark(obj, false) },
		UpdateFunc: func(before, after any) {
			if !same(before, after) {
				mark(after, false)
			}
		},
		DeleteFunc: func(obj any) { mark(obj, true) },
	}
}

// same reports whether an update changed nothing that is looked at: most updates
// of pods are about their containers' health.
func same(before, after any) bool {
	switch b := before.(type) {
	case *corev1.Pod:
		a := after.(*corev1.Pod)
		return a.UID == b.UID && reflect.DeepEqual(a.Labels, b.Labels) && reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status, b.Status)
	case *v1alpha1.NetworkPolicy:
		a := after.(*v1alpha1.NetworkPolicy)
		return sameSpec(a, b) && sameStatus(&a.Status, &b.Status)
	case *v1alpha1.ClusterwidePolicy:
		a := after.(*v1alpha1.ClusterwidePolicy)
		return sameSpec(a, b) && sameStatus(&a.Status, &b.Status)
	case *v1alpha1.RuntimePolicy:
		a := after.(*v1alpha1.RuntimePolicy)
		return sameSpec(a, b) && sameStatus(&a.Status, &b.Status)
	case *v1alpha1.ExternalWorkload:
		a := after.(*v1alpha1.ExternalWorkload)
		return sameSpec(a, b) && reflect.DeepEqual(a.Labels, b.Labels)
	case *v1alpha1.AddressGroup:
		return sameSpec(after.(*v1alpha1.AddressGroup), b)
	case *corev1.Node:
		a := after.(*corev1.Node)
		return reflect.DeepEqual(a.Labels, b.Labels) && reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status, b.Status)
	}
	return false
}

// sameSpec leaves out updates of status alone, most of which are our own.
func sameSpec(a, b client.Object) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration()
}

// sameStatus compares what of a policy's status is compiled.
func sameStatus(a, b *v1alpha1.PolicyStatus) bool {
	return expired(a.Conditions) == expired(b.Conditions) && slices.Equal(a.ExpiredExceptions, b.ExpiredExceptions)
}

func expired(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionExpired)
}
