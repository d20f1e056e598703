package translate

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/policy/model"
)

// selector translates a selector that is present; the empty one matches
// everything.
func (p *problems) selector(at *field.Path, s *metav1.LabelSelector) model.Selector {
	var out model.Selector
	labels := at.Child("matchLabels")
	for key, value := range s.MatchLabels {
		out.Requirements = append(out.Requirements, model.Requirement{Key: key, Op: model.In, Values: []string{value}})
	}
	slices.SortFunc(out.Requirements, compareRequirements)
	for _, r := range out.Requirements {
		p.labelKey(labels, r.Key)
		p.labelValue(labels.Key(r.Key), r.Values[0])
	}
	for i, e := range s.MatchExpressions {
		if r, ok := p.requirement(at.Child("matchExpressions").Index(i), e); ok {
			out.Requirements = append(out.Requirements, r)
		}
	}
	slices.SortFunc(out.Requirements, compareRequirements)
	out.Requirements = slices.CompactFunc(out.Requirements, func(a, b model.Requirement) bool {
		return compareRequirements(a, b) == 0
	})
	return out
}

func (p *problems) requirement(at *field.Path, e metav1.LabelSelectorRequirement) (model.Requirement, bool) {
	r := model.Requirement{Key: e.Key, Values: slices.Clone(e.Values)}
	p.labelKey(at.Child("key"), e.Key)
	for i, v := range e.Values {
		p.labelValue(at.Child("values").Index(i), v)
	}
	slices.Sort(r.Values)
	r.Values = slices.Compact(r.Values)
	takesValues := false
	switch e.Operator {
	case metav1.LabelSelectorOpIn:
		r.Op, takesValues = model.In, true
	case metav1.LabelSelectorOpNotIn:
		r.Op, takesValues = model.NotIn, true
	case metav1.LabelSelectorOpExists:
		r.Op = model.Exists
	case metav1.LabelSelectorOpDoesNotExist:
		r.Op = model.DoesNotExist
	default:
		p.add(at.Child("operator"), "write In, NotIn, Exists or DoesNotExist", "%q is no operator", e.Operator)
		return r, false
	}
	switch {
	case takesValues && len(r.Values) == 0:
		p.add(at.Child("values"), "add a value, or use Exists or DoesNotExist", "%s needs at least one value", e.Operator)
		return r, false
	case !takesValues && len(r.Values) > 0:
		p.add(at.Child("values"), "remove them, or use In or NotIn", "%s takes no values", e.Operator)
		return r, false
	}
	return r, true
}

func (p *problems) labelKey(at *field.Path, key string) {
	if len(validation.IsQualifiedName(key)) > 0 {
		p.add(at, "write NAME or PREFIX/NAME", "%q is no label key", key)
	}
}

func (p *problems) labelValue(at *field.Path, value string) {
	if len(validation.IsValidLabelValue(value)) > 0 {
		p.add(at, "write at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit", "%q is no label value", value)
	}
}

func compareRequirements(a, b model.Requirement) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op), slices.Compare(a.Values, b.Values))
}
