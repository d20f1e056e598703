package runtime

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/test/vm/container"
)

// Row is one known way around: its attacks (see test/vm/attack), each of which must
// succeed without the policy and be stopped with it.
type Row struct {
	Name    string
	What    string
	Attacks []string
	// Pod is where the row takes place; rows of one pod have all their policies
	// together. Empty: the pod "paths", whose policies are all about paths of
	// their own.
	Pod string
	// Volume puts the attacks' files on a volume instead of into the image.
	Volume bool
	// Spec is the policy, without its subject: in lists, $dir stands for the
	// directory of each attack.
	Spec string
	// Held attacks begin before the policy is there.
	Held bool
	// NotStopped says why the row is documented as not stopped, if it is.
	NotStopped string
}

// PodName is the name of the row's pod.
func (r Row) PodName() string {
	if r.Pod == "" {
		return "paths"
	}
	return r.Pod
}

// Dir is the directory with an attack's files.
func (r Row) Dir(attack string) string {
	if r.Volume {
		return "/data/" + r.Name + "/" + attack
	}
	return "/rows/" + r.Name + "/" + attack
}

// Trees are the directories of the row's attacks.
func (r Row) Trees(files map[string]map[string]string) []container.Tree {
	var out []container.Tree
	for _, a := range r.Attacks {
		out = append(out, container.Tree{
			At: r.Dir(a), Deep: strings.HasPrefix(a, "deep-"), Long: strings.HasPrefix(a, "long-"), Endless: strings.HasPrefix(a, "endless-"),
			Files: files[a],
		})
	}
	return out
}

// Manifest is the row's policy as YAML.
func (r Row) Manifest() (string, error) {
	var spec map[string]any
	if err := yaml.Unmarshal([]byte(r.Spec), &spec); err != nil {
		return "", fmt.Errorf("row %s: %w", r.Name, err)
	}
	spec = r.expand(spec).(map[string]any)
	if spec["subject"] == nil {
		spec["subject"] = map[string]any{"pods": map[string]any{"matchLabels": map[string]any{"pod": r.PodName()}}}
	}
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": "policy.palisade.dev/v1alpha1", "kind": "RuntimePolicy",
		"metadata": map[string]any{"namespace": Namespace, "name": r.Name},
		"spec":     spec,
	})
	return string(out), err
}

// Namespace is the one of all pods.
const Namespace = "attacks"

// expand puts the directories in the place of $dir.
func (r Row) expand(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = r.expand(v[k])
		}
	case []any:
		var out []any
		for _, e := range v {
			text, ok := e.(string)
			if !ok || !strings.Contains(text, "$dir") {
				out = append(out, r.expand(e))
				continue
			}
			text = strings.NewReplacer("$deep", strings.Repeat("/d", 64), "$long", strings.Repeat("/"+strings.Repeat("n", 200), 9)).Replace(text)
			for _, a := range r.Attacks {
				out = append(out, strings.ReplaceAll(text, "$dir", r.Dir(a)))
			}
		}
		return out
	}
	return v
}

// Pods are the names of the pods that rows need, in order.
func Pods(rows []Row) []string {
	var out []string
	for _, r := range rows {
		if !slices.Contains(out, r.PodName()) {
			out = append(out, r.PodName())
		}
	}
	return out
}
