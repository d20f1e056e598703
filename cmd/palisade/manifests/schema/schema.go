// Package schema judges objects of Palisade's kinds as an API server that has
// our CustomResourceDefinitions would: unknown fields, types, bounds, list keys
// and CEL rules, with the same words, and defaults filled in.
package schema

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/config/crd"
)

// Checker judges objects of the kinds that the embedded definitions define.
type Checker struct {
	kinds map[schema.GroupVersionKind]func() (*kind, error)
}

// kind is one kind of one version, compiled when it is first met: CEL programs
// take their time and a directory rarely has every kind.
type kind struct {
	namespaced bool
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	cel        *cel.Validator
}

// New reads the embedded definitions.
func New() (*Checker, error) {
	c := &Checker{kinds: map[schema.GroupVersionKind]func() (*kind, error){}}
	names, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := crd.Bases.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var def apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &def); err != nil {
			return nil, fmt.Errorf("embedded %s: %w", name, err)
		}
		for _, version := range def.Spec.Versions {
			gvk := schema.GroupVersionKind{Group: def.Spec.Group, Version: version.Name, Kind: def.Spec.Names.Kind}
			c.kinds[gvk] = sync.OnceValues(func() (*kind, error) {
				k, err := compile(version, def.Spec.Scope == apiextensionsv1.NamespaceScoped)
				if err != nil {
					return nil, fmt.Errorf("embedded %s: %w", name, err)
				}
				return k, nil
			})
		}
	}
	return c, nil
}

func compile(version apiextensionsv1.CustomResourceDefinitionVersion, namespaced bool) (*kind, error) {
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(&props)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, err
	}
	return &kind{
		namespaced: namespaced,
		structural: structural,
		validator:  validator,
		cel:        cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// Knows reports whether the definitions have a kind.
func (c *Checker) Knows(gvk schema.GroupVersionKind) bool { return c.kinds[gvk] != nil }

// Check fills in the defaults of an object and returns what an API server would
// refuse it for, a line for each reason. Its status is dropped first: an API
// server ignores what a manifest says there.
func (c *Checker) Check(ctx context.Context, u *unstructured.Unstructured) ([]string, error) {
	compiled, ok := c.kinds[u.GroupVersionKind()]
	if !ok {
		return nil, fmt.Errorf("%s: no definition", u.GroupVersionKind())
	}
	k, err := compiled()
	if err != nil {
		return nil, err
	}
	delete(u.Object, "status")

	reasons := k.unknownFields(u)
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, k.structural)
	defaulting.Default(u.Object, k.structural)
	errs := apivalidation.ValidateObjectMetaAccessor(u, k.namespaced, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, u.Object, k.validator)...)
	errs = append(errs, objectmeta.Validate(nil, u.Object, k.structural, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, u.Object)...)
	if len(errs) == 0 && k.cel != nil { // the rules presume values of the right types and sizes
		celErrs, _ := k.cel.Validate(ctx, nil, k.structural, u.Object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, celErrs...)
	}
	// The validator goes through fields in no order.
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return cmp.Compare(a.Field, b.Field) })
	for _, e := range errs {
		reasons = append(reasons, e.Error())
	}
	return reasons, nil
}

// unknownFields removes the fields that the schema does not have, and names them.
func (k *kind) unknownFields(u *unstructured.Unstructured) []string {
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return []string{fmt.Sprintf("metadata: %s", err)}
	}
	unknown = append(unknown, pruning.PruneWithOptions(u.Object, k.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	if found {
		if err := objectmeta.SetObjectMeta(u.Object, meta); err != nil {
			return []string{fmt.Sprintf("metadata: %s", err)}
		}
	}
	for i, path := range unknown {
		unknown[i] = fmt.Sprintf("unknown field %q: check its spelling and indentation", path)
	}
	return unknown
}
