package webhooks

import (
	"context"
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

// callNamespaces looks at the labels of the namespaces that exist: who labels one
// later is not asked.
func callNamespaces(ctx context.Context, s *session, args []json.RawMessage) (any, error) {
	var subject v1alpha1.ClusterwidePolicySubject
	if err := decode(args, &subject); err != nil {
		return nil, err
	}
	out := []string{}
	of := selectorsOf(subject)
	if of.of != model.EndpointPod {
		return out, nil
	}
	selector, err := of.namespaces.Selector()
	if err != nil {
		return nil, err
	}
	namespaces, err := s.loadNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, ns := range namespaces {
		if selector.Matches(labels.Set(ns.Labels)) {
			out = append(out, ns.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

func callLinked(_ context.Context, _ *session, args []json.RawMessage) (any, error) {
	var path string
	if err := decode(args, &path); err != nil {
		return nil, err
	}
	link, other, ok := analysis.MergedLink(path)
	if !ok {
		return map[string]string{}, nil
	}
	return map[string]string{"link": link, "path": other}, nil
}
