package runtime

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

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
	// Spec is the policy, without its subject, or empty: in lists, $dir stands for the
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

// Namespace is the one of all pods, Node where they are.
const (
	Namespace = "attacks"
	Node      = "guest"
)

// when is the time at which manifests are read: no policy here expires.
var when = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// Manifests are the node, its pods, and the rows' policies.
func Manifests(rows []Row, pods []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\nspec: {podCIDRs: [10.1.0.0/24]}\n", Node)
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", Namespace)
	for i, p := range pods {
		fmt.Fprintf(&b, "---\n%s", PodManifest(p, UID(p), i))
	}
	for _, r := range rows {
		if r.Spec == "" {
			continue
		}
		text, err := r.Manifest()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	return b.String(), nil
}

// PodManifest is a pod of the node, the i-th.
func PodManifest(name, uid string, i int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {namespace: %s, name: %s, uid: %q, labels: {pod: %s}}
spec: {nodeName: %s}
status: {podIPs: [{ip: 10.1.%d.%d}]}
`, Namespace, name, uid, name, Node, i/200, i%200+1)
}

// UID is that of the pod of a name.
func UID(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never an error
	return fmt.Sprintf("%08x-0000-4000-8000-000000000000", h.Sum32())
}

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
