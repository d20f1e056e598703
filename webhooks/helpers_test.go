package webhooks

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/tester"
)

// testerBuiltins declares our built-ins to OPA's test runner; test cases
// replace them by "with".
func testerBuiltins() []*tester.Builtin {
	var out []*tester.Builtin
	for _, b := range builtins {
		out = append(out, &tester.Builtin{Decl: b.declaration(), Func: b.implementation()})
	}
	return out
}

func testsMention(tests map[string]string, path string) bool {
	for _, text := range tests {
		if strings.Contains(text, "import "+path) {
			return true
		}
	}
	return false
}
