package vm

import (
	"fmt"
	"strings"
	"testing"
)

func TestConsole(t *testing.T) {
	var out strings.Builder
	c := &console{to: &out}
	for _, part := range []string{"one\r\ntw", "o\r\n", "rest"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	c.flush()
	if out.String() != "one\ntwo\nrest\n" {
		t.Errorf("passed on %q", out.String())
	}
	for i := range 2 * keptLines {
		fmt.Fprintf(c, "line %d\n", i)
	}
	if tail := c.tail(); !strings.HasSuffix(tail, fmt.Sprintf("line %d", 2*keptLines-1)) || strings.Contains(tail, "rest") {
		t.Errorf("kept %q", tail)
	}
}
