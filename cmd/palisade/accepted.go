package main

import (
	"context"
	"fmt"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
)

// acceptedSpecs replaces the specs of a live cluster's policies by those that
// nodes enforce: a spec that was refused, or that the controller has not come to
// yet, leaves the one before it in force. What differs is told on stderr. Where
// there are no records at all there is no controller, and nothing to replace.
func (l *live) acceptedSpecs(ctx context.Context, c client.Client, o *manifests.Objects, stderr io.Writer) error {
	var list appsv1.ControllerRevisionList
	err := c.List(ctx, &list, client.InNamespace(l.system), client.HasLabels{accepted.Label})
	if apierrors.IsForbidden(err) {
		fmt.Fprintf(stderr, "palisade: warning: you may not list controllerrevisions in %s: a policy whose spec was refused is judged by that spec, though nodes enforce the one before it\n", l.system)
		return nil
	}
	if err != nil {
		return fmt.Errorf("list ControllerRevisions of %s: %w", l.system, err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	records := readRecords(list.Items)
	o.AcceptedAt = map[model.PolicyRef]time.Time{}
	choose := func(now client.Object) client.Object {
		ref := accepted.RefOf(now)
		r := accepted.Choose(now, records.newest(ref, now.GetUID()), false).InForce
		if r == nil {
			fmt.Fprintf(stderr, "palisade: warning: %s has not been accepted and is in force nowhere: left out\n", ref)
			return nil
		}
		o.AcceptedAt[ref] = r.At
		if r.Generation != now.GetGeneration() {
			fmt.Fprintf(stderr, "palisade: warning: the spec of %s has not been accepted: judged by the one before it, as nodes do\n", ref)
		}
		if m, lost := r.Model(now); lost != nil {
			fmt.Fprintf(stderr, "palisade: warning: this version cannot read the accepted spec of %s: %v; judged as by a controller of this version, where rule %s stands in for it\n", ref, lost, accepted.RuleUnreadable)
			o.StandIns = append(o.StandIns, manifests.StandIn{Policy: m, ExpiresAt: accepted.ExpiresAt(r.Policy)})
			return nil
		}
		return r.Policy
	}
	o.NetworkPolicies = inForce(o.NetworkPolicies, choose, func(p *v1alpha1.NetworkPolicy, from *v1alpha1.NetworkPolicy) { p.Spec = from.Spec })
	o.ClusterwidePolicies = inForce(o.ClusterwidePolicies, choose, func(p *v1alpha1.ClusterwidePolicy, from *v1alpha1.ClusterwidePolicy) { p.Spec = from.Spec })
	o.RuntimePolicies = inForce(o.RuntimePolicies, choose, func(p *v1alpha1.RuntimePolicy, from *v1alpha1.RuntimePolicy) { p.Spec = from.Spec })
	o.Upstream = inForce(o.Upstream, choose, func(p *networkingv1.NetworkPolicy, from *networkingv1.NetworkPolicy) { p.Spec = from.Spec })
	return nil
}

// records are the accepted specs of a cluster, those that this version cannot read
// by the policy that they are of.
type records struct {
	newestOf   map[model.PolicyRef]*accepted.Record
	unreadable map[string][]*accepted.Unreadable // by accepted.PolicyKey
}

func readRecords(revisions []appsv1.ControllerRevision) records {
	out := records{map[model.PolicyRef]*accepted.Record{}, map[string][]*accepted.Unreadable{}}
	for i := range revisions {
		r, err := accepted.Read(&revisions[i])
		if err != nil {
			u := accepted.NewUnreadable(&revisions[i], err)
			out.unreadable[u.Policy] = append(out.unreadable[u.Policy], u)
			continue
		}
		if r.Newer(out.newestOf[r.Ref]) {
			out.newestOf[r.Ref] = r
		}
	}
	return out
}

// newest returns the newest record of a policy, readable or not.
func (r records) newest(ref model.PolicyRef, uid types.UID) *accepted.Record {
	newest := r.newestOf[ref]
	for _, u := range r.unreadable[accepted.PolicyKey(ref)] {
		if other := u.Of(ref, uid); other.Newer(newest) {
			newest = other
		}
	}
	return newest
}

// inForce keeps the policies of which something is in force, with the spec that is.
func inForce[T any, P interface {
	*T
	client.Object
}](list []T, choose func(client.Object) client.Object, take func(P, P)) []T {
	var out []T
	for i := range list {
		if from, ok := choose(P(&list[i])).(P); ok {
			take(P(&list[i]), from)
			out = append(out, list[i])
		}
	}
	return out
}
