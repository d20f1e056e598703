package cel

import (
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// build makes an object of a kind that is valid but for the value at path. On
// the way down it adds what the schema requires beside the path, so that the
// answer speaks of that value alone.
func build(crd *apiextensionsv1.CustomResourceDefinition, path []string, value any) map[string]any {
	kind := crd.Spec.Names.Kind
	b := builder{kind: kind, value: value, runtime: slices.Contains(path, "runtime")}
	object := b.at(schemaOf(crd), path, "").(map[string]any)
	object["apiVersion"] = v1alpha1.GroupVersion.String()
	object["kind"] = kind
	meta := map[string]any{"name": "case"}
	if crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
		meta["namespace"] = "default"
	}
	object["metadata"] = meta
	if len(path) > 1 {
		needRule(kind, object["spec"].(map[string]any))
	}
	return object
}

// needRule gives a policy the rule without which it does nothing.
func needRule(kind string, spec map[string]any) {
	section := func() map[string]any {
		return map[string]any{"rules": []any{map[string]any{"name": "r", "action": "Deny"}}}
	}
	switch kind {
	case v1alpha1.KindRuntimePolicy:
		if spec["executables"] == nil && spec["files"] == nil && spec["privileges"] == nil && spec["network"] == nil {
			spec["files"] = section()
		}
	case v1alpha1.KindClusterwidePolicy:
		subject := spec["subject"].(map[string]any)
		switch {
		case spec["ingress"] != nil || spec["egress"] != nil || spec["runtime"] != nil:
		case subject["nodes"] != nil || subject["containers"] != nil:
			spec["runtime"] = map[string]any{"files": section()}
		default:
			spec["egress"] = []any{map[string]any{"name": "r", "action": "Deny"}}
		}
	}
}

type builder struct {
	kind  string
	value any
	// runtime is set if the value is below a ClusterwidePolicy's spec.runtime.
	runtime bool
}

// at makes the value for a schema that is called name in its parent.
func (b builder) at(s *apiextensionsv1.JSONSchemaProps, path []string, name string) any {
	if len(path) == 0 {
		if object, ok := b.value.(map[string]any); ok {
			return b.complete(s, clone(object))
		}
		return b.value
	}
	switch step := path[0]; step {
	case "[]":
		return []any{b.at(s.Items.Schema, path[1:], name)}
	case "{}":
		return map[string]any{"k": b.at(s.AdditionalProperties.Schema, path[1:], name)}
	default:
		property := s.Properties[step]
		object := map[string]any{step: b.at(&property, path[1:], step)}
		// A ClusterwidePolicy's peers always say in which namespaces.
		if _, ok := s.Properties["namespaceSelector"]; ok && b.kind == v1alpha1.KindClusterwidePolicy && step != "namespaceSelector" {
			object["namespaceSelector"] = map[string]any{}
		}
		b.narrow(s, object)
		return b.complete(s, object)
	}
}

// narrow adds what a CEL rule requires beside a property: an exception has
// something to match, capabilities have their operation, and peers an operation
// that has some.
func (b builder) narrow(s *apiextensionsv1.JSONSchemaProps, object map[string]any) {
	_, exception := s.Properties["expiresAt"]
	_, from := s.Properties["from"]
	if _, ok := object["from"]; exception && from && !ok {
		object["from"] = []any{"/bin/sh"}
	}
	_, operations := s.Properties["operations"]
	if _, ok := object["operations"]; ok || !operations {
		return
	}
	if _, ok := object["capabilities"]; ok {
		object["operations"] = []any{"Capability"}
	}
	if _, ok := object["peers"]; ok {
		object["operations"] = []any{"Connect"}
	}
}

// complete adds the required properties that an object lacks.
func (b builder) complete(s *apiextensionsv1.JSONSchemaProps, object map[string]any) map[string]any {
	for _, name := range s.Required {
		if _, ok := object[name]; !ok {
			object[name] = b.ordinary(name)
		}
	}
	return object
}

// ordinary is a valid value for a required property.
func (b builder) ordinary(name string) any {
	switch name {
	case "subject":
		if b.kind == v1alpha1.KindClusterwidePolicy {
			return map[string]any{"namespaces": map[string]any{}}
		}
		return map[string]any{"pods": map[string]any{}}
	case "tier":
		// The Admin tier cannot isolate.
		if b.runtime {
			return "Baseline"
		}
		return "Admin"
	case "operations":
		return []any{"Capability"}
	case "cidr":
		// An except under test needs a block of its own family around it.
		if text, ok := b.value.(string); ok && strings.Contains(text, ":") {
			return "::/0"
		}
		return "0.0.0.0/0"
	default:
		return map[string]any{
			"priority": int64(1), "isolate": "Ingress",
			"name": "r", "action": "Deny",
			"pods": map[string]any{}, "podSelector": map[string]any{}, "selector": map[string]any{}, "namespaceSelector": map[string]any{},
			"expiresAt": "2027-01-31T00:00:00Z", "reason": "why",
			"key": "k", "operator": "Exists",
			"start": int64(1), "end": int64(2), "port": int64(80),
			"addresses": []any{"203.0.113.7/32"}, "cidrs": []any{},
		}[name]
	}
}

func clone(object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for k, v := range object {
		out[k] = v
	}
	return out
}

// fieldOf spells a path as the API server spells a field.
func fieldOf(path []string) string {
	var field string
	for _, step := range path {
		switch {
		case step == "[]":
			field += "[0]"
		case step == "{}":
			field += "[k]"
		case field == "":
			field = step
		default:
			field += "." + step
		}
	}
	return field
}
