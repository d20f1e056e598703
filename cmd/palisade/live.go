package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/cmd/palisade/manifests"
)

// live is a cluster that answers, found as kubectl finds it.
type live struct {
	kubeconfig, context string
	system              string // the controller's namespace; only where specs are read
}

func (l *live) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&l.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster (default: KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&l.context, "context", "", "context in the kubeconfig")
}

func (l *live) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = l.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: l.context}).ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			return nil, fmt.Errorf("no manifests and no cluster: give -f DIR, or set KUBECONFIG")
		}
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	return config, nil
}

func (l *live) client() (client.Client, error) {
	config, err := l.config()
	if err != nil {
		return nil, err
	}
	ctrllog.SetLogger(logr.Discard()) // what matters comes back as an error
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", config.Host, err)
	}
	return c, nil
}

// objects lists everything that policy is computed from.
func (l *live) objects(ctx context.Context, stderr io.Writer) (*manifests.Objects, error) {
	c, err := l.client()
	if err != nil {
		return nil, err
	}
	var (
		namespaces corev1.NamespaceList
		pods       corev1.PodList
		nodes      corev1.NodeList
		endpoints  discoveryv1.EndpointSliceList
		upstream   networkingv1.NetworkPolicyList
		policies   v1alpha1.NetworkPolicyList
		wide       v1alpha1.ClusterwidePolicyList
		processes  v1alpha1.RuntimePolicyList
		workloads  v1alpha1.ExternalWorkloadList
		groups     v1alpha1.AddressGroupList
	)
	apiServer := []client.ListOption{client.InNamespace(corev1.NamespaceDefault), client.MatchingLabels{discoveryv1.LabelServiceName: "kubernetes"}}
	for _, list := range []struct {
		into client.ObjectList
		what string
		opts []client.ListOption
	}{
		{&namespaces, "Namespaces", nil},
		{&pods, "Pods", nil},
		{&nodes, "Nodes", nil},
		{&endpoints, "EndpointSlices of default/kubernetes", apiServer},
		{&upstream, "NetworkPolicies of networking.k8s.io", nil},
		{&policies, "NetworkPolicies of " + v1alpha1.GroupName, nil},
		{&wide, "ClusterwidePolicies", nil},
		{&processes, "RuntimePolicies", nil},
		{&workloads, "ExternalWorkloads", nil},
		{&groups, "AddressGroups", nil},
	} {
		if err := c.List(ctx, list.into, list.opts...); err != nil {
			return nil, listError(list.what, err)
		}
	}
	objects := &manifests.Objects{
		Namespaces: namespaces.Items, Pods: pods.Items, Nodes: nodes.Items, EndpointSlices: endpoints.Items,
		NetworkPolicies: policies.Items, ClusterwidePolicies: wide.Items, RuntimePolicies: processes.Items,
		Upstream: upstream.Items, ExternalWorkloads: acceptedWorkloads(workloads.Items, stderr), AddressGroups: groups.Items,
	}
	return objects, l.acceptedSpecs(ctx, c, objects, stderr)
}

// acceptedWorkloads leaves out the workloads that the controller has refused, an
// address of which is somebody else's for example: to nodes they do not exist.
func acceptedWorkloads(list []v1alpha1.ExternalWorkload, stderr io.Writer) []v1alpha1.ExternalWorkload {
	return slices.DeleteFunc(list, func(w v1alpha1.ExternalWorkload) bool {
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionAccepted)
		refused := c != nil && c.Status == metav1.ConditionFalse && w.Status.ObservedGeneration == w.Generation
		if refused {
			fmt.Fprintf(stderr, "palisade: warning: pew/%s/%s is not accepted (%s): left out, as on the nodes\n", w.Namespace, w.Name, c.Message)
		}
		return refused
	})
}

// listError says what to do where a cluster does not know our kinds.
func listError(what string, err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("list %s: the cluster does not know the kind: install Palisade's CRDs first (kubectl apply -k config/crd)", what)
	}
	return fmt.Errorf("list %s: %w", what, err)
}
