package cel

import (
	"cmp"
	"slices"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// headroom is the share of a cost limit that a CRD may use, in percent. The API
// server refuses a CRD at 100; what is left is for the fields that are to come.
const headroom = 80

// TestCost estimates every rule as the API server does, and keeps each kind away
// from the limits. Run it with -v to see where the cost is.
func TestCost(t *testing.T) {
	for kind, crd := range loadCRDs(t) {
		t.Run(kind, func(t *testing.T) {
			costs := costsOf(t, crd)
			var total uint64
			byMessage := map[string]uint64{}
			for _, c := range costs {
				total += c.cost
				byMessage[c.message] += c.cost
				if limit := uint64(validation.StaticEstimatedCostLimit * headroom / 100); c.cost > limit {
					t.Errorf("%s: the rule %q costs %d, more than %d", c.field, c.message, c.cost, limit)
				}
			}
			if limit := uint64(validation.StaticEstimatedCRDCostLimit * headroom / 100); total > limit {
				t.Errorf("the rules cost %d together, more than %d", total, limit)
			}
			t.Logf("%d rules cost %d, %d%% of the limit", len(costs), total, total*100/validation.StaticEstimatedCRDCostLimit)
			messages := make([]string, 0, len(byMessage))
			for message := range byMessage {
				messages = append(messages, message)
			}
			slices.SortFunc(messages, func(a, b string) int { return cmp.Compare(byMessage[b], byMessage[a]) })
			for _, message := range messages {
				t.Logf("%9d %.70s", byMessage[message], message)
			}
		})
	}
}

type ruleCost struct {
	field   string
	message string
	cost    uint64
}

// costsOf estimates each rule of a CRD: what one evaluation costs at most, times
// how often the bounds of the lists and maps around it let it be evaluated.
func costsOf(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) []ruleCost {
	t.Helper()
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(schemaOf(crd), internal, nil); err != nil {
		t.Fatal(err)
	}
	root, err := structuralschema.NewStructural(internal)
	if err != nil {
		t.Fatal(err)
	}
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	var out []ruleCost
	var walk func(s *structuralschema.Structural, path []string, times uint64)
	walk = func(s *structuralschema.Structural, path []string, times uint64) {
		results, err := schemacel.Compile(s, model.SchemaDeclType(s, s.XEmbeddedResource), celconfig.PerCallLimit, env, schemacel.NewExpressionsEnvLoader())
		if err != nil {
			t.Fatalf("%s: %v", fieldOf(path), err)
		}
		for i, result := range results {
			if result.Error != nil {
				t.Fatalf("%s: %v", fieldOf(path), result.Error)
			}
			out = append(out, ruleCost{fieldOf(path), s.XValidations[i].Message, result.MaxCost * times})
		}
		for name, property := range s.Properties {
			walk(&property, extend(path, name), times)
		}
		if s.Items != nil {
			walk(s.Items, extend(path, "[]"), times*bound(s.ValueValidation.MaxItems))
		}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
			walk(s.AdditionalProperties.Structural, extend(path, "{}"), times*bound(s.ValueValidation.MaxProperties))
		}
	}
	walk(root, nil, 1)
	return out
}

// bound is how many elements a list or map may have; one if the schema does not
// say, since a rule below it is then refused by the API server anyway.
func bound(limit *int64) uint64 {
	if limit == nil {
		return 1
	}
	return uint64(*limit)
}
