//go:build guest

package runtime

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// tellNaming prints how long containers had the strictest rules of their pods, until the
// agent knew which they are.
func tellNaming(t *testing.T) {
	t.Helper()
	const metric = "palisade_nodeagent_container_naming_seconds_"
	answer, err := http.Get("http://" + agentAddress + "/metrics")
	must(t, err)
	defer answer.Body.Close()
	var within []string
	var count, last, sum float64
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), metric)
		if !ok {
			continue
		}
		var bound string
		var n float64
		switch {
		case scans(text, "bucket{le=%q} %g", &bound, &n):
			if n != last {
				within = append(within, fmt.Sprintf("%g within %s s", n, bound))
				last = n
			}
		case scans(text, "sum %g", &sum), scans(text, "count %g", &count):
		}
	}
	if count == 0 {
		t.Error("no container was named")
		return
	}
	fmt.Printf("naming: %g containers had their own rules after %.3f s on average: %s\n", count, sum/count, strings.Join(within, ", "))
}

func scans(text, format string, into ...any) bool {
	n, err := fmt.Sscanf(text, format, into...)
	return err == nil && n == len(into)
}
