//go:build guest

package inside

import (
	"testing"

	"palisade.dev/palisade/test/vm/role"
)

const roleVariable = role.Variable

var roles = map[string]func() error{}

func TestMain(m *testing.M) { role.Main(m, "inside", roles) }
