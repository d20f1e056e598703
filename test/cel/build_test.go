package cel

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// build makes an object of a kind that is valid but for the value at path. On
// the way down it adds what the schema requires beside the path, so that the
// answer speaks of that value alone.
func build(crd *apiextensionsv1.CustomResourceDefinition, path []string, value any) map[string]any {
	kind := crd.Spec.Names.Kind
	b := builder{kind: kind, value: value}
	object := b.at(schemaOf(crd), path, "").(map[string]any)
	object["apiVersion"] = v1alpha1.GroupVersion.String()
	object["kind"] = kind
	meta := map[string]any{"name": "case"}
	if crd.Spec.Scope == apiextensionsv1.NamespaceScoped {
		meta["namespace"] = "default"
	}
	object["metadata"] = meta
	if kind == v1alpha1.KindClusterwidePolicy && len(path) > 1 {
		needRule(object["spec"].(map[string]any))
	}
	return object
}

// needRule gives a ClusterwidePolicy the rule without which it does nothing.
func needRule(spec map[string]any) {
	if spec["ingress"] == nil && spec["egress"] == nil {
		spec["egress"] = []any{map[string]any{"name": "r", "action": "Deny"}}
	}
}

type builder struct {
	kind  string
	value any
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
		return b.complete(s, object)
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
	case "cidr":
		// An except under test needs a block of its own family around it.
		if text, ok := b.value.(string); ok && strings.Contains(text, ":") {
			return "::/0"
		}
		return "0.0.0.0/0"
	default:
		return map[string]any{
			"tier": "Admin", "priority": int64(1), "isolate": "Ingress",
			"name": "r", "action": "Deny",
			"podSelector": map[string]any{}, "selector": map[string]any{}, "namespaceSelector": map[string]any{},
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
