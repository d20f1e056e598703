package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/policy/translate"
)

// sieve asks a policy, as if it were enforced, about what was recorded: what it allows
// needs no rule, and what it refuses by a rule shall have none.
type sieve struct {
	ref     string // as events name the policy
	rules   *v1alpha1.RuntimeRules
	cluster model.Cluster
	known   map[model.EndpointID]bool
}

func newSieve(policy *v1alpha1.RuntimePolicy, cluster model.Cluster, now time.Time) (*sieve, error) {
	asked := policy.DeepCopy()
	asked.Spec.Mode = v1alpha1.ModeEnforce
	asked.Spec.Subject = v1alpha1.RuntimePolicySubject{} // whose events count was said otherwise
	asked.Status = v1alpha1.PolicyStatus{ExpiredExceptions: v1alpha1.Ended(policy.Spec.Exceptions(), now)}
	translated, err := translate.RuntimePolicy(asked)
	if err != nil {
		return nil, err
	}
	s := &sieve{ref: translated.Ref.String(), rules: policy.Spec.RuntimeRules.DeepCopy(), cluster: cluster, known: map[model.EndpointID]bool{}}
	s.cluster.Policies = []model.Policy{translated}
	for i := range cluster.Endpoints {
		s.known[cluster.Endpoints[i].ID] = true
	}
	return s, nil
}

// sieve asks the policy of --merge, among the pods of -f.
func (o *proposeOptions) sieve(ctx context.Context, e *env, policy *v1alpha1.RuntimePolicy) (*sieve, error) {
	var cluster model.Cluster
	if len(o.manifests) > 0 {
		objects, err := manifests.Read(ctx, o.manifests, manifests.Options{IgnoreUnknownKinds: true, Stdin: e.stdin})
		if err != nil {
			return nil, err
		}
		world, err := objects.World(e.now())
		if err != nil {
			return nil, err
		}
		cluster = world.Cluster
	}
	s, err := newSieve(policy, cluster, e.now())
	if err != nil {
		return nil, fmt.Errorf("--merge %s: %w", o.merge, err)
	}
	return s, nil
}

// covers reports whether the policy has a section about an operation: one that is to be
// added needs all that was seen.
func (s *sieve) covers(op model.Operation) bool {
	return [...]bool{s.rules.Executables != nil, s.rules.Files != nil, s.rules.Privileges != nil, s.rules.Network != nil}[op.Section]
}

func (s *sieve) ask(e events.Event, op model.Operation) model.Decision {
	id := model.EndpointID{Kind: model.EndpointPod, Namespace: e.Pod.Namespace, Name: e.Pod.Name}
	if !s.known[id] {
		s.known[id] = true
		s.cluster.Endpoints = append(slices.Clip(s.cluster.Endpoints), model.Endpoint{ID: id, UID: model.UID(e.Pod.UID)})
	}
	container := ""
	if e.Container != nil {
		container = e.Container.Name
	}
	return reference.JudgeRuntime(s.cluster, id, container, op).Enforced
}
