package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// LabelSelector selects objects by their labels, with the meaning of the
// LabelSelector that Kubernetes uses everywhere: all requirements of
// matchLabels and matchExpressions must hold, and an empty selector, {},
// selects everything. It is a type of its own only so that its size is bounded
// and its keys and values are checked by the schema.
type LabelSelector struct {
	// matchLabels maps label keys to the value that each must have. A pair
	// {key: value} equals an expression with that key, the operator In and that
	// one value.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="a key of matchLabels is no label key: write NAME or PREFIX/NAME, where NAME has at most 63 letters, digits, '-', '_' or '.' and begins and ends with a letter or digit, and PREFIX is a DNS name; at most 253 characters in all (shape 10)"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions lists further requirements; all of them must hold.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	MatchExpressions []LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelectorRequirement relates one label key to a set of values.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="In and NotIn need at least one entry in values, Exists and DoesNotExist take none: add values or change the operator (shape 10)"
type LabelSelectorRequirement struct {
	// key is the label key that the requirement is about.
	Key LabelKey `json:"key"`

	// operator relates the key to the values. In: the label is there and its
	// value is one of values. NotIn: the label is absent or its value is none
	// of values. Exists: the label is there. DoesNotExist: it is not.
	//
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values is required with In and NotIn, and absent with the others.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Values []LabelValue `json:"values,omitempty"`
}

// LabelKey is a label's key, NAME or PREFIX/NAME: NAME has at most 63 letters,
// digits, '-', '_' or '.' and begins and ends with a letter or digit; PREFIX is
// a DNS name. In a selector a key has at most 253 characters in all (shape 10).
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`
type LabelKey string

// LabelValue is a label's value: empty, or at most 63 letters, digits, '-',
// '_' or '.' that begin and end with a letter or digit (shape 10).
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue string

// Meta returns the same selector as the type that Kubernetes libraries take;
// nil gives nil.
func (s *LabelSelector) Meta() *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	out := &metav1.LabelSelector{}
	if s.MatchLabels != nil {
		out.MatchLabels = make(map[string]string, len(s.MatchLabels))
		for key, value := range s.MatchLabels {
			out.MatchLabels[key] = string(value)
		}
	}
	for _, r := range s.MatchExpressions {
		req := metav1.LabelSelectorRequirement{Key: string(r.Key), Operator: r.Operator}
		for _, v := range r.Values {
			req.Values = append(req.Values, string(v))
		}
		out.MatchExpressions = append(out.MatchExpressions, req)
	}
	return out
}

// Selector returns the compiled selector. Nil selects nothing, an empty
// selector everything, as in Kubernetes.
func (s *LabelSelector) Selector() (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(s.Meta())
}
