//go:build guest

package runtime

import (
	"testing"

	"palisade.dev/palisade/test/vm/role"
)

const roleVariable = role.Variable

var roles = map[string]func() error{}

func TestMain(m *testing.M) { role.Main(m, "runtime", roles) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
