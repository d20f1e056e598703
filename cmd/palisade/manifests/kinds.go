package manifests

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"

	"palisade.dev/palisade/api/v1alpha1"
)

// A reader decodes an object strictly into its place in Objects.
type reader struct {
	namespaced bool
	read       func(*Objects, *unstructured.Unstructured) error
}

// readers are the kinds that a directory may hold. A Service stands for nothing
// here, since connections are judged as they are after translation, but nobody
// who writes a Pod's manifest should have to keep its Service elsewhere.
var readers = map[schema.GroupVersionKind]reader{
	corev1.SchemeGroupVersion.WithKind("Namespace"):                into(false, func(o *Objects) *[]corev1.Namespace { return &o.Namespaces }),
	corev1.SchemeGroupVersion.WithKind("Pod"):                      into(true, func(o *Objects) *[]corev1.Pod { return &o.Pods }),
	corev1.SchemeGroupVersion.WithKind("Node"):                     into(false, func(o *Objects) *[]corev1.Node { return &o.Nodes }),
	corev1.SchemeGroupVersion.WithKind("Service"):                  into(true, func(*Objects) *[]corev1.Service { return new([]corev1.Service) }),
	discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"):       into(true, func(o *Objects) *[]discoveryv1.EndpointSlice { return &o.EndpointSlices }),
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"):      into(true, func(o *Objects) *[]networkingv1.NetworkPolicy { return &o.Upstream }),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindNetworkPolicy):     into(true, func(o *Objects) *[]v1alpha1.NetworkPolicy { return &o.NetworkPolicies }),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindClusterwidePolicy): into(false, func(o *Objects) *[]v1alpha1.ClusterwidePolicy { return &o.ClusterwidePolicies }),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindRuntimePolicy):     into(true, func(o *Objects) *[]v1alpha1.RuntimePolicy { return &o.RuntimePolicies }),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindExternalWorkload):  into(true, func(o *Objects) *[]v1alpha1.ExternalWorkload { return &o.ExternalWorkloads }),
	v1alpha1.GroupVersion.WithKind(v1alpha1.KindAddressGroup):      into(false, func(o *Objects) *[]v1alpha1.AddressGroup { return &o.AddressGroups }),
}

func into[T any](namespaced bool, list func(*Objects) *[]T) reader {
	return reader{namespaced: namespaced, read: func(o *Objects, u *unstructured.Unstructured) error {
		data, err := u.MarshalJSON()
		if err != nil {
			return err
		}
		var object T
		strict, err := json.UnmarshalStrict(data, &object)
		if err != nil {
			return err
		}
		if len(strict) > 0 {
			reasons := make([]string, len(strict))
			for i, s := range strict {
				reasons[i] = s.Error()
			}
			return fmt.Errorf("%s: check the spelling and indentation", strings.Join(reasons, ", "))
		}
		l := list(o)
		*l = append(*l, object)
		return nil
	}}
}

// unknownKind says that a kind has no place here, and what to do. The commonest
// mistake is the right kind with another group.
func unknownKind(gvk schema.GroupVersionKind) string {
	var versions []string
	for known := range readers {
		if known.Kind == gvk.Kind {
			versions = append(versions, known.GroupVersion().String())
		}
	}
	if len(versions) > 0 {
		slices.Sort(versions)
		return fmt.Sprintf("unknown apiVersion %q for kind %s: write %s", gvk.GroupVersion(), gvk.Kind, strings.Join(versions, " or "))
	}
	if gvk.Group == v1alpha1.GroupName {
		var kinds []string
		for known := range readers {
			if known.Group == gvk.Group {
				kinds = append(kinds, known.Kind)
			}
		}
		slices.Sort(kinds)
		return fmt.Sprintf("unknown kind %s of %s: this version knows %s", gvk.Kind, gvk.GroupVersion(), strings.Join(kinds, ", "))
	}
	if gvk.Kind == "Kustomization" {
		return "a Kustomization is no object but a recipe: cook it first: kubectl kustomize DIR | palisade COMMAND -f -"
	}
	return fmt.Sprintf("unknown kind %s of %q: move the file elsewhere, or give --ignore-unknown-kinds to leave such objects out", gvk.Kind, gvk.GroupVersion())
}
