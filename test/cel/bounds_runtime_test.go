package cel

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// runtimeBounds are the sizes of runtime sections, in both kinds that have them.
func runtimeBounds() map[string]limit {
	out := map[string]limit{}
	add := func(name, path string, max int, value func(n int) any) {
		out[name] = limit{kinds: []string{"RuntimePolicy"}, path: "spec." + path, max: max, value: value}
		out["clusterwide "+name] = limit{kinds: []string{"ClusterwidePolicy"}, path: "spec.runtime." + path, max: max, value: value}
	}
	paths := list(func(i int) any { return fmt.Sprintf("/usr/bin/tool-%d", i) })
	tags := list(func(i int) any { return fmt.Sprintf("tag-%d", i) })
	for _, section := range []string{"executables", "files", "privileges", "network"} {
		rules := section + ".rules"
		add(section+" rules", rules, 50, list(func(i int) any { return map[string]any{"name": fmt.Sprintf("r%d", i), "action": "Deny"} }))
		add(section+" exceptions", section+".exceptions", 16, list(exceptionOf(section)))
		add(section+" from", rules+".[].from", 32, paths)
		add(section+" message", rules+".[].message", 256, text)
		add(section+" tags", rules+".[].tags", 16, tags)
		add(section+" rate", rules+".[].rateLimit", 10000, number)
		add(section+" reason", section+".exceptions.[].reason", 256, text)
		add(section+" exception's from", section+".exceptions.[].from", 8, paths)
	}
	for _, section := range []string{"executables", "files"} {
		for _, of := range []string{section + ".rules.[]", section + ".exceptions.[]"} {
			add(of+" paths", of+".paths", 50, paths)
			add(of+" directories", of+".directories", 50, paths)
			add(of+" globs", of+".globs", 50, list(func(i int) any { return fmt.Sprintf("/opt/**/tool-%d", i) }))
			add(of+" path", of+".paths.[]", 4095, func(n int) any { return longPath(n) })
			add(of+" directory", of+".directories.[]", 4095, func(n int) any { return longPath(n) })
			add(of+" glob", of+".globs.[]", 4096, func(n int) any { return longPath(n-2) + "**" })
		}
	}
	for _, of := range []string{"network.rules.[]", "network.exceptions.[]"} {
		add(of+" peers", of+".peers", 5, list(func(int) any { return map[string]any{"nodes": map[string]any{}} }))
		add(of+" protocols", of+".protocols", 16, list(func(int) any { return map[string]any{"tcp": map[string]any{}} }))
	}
	out["containers"] = limit{
		kinds: []string{"RuntimePolicy"}, path: "spec.subject.containers", max: 16,
		value: list(func(i int) any { return fmt.Sprintf("c%d", i) }),
	}
	return out
}

// exceptionOf makes exceptions of a section.
func exceptionOf(section string) func(int) any {
	return func(i int) any {
		out := map[string]any{"name": fmt.Sprintf("e%d", i), "reason": "why", "expiresAt": "2027-01-31T00:00:00Z", "from": []any{"/bin/sh"}}
		if section == "privileges" {
			out["operations"] = []any{"Mount"}
		}
		return out
	}
}

// TestLargestRuntime stores runtime policies at their bounds, as large as the
// API server's limit on a request's size lets them be.
func TestLargestRuntime(t *testing.T) {
	s := startServer(t)
	paths := func(format string, n int) any {
		return list(func(i int) any { return fmt.Sprintf(format, i) })(n)
	}
	fifty := func(rule func() map[string]any) any {
		return list(func(i int) any {
			out := rule()
			out["name"], out["action"] = fmt.Sprintf("rule-%d", i), "Deny"
			return out
		})(50)
	}
	matches := fifty(func() map[string]any {
		return map[string]any{
			"paths":       paths("/usr/bin/tool-%d", 50),
			"directories": paths("/usr/share/some/directory-%d", 50),
			"globs":       paths("/usr/lib/**/library-%d.so", 50),
			"from":        paths("/usr/sbin/daemon-%d", 32),
		}
	})
	peer := map[string]any{"ipBlock": map[string]any{
		"cidr": "2001:db8::/32", "except": list(func(i int) any { return fmt.Sprintf("2001:db8:%x::/48", i+4096) })(16),
	}}
	for name, sections := range map[string]map[string]any{
		"matches": {"executables": map[string]any{"rules": matches}, "files": map[string]any{"rules": matches}},
		"long paths": {"files": map[string]any{"rules": fifty(func() map[string]any {
			return map[string]any{"paths": list(func(i int) any { return fmt.Sprintf("%s%d", strings.Repeat("/d", 2000), i) })(5)}
		})}},
		"capabilities": {"privileges": map[string]any{"rules": fifty(func() map[string]any {
			return map[string]any{"operations": []any{"Capability"}, "capabilities": []any{"CHOWN", "KILL", "BPF"}, "from": paths("/usr/sbin/daemon-%d", 32)}
		})}},
		"peers": {"network": map[string]any{"rules": fifty(func() map[string]any {
			return map[string]any{
				"operations": []any{"Connect", "Send"},
				"peers":      list(func(int) any { return peer })(5),
				"protocols": list(func(i int) any {
					return map[string]any{"tcp": map[string]any{"destinationPort": map[string]any{"number": int64(i + 1)}}}
				})(16),
			}
		})}},
	} {
		for _, kind := range []string{"RuntimePolicy", "ClusterwidePolicy"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				spec := map[string]any{"subject": map[string]any{"pods": map[string]any{}}}
				target := spec
				if kind == "ClusterwidePolicy" {
					target = map[string]any{}
					spec = map[string]any{"tier": "Admin", "priority": int64(1), "subject": map[string]any{"namespaces": map[string]any{}}, "runtime": target}
				}
				for section, value := range sections {
					target[section] = value
				}
				object := &unstructured.Unstructured{Object: named(t, "{kind: "+kind+"}")}
				object.Object["spec"] = spec
				if err := s.strict.Create(t.Context(), object); err != nil {
					t.Fatalf("refused: %.500v", err)
				}
				if err := s.strict.Delete(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
