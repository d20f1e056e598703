package cel

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

const argocdDir = "../../config/argocd"

// statuses are what the controller may write, with what tools must make of it.
var statuses = map[string]struct {
	status string // generation is 3
	kstat  status.Status
	argocd string
	says   string // what Argo CD's message must hold
}{
	"none yet": {
		status: `{}`,
		kstat:  status.CurrentStatus, // kstatus cannot know better; the schema's default prevents this
		argocd: "Progressing", says: "waiting",
	},
	"default": {
		status: `{observedGeneration: -1, conditions: [{type: Accepted, status: Unknown, reason: Pending}, {type: Ready, status: Unknown, reason: Pending}]}`,
		kstat:  status.InProgressStatus, argocd: "Progressing", says: "waiting",
	},
	"ready, but for an older spec": {
		status: `{observedGeneration: 2, conditions: [{type: Ready, status: "True", reason: Realized}]}`,
		kstat:  status.InProgressStatus, argocd: "Progressing", says: "generation",
	},
	"ready": {
		status: `{observedGeneration: 3, conditions: [{type: Accepted, status: "True", reason: Accepted}, {type: Ready, status: "True", reason: Realized, message: on 2 nodes}]}`,
		kstat:  status.CurrentStatus, argocd: "Healthy", says: "Realized: on 2 nodes",
	},
	"ready without subjects": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "True", reason: NoSubjects}]}`,
		kstat:  status.CurrentStatus, argocd: "Healthy", says: "NoSubjects",
	},
	"observing": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "True", reason: Observing, message: "observing, not enforcing"}]}`,
		kstat:  status.CurrentStatus, argocd: "Healthy", says: "not enforcing",
	},
	"expired": {
		status: `{observedGeneration: 3, conditions: [{type: Expired, status: "True", reason: Expired}, {type: Ready, status: "True", reason: Expired}]}`,
		kstat:  status.CurrentStatus, argocd: "Healthy", says: "Expired",
	},
	"a node is late": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "False", reason: NodeLate, message: n2}, {type: Reconciling, status: "True", reason: NodeLate}]}`,
		kstat:  status.InProgressStatus, argocd: "Progressing", says: "NodeLate: n2",
	},
	"reconciling beside an old Ready": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "True", reason: Realized}, {type: Reconciling, status: "True", reason: Pending}]}`,
		kstat:  status.InProgressStatus, argocd: "Progressing", says: "Realized",
	},
	"not ready, nothing more said": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "False", reason: Pending}]}`,
		kstat:  status.InProgressStatus, argocd: "Progressing", says: "Pending",
	},
	"refused": {
		status: `{observedGeneration: 3, conditions: [{type: Accepted, status: "False", reason: OverCapacity}, {type: Ready, status: "False", reason: OverCapacity}, {type: Stalled, status: "True", reason: OverCapacity, message: 70000 of 65536 rows}]}`,
		kstat:  status.FailedStatus, argocd: "Degraded", says: "OverCapacity: 70000 of 65536 rows",
	},
	"bypassed": {
		status: `{observedGeneration: 3, conditions: [{type: Ready, status: "False", reason: DatapathBypassed}, {type: Stalled, status: "True", reason: DatapathBypassed, message: n1}]}`,
		kstat:  status.FailedStatus, argocd: "Degraded", says: "DatapathBypassed: n1",
	},
}

func TestStatusForTools(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(argocdDir, "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range statuses {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: named(t, "{kind: NetworkPolicy}")}
			object.SetGeneration(3)
			parsed := wholeNumbers(parse(t, tc.status)).(map[string]any)
			if len(parsed) > 0 {
				object.Object["status"] = parsed
			}
			result, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			if result.Status != tc.kstat {
				t.Errorf("kstatus says %s, want %s", result.Status, tc.kstat)
			}
			health, message := argocdHealth(t, string(script), object.Object)
			if health != tc.argocd || !strings.Contains(message, tc.says) {
				t.Errorf("Argo CD says %s (%s), want %s (%s)", health, message, tc.argocd, tc.says)
			}
		})
	}
	t.Run("being deleted", func(t *testing.T) {
		object := named(t, `{kind: NetworkPolicy}`)
		object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-11-23T00:00:00Z"
		if health, _ := argocdHealth(t, string(script), object); health != "Progressing" {
			t.Errorf("Argo CD says %s, want Progressing", health)
		}
	})
}

// argocdHealth runs the script as Argo CD does: in an interpreter with little
// more than the basic library, with the object as the global obj.
func argocdHealth(t *testing.T, script string, object map[string]any) (health, message string) {
	t.Helper()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	lua.OpenBase(state)
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returned %s, want a table", state.Get(-1))
	}
	return lua.LVAsString(result.RawGetString("status")), lua.LVAsString(result.RawGetString("message"))
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for _, key := range slices.Sorted(maps.Keys(v)) {
			table.RawSetString(key, luaValue(state, v[key]))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range v {
			table.Append(luaValue(state, item))
		}
		return table
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	default:
		return lua.LNil
	}
}

// wholeNumbers turns the numbers of a parsed document into what an object from
// an API server holds.
func wholeNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = wholeNumbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case float64:
		return int64(v)
	}
	return value
}

// TestNewObjectsWait stores each sample and reads it back: before any controller
// has run, every condition is there and Unknown, and kstatus waits.
func TestNewObjectsWait(t *testing.T) {
	s := startServer(t)
	for name, document := range documents(t, "../../config/samples") {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: parse(t, document).(map[string]any)}
			if err := s.strict.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			if err := s.strict.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
				t.Fatal(err)
			}
			result, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			if result.Status != status.InProgressStatus {
				t.Errorf("kstatus says %s (%s), want %s", result.Status, result.Message, status.InProgressStatus)
			}
			want := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady}
			if slices.Contains([]string{v1alpha1.KindNetworkPolicy, v1alpha1.KindClusterwidePolicy, v1alpha1.KindRuntimePolicy}, object.GetKind()) {
				want = []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionReady}
				if mode, _, _ := unstructured.NestedString(object.Object, "spec", "mode"); mode != string(v1alpha1.ModeEnforce) {
					t.Errorf("mode is %q by default, want %s", mode, v1alpha1.ModeEnforce)
				}
			}
			checkUnknown(t, object, want)
		})
	}
}

// TestTypedObjectsWait does the same with the Go type, which cannot leave its
// status out: the empty one that it sends must not stand in the default's way.
func TestTypedObjectsWait(t *testing.T) {
	s := startServer(t)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	typed, err := client.New(s.config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "typed", Namespace: "default"}
	network := &v1alpha1.NetworkPolicy{ObjectMeta: meta, Spec: v1alpha1.NetworkPolicySpec{
		Subject: v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{}},
		Isolate: v1alpha1.IsolateIngress,
	}}
	runs := &v1alpha1.RuntimePolicy{ObjectMeta: meta, Spec: v1alpha1.RuntimePolicySpec{RuntimeRules: v1alpha1.RuntimeRules{
		Files: &v1alpha1.FileSection{Rules: []v1alpha1.FileRule{{RuntimeRule: v1alpha1.RuntimeRule{Name: "a", Action: v1alpha1.ActionDeny}}}},
	}}}
	for _, tc := range []struct {
		policy client.Object
		status *v1alpha1.PolicyStatus
	}{{network, &network.Status}, {runs, &runs.Status}} {
		if err := typed.Create(t.Context(), tc.policy); err != nil {
			t.Fatal(err)
		}
		if err := typed.Get(t.Context(), client.ObjectKeyFromObject(tc.policy), tc.policy); err != nil {
			t.Fatal(err)
		}
		if tc.status.ObservedGeneration != -1 || len(tc.status.Conditions) != 3 {
			t.Errorf("status %+v, want observedGeneration -1 and three conditions", tc.status)
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tc.policy)
		if err != nil {
			t.Fatal(err)
		}
		checkUnknown(t, &unstructured.Unstructured{Object: content},
			[]string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionReady})
	}
	// What a rule leaves out is as the schema says.
	rule := runs.Spec.Files.Rules[0]
	if rule.IncludeDescendants == nil || !*rule.IncludeDescendants || runs.Spec.Files.Default != v1alpha1.ActionAccept ||
		runs.Spec.MinimumBackend != v1alpha1.BackendAny || runs.Spec.Mode != v1alpha1.ModeEnforce {
		t.Errorf("defaults of %+v", runs.Spec)
	}
}

// checkUnknown wants exactly these conditions, each Unknown and Pending.
func checkUnknown(t *testing.T, object *unstructured.Unstructured, want []string) {
	t.Helper()
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, c := range conditions {
		condition := c.(map[string]any)
		have = append(have, condition["type"].(string))
		if condition["status"] != string(metav1.ConditionUnknown) || condition["reason"] != v1alpha1.ReasonPending {
			t.Errorf("%v, want it Unknown with reason %s", condition, v1alpha1.ReasonPending)
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("conditions %v, want %v", have, want)
	}
}

// TestReleasedObjectsAreServed gives the fixtures of every release to the schema
// of today.
func TestReleasedObjectsAreServed(t *testing.T) {
	s := startServer(t)
	releases, err := filepath.Glob("../../api/v1alpha1/testdata/released/*")
	if err != nil || len(releases) == 0 {
		t.Fatalf("releases: %d, %v", len(releases), err)
	}
	if err := s.strict.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, release := range releases {
		for name, document := range documents(t, release) {
			t.Run(name, func(t *testing.T) {
				object := &unstructured.Unstructured{Object: wholeNumbers(parse(t, document)).(map[string]any)}
				reported := object.Object["status"]
				if err := s.strict.Create(t.Context(), object); err != nil {
					t.Fatal(err)
				}
				if reported == nil {
					return
				}
				object.Object["status"] = reported
				if err := s.strict.Status().Update(t.Context(), object); err != nil {
					t.Fatalf("status: %v", err)
				}
			})
		}
	}
}

// documents reads the objects of a folder's manifests, by file and position.
func documents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(data), "\n---\n") {
			out[filepath.Base(file)+"#"+string(rune('0'+i))] = document
		}
	}
	if len(out) == 0 {
		t.Fatalf("no manifests in %s", dir)
	}
	return out
}

// TestLibraryIsServed gives the policies that people start from to the schema,
// which refuses unknown fields here.
func TestLibraryIsServed(t *testing.T) {
	s := startServer(t)
	for name, document := range documents(t, "../../config/library") {
		t.Run(name, func(t *testing.T) {
			object := parse(t, document).(map[string]any)
			if meta := object["metadata"].(map[string]any); object["kind"] == v1alpha1.KindRuntimePolicy {
				meta["namespace"] = "default"
			}
			if err := s.dryCreate(t.Context(), object); err != nil {
				t.Error(err)
			}
		})
	}
}
