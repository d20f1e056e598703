package translate

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// NetworkPolicy translates our namespaced kind. It is expired if its condition
// Expired is True.
func NetworkPolicy(np *v1alpha1.NetworkPolicy) (model.Policy, error) {
	out := model.Policy{
		Ref:            model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: np.Namespace, Name: np.Name},
		Tier:           model.TierNamespace,
		Expired:        expired(np.Status.Conditions),
		IsolateIngress: np.Spec.Isolate.Ingress(),
		IsolateEgress:  np.Spec.Isolate.Egress(),
		Severity:       string(np.Spec.Severity),
		Message:        np.Spec.Message,
		Tags:           tags(np.Spec.Tags),
	}
	t := &policyTranslator{problems: problems{object: out.Ref.String()}, namespace: np.Namespace}
	spec := field.NewPath("spec")
	out.Mode = t.mode(spec.Child("mode"), np.Spec.Mode)
	t.isolation(spec.Child("isolate"), np.Spec.Isolate)
	out.Subject = t.namespacedSubject(spec.Child("subject"), &np.Spec.Subject)
	for i := range np.Spec.Ingress {
		r := &np.Spec.Ingress[i]
		out.Ingress = append(out.Ingress, t.rule(spec.Child("ingress").Index(i),
			ruleText{r.Name, r.Action, "from", r.From, r.Protocols, r.Log}))
	}
	for i := range np.Spec.Egress {
		r := &np.Spec.Egress[i]
		out.Egress = append(out.Egress, t.rule(spec.Child("egress").Index(i),
			ruleText{r.Name, r.Action, "to", r.To, r.Protocols, r.Log}))
	}
	t.uniqueNames(spec.Child("ingress"), out.Ingress)
	t.uniqueNames(spec.Child("egress"), out.Egress)
	// The order of the rules has no meaning; a verdict names the first by name.
	slices.SortStableFunc(out.Ingress, compareRuleNames)
	slices.SortStableFunc(out.Egress, compareRuleNames)
	if err := t.err(); err != nil {
		return model.Policy{}, err
	}
	return out, nil
}

// ClusterwidePolicy translates our kind for the Admin and Baseline tiers. It is
// expired if its condition Expired is True.
func ClusterwidePolicy(cwp *v1alpha1.ClusterwidePolicy) (model.Policy, error) {
	out := model.Policy{
		Ref:      model.PolicyRef{Kind: model.KindClusterwide, Name: cwp.Name},
		Priority: cwp.Spec.Priority,
		Expired:  expired(cwp.Status.Conditions),
		Severity: string(cwp.Spec.Severity),
		Message:  cwp.Spec.Message,
		Tags:     tags(cwp.Spec.Tags),
	}
	t := &policyTranslator{problems: problems{object: out.Ref.String()}, clusterwide: true}
	spec := field.NewPath("spec")
	out.Tier = t.tier(spec.Child("tier"), cwp.Spec.Tier)
	out.Mode = t.mode(spec.Child("mode"), cwp.Spec.Mode)
	if cwp.Spec.Priority < 0 || cwp.Spec.Priority > 1000 {
		t.add(spec.Child("priority"), "write 0 to 1000", "%d is no priority", cwp.Spec.Priority)
	}
	out.Subject = t.clusterwideSubject(spec.Child("subject"), &cwp.Spec.Subject)
	for i := range cwp.Spec.Ingress {
		r := &cwp.Spec.Ingress[i]
		out.Ingress = append(out.Ingress, t.rule(spec.Child("ingress").Index(i),
			ruleText{r.Name, r.Action, "from", r.From, r.Protocols, r.Log}))
	}
	for i := range cwp.Spec.Egress {
		r := &cwp.Spec.Egress[i]
		out.Egress = append(out.Egress, t.rule(spec.Child("egress").Index(i),
			ruleText{r.Name, r.Action, "to", r.To, r.Protocols, r.Log}))
	}
	t.uniqueNames(spec.Child("ingress"), out.Ingress)
	t.uniqueNames(spec.Child("egress"), out.Egress)
	out.Runtime = t.clusterwideRuntime(cwp, out.Tier)
	if err := t.err(); err != nil {
		return model.Policy{}, err
	}
	return out, nil
}

func compareRuleNames(a, b model.Rule) int { return cmp.Compare(a.Name, b.Name) }

func expired(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionExpired)
}

func tags(list []v1alpha1.Tag) []string {
	var out []string
	for _, t := range list {
		out = append(out, string(t))
	}
	return out
}

// policyTranslator translates one policy of our kinds.
type policyTranslator struct {
	problems
	namespace   string // the policy's own
	clusterwide bool
}

func (t *policyTranslator) mode(at *field.Path, m v1alpha1.Mode) model.Mode {
	switch m {
	case v1alpha1.ModeEnforce, "": // the schema's default
		return model.Enforce
	case v1alpha1.ModeAudit:
		return model.Audit
	}
	t.add(at, "write Enforce or Audit", "%q is no mode", m)
	return model.Enforce
}

func (t *policyTranslator) tier(at *field.Path, tier v1alpha1.Tier) model.Tier {
	switch tier {
	case v1alpha1.TierAdmin:
		return model.TierAdmin
	case v1alpha1.TierBaseline:
		return model.TierBaseline
	}
	t.add(at, "write Admin or Baseline", "%q is no tier", tier)
	return model.TierBaseline
}

func (t *policyTranslator) isolation(at *field.Path, i v1alpha1.Isolation) {
	switch i {
	case v1alpha1.IsolateNone, v1alpha1.IsolateIngress, v1alpha1.IsolateEgress, v1alpha1.IsolateBoth:
	case "":
		t.add(at, "write None, Ingress, Egress or Both", "it is missing, and is never implied")
	default:
		t.add(at, "write None, Ingress, Egress or Both", "%q is no isolation", i)
	}
}

func (t *policyTranslator) namespacedSubject(at *field.Path, s *v1alpha1.NetworkPolicySubject) model.Subject {
	own := model.NamespaceMatch{Name: t.namespace}
	switch {
	case s.Pods != nil && s.ExternalWorkloads == nil:
		return model.Subject{Kind: model.EndpointPod, Namespaces: own, Labels: t.selector(at.Child("pods"), s.Pods.Meta())}
	case s.ExternalWorkloads != nil && s.Pods == nil:
		return model.Subject{Kind: model.EndpointExternal, Namespaces: own, Labels: t.selector(at.Child("externalWorkloads"), s.ExternalWorkloads.Meta())}
	}
	t.add(at, "write pods: {} for every pod of the namespace, and a second policy for the other", "it has exactly one of pods and externalWorkloads")
	return model.Subject{}
}

func (t *policyTranslator) clusterwideSubject(at *field.Path, s *v1alpha1.ClusterwidePolicySubject) model.Subject {
	var found []model.Subject
	if s.Namespaces != nil {
		found = append(found, model.Subject{Kind: model.EndpointPod, Namespaces: t.namespaces(at.Child("namespaces"), s.Namespaces)})
	}
	if s.Pods != nil {
		found = append(found, model.Subject{
			Kind:       model.EndpointPod,
			Namespaces: t.namespaces(at.Child("pods", "namespaceSelector"), &s.Pods.NamespaceSelector),
			Labels:     t.selector(at.Child("pods", "podSelector"), s.Pods.PodSelector.Meta()),
		})
	}
	if s.ExternalWorkloads != nil {
		found = append(found, model.Subject{
			Kind:       model.EndpointExternal,
			Namespaces: t.namespaces(at.Child("externalWorkloads", "namespaceSelector"), &s.ExternalWorkloads.NamespaceSelector),
			Labels:     t.selector(at.Child("externalWorkloads", "selector"), s.ExternalWorkloads.Selector.Meta()),
		})
	}
	if s.Nodes != nil {
		found = append(found, model.Subject{Kind: model.EndpointNode, Labels: t.selector(at.Child("nodes"), s.Nodes.Meta())})
	}
	if len(found) != 1 {
		t.add(at, "write namespaces: {} for every pod of the cluster, and a second policy for the others", "it has exactly one of namespaces, pods, externalWorkloads and nodes")
		return model.Subject{}
	}
	return found[0]
}

func (t *policyTranslator) namespaces(at *field.Path, s *v1alpha1.LabelSelector) model.NamespaceMatch {
	return model.NamespaceMatch{Labels: t.selector(at, s.Meta())}
}
