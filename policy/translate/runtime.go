package translate

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// RuntimePolicy translates our kind about processes. It is expired if its
// condition Expired is True; exceptions that its status lists as expired are left
// out.
func RuntimePolicy(rtp *v1alpha1.RuntimePolicy) (model.Policy, error) {
	out := model.Policy{
		Ref:      model.PolicyRef{Kind: model.KindRuntime, Namespace: rtp.Namespace, Name: rtp.Name},
		Tier:     model.TierNamespace,
		Expired:  expired(rtp.Status.Conditions),
		Severity: string(rtp.Spec.Severity),
		Message:  rtp.Spec.Message,
		Tags:     tags(rtp.Spec.Tags),
	}
	t := &runtimeTranslator{
		policyTranslator: policyTranslator{problems: problems{object: out.Ref.String()}, namespace: rtp.Namespace},
		expired:          rtp.Status.ExpiredExceptions,
	}
	spec := field.NewPath("spec")
	out.Mode = t.mode(spec.Child("mode"), rtp.Spec.Mode)
	subject := spec.Child("subject")
	out.Subject = model.Subject{
		Kind: model.EndpointPod, Namespaces: model.NamespaceMatch{Name: rtp.Namespace},
		Labels: t.selector(subject.Child("pods"), rtp.Spec.Subject.Pods.Meta()),
	}
	out.Runtime = t.runtime(spec, &rtp.Spec.RuntimeRules, rtp.Spec.MinimumBackend)
	out.Runtime.Containers = t.containers(subject.Child("containers"), rtp.Spec.Subject.Containers)
	if err := t.err(); err != nil {
		return model.Policy{}, err
	}
	return out, nil
}

// clusterwideRuntime translates the runtime part of a ClusterwidePolicy.
func (t *policyTranslator) clusterwideRuntime(cwp *v1alpha1.ClusterwidePolicy, tier model.Tier) *model.Runtime {
	at := field.NewPath("spec", "runtime")
	r := &runtimeTranslator{policyTranslator: *t, admin: tier == model.TierAdmin, expired: cwp.Status.ExpiredExceptions}
	defer func() { t.list = r.list }()
	subject := field.NewPath("spec", "subject")
	s := &cwp.Spec.Subject
	network := len(cwp.Spec.Ingress)+len(cwp.Spec.Egress) > 0
	if network && (s.Nodes != nil || len(s.Containers) > 0) {
		r.add(subject, "move ingress and egress to a policy of their own", "nodes and containers are about runtime alone")
	}
	if len(s.Containers) > 0 && (s.Nodes != nil || s.ExternalWorkloads != nil) {
		r.add(subject.Child("containers"), "remove containers, or select namespaces or pods", "only pods have containers")
	}
	if cwp.Spec.Runtime == nil {
		if s.Nodes != nil {
			r.add(subject.Child("nodes"), "add runtime, or select namespaces or pods", "a policy about nodes has a part runtime")
		}
		return nil
	}
	out := r.runtime(at, &cwp.Spec.Runtime.RuntimeRules, cwp.Spec.Runtime.MinimumBackend)
	out.Containers = r.containers(subject.Child("containers"), s.Containers)
	return out
}

// runtimeTranslator translates the sections of one policy.
type runtimeTranslator struct {
	policyTranslator
	admin   bool
	expired []string // exceptions, as SECTION/NAME
}

func (t *runtimeTranslator) runtime(at *field.Path, rules *v1alpha1.RuntimeRules, backend v1alpha1.MinimumBackend) *model.Runtime {
	out := &model.Runtime{Prevent: backend == v1alpha1.BackendPrevent}
	if backend != "" && backend != v1alpha1.BackendAny && backend != v1alpha1.BackendPrevent {
		t.add(at.Child("minimumBackend"), "write Any or Prevent", "%q is no backend", backend)
	}
	if rules.Executables != nil {
		out.Sections[model.SectionExecutables] = t.executables(at.Child("executables"), rules.Executables)
	}
	if rules.Files != nil {
		out.Sections[model.SectionFiles] = t.files(at.Child("files"), rules.Files)
	}
	if rules.Privileges != nil {
		out.Sections[model.SectionPrivileges] = t.privileges(at.Child("privileges"), rules.Privileges)
	}
	if rules.Network != nil {
		out.Sections[model.SectionNetwork] = t.sockets(at.Child("network"), rules.Network)
	}
	return out
}

func (t *runtimeTranslator) containers(at *field.Path, list []v1alpha1.ContainerName) []string {
	var out []string
	for i, name := range list {
		if len(validation.IsDNS1123Label(string(name))) > 0 {
			t.add(at.Index(i), "write the name of a container, or pause for the sandbox", "%q is no name of a container", name)
			continue
		}
		out = append(out, string(name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isolates reads a section's default.
func (t *runtimeTranslator) isolates(at *field.Path, a v1alpha1.Action) bool {
	switch {
	case a == v1alpha1.ActionAccept, a == "": // the schema's default
		return false
	case a != v1alpha1.ActionDeny:
		t.add(at, "write Accept or Deny", "%q is no default", a)
	case t.admin:
		t.add(at, "write rules with action Deny, or move the policy to the Baseline tier", "the Admin tier cannot isolate")
	}
	return true
}

// section puts the rules and exceptions of a section together: sorted by name, of
// which none is there twice.
func (t *runtimeTranslator) section(at *field.Path, s model.Section, isolates bool, rules, exceptions []model.RuntimeRule) model.RuntimeSection {
	seen := map[string]bool{}
	check := func(at *field.Path, name string) {
		if seen[name] {
			t.add(at.Child("name"), "rename one, so that an event can name which decided", "another rule or exception is called %q too", name)
		}
		seen[name] = true
	}
	out := model.RuntimeSection{Isolates: isolates, Rules: rules}
	for i := range rules {
		check(at.Child("rules").Index(i), rules[i].Name)
	}
	for i := range exceptions {
		check(at.Child("exceptions").Index(i), exceptions[i].Name)
		if !slices.Contains(t.expired, s.String()+"/"+exceptions[i].Name) {
			out.Rules = append(out.Rules, exceptions[i])
		}
	}
	if !isolates && len(rules)+len(exceptions) == 0 {
		t.add(at, "add a rule or an exception, set default to Deny, or remove the section", "the section does nothing")
	}
	// The order of the rules has no meaning.
	slices.SortStableFunc(out.Rules, func(a, b model.RuntimeRule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// common translates what rules of all sections have.
func (t *runtimeTranslator) common(at *field.Path, r *v1alpha1.RuntimeRule) model.RuntimeRule {
	out := model.RuntimeRule{
		Name: string(r.Name), Action: t.runtimeAction(at.Child("action"), r.Action),
		From:     t.paths(at.Child("from"), texts(r.From)),
		Severity: string(r.Severity), Message: r.Message, Tags: tags(r.Tags), RateLimit: uint32(max(0, r.RateLimit)),
	}
	out.FromDescendants = len(out.From) > 0 && (r.IncludeDescendants == nil || *r.IncludeDescendants)
	t.ruleName(at.Child("name"), out.Name)
	if r.RateLimit < 0 || r.RateLimit > 10000 {
		t.add(at.Child("rateLimit"), "write 1 to 10000", "%d is no number of events a second", r.RateLimit)
	}
	return out
}

func (t *runtimeTranslator) exception(at *field.Path, e *v1alpha1.RuntimeException) model.RuntimeRule {
	out := model.RuntimeRule{
		Name: string(e.Name), Action: model.RuntimeExcept, From: t.paths(at.Child("from"), texts(e.From)), Message: e.Reason,
	}
	out.FromDescendants = len(out.From) > 0
	t.ruleName(at.Child("name"), out.Name)
	if e.ExpiresAt.IsZero() {
		t.add(at.Child("expiresAt"), "write when the exception ends, or make it a rule with action Accept", "it is missing")
	}
	return out
}

func (t *runtimeTranslator) ruleName(at *field.Path, name string) {
	if len(validation.IsDNS1123Label(name)) > 0 {
		t.add(at, "write lower-case letters, digits and '-', for example no-shell", "%q is no DNS label", name)
	}
}

func (t *runtimeTranslator) runtimeAction(at *field.Path, a v1alpha1.Action) model.RuntimeAction {
	switch a {
	case v1alpha1.ActionAccept:
		return model.RuntimeAccept
	case v1alpha1.ActionAudit:
		return model.RuntimeAudit
	case v1alpha1.ActionDeny:
		return model.RuntimeDeny
	case v1alpha1.ActionKill:
		return model.RuntimeKill
	}
	t.add(at, "write Accept, Audit, Deny or Kill", "%q is no action of a runtime rule", a)
	return model.RuntimeDeny
}
