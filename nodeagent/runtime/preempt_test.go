package runtime

import (
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/events"
)

func TestPreemption(t *testing.T) {
	const dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.43-1 (2025-09-05)"
	for name, c := range map[string]struct {
		version, options, mode string
		want                   preemption
	}{
		"built without":             {"#1 SMP Debian 5.10.1", "", "", neverPreempts},
		"built with":                {"#1 SMP PREEMPT Debian 5.10.1", "preempt=none", "", preempts},
		"real time":                 {"#1 SMP PREEMPT_RT Debian 6.1.1", "", "", preempts},
		"its mode is shown":         {dynamic, "preempt=full", "none (voluntary) full lazy\n", neverPreempts},
		"its mode is full":          {dynamic, "", "none voluntary (full)\n", preempts},
		"its mode is lazy":          {dynamic, "", "none voluntary full (lazy)\n", preempts},
		"chosen":                    {dynamic, "quiet preempt=voluntary", "", neverPreempts},
		"chosen, the last counts":   {dynamic, "preempt=none quiet preempt=full", "", preempts},
		"an option of what it runs": {dynamic, "quiet -- preempt=none", "", mayPreempt},
		"no mode":                   {dynamic, "preempt=often", "", mayPreempt},
		"not chosen":                {dynamic, "", "", mayPreempt},
	} {
		t.Run(name, func(t *testing.T) {
			if got := preemptionOf(c.version, c.options, c.mode); got != c.want {
				t.Errorf("preemption %d, want %d", got, c.want)
			}
		})
	}
}

// TestPreemptible: a policy that wants its rules prevented is told that they are not always.
func TestPreemptible(t *testing.T) {
	for name, c := range map[string]struct {
		kernel   preemption
		unjudged bool
		says     string
	}{
		"never": {neverPreempts, false, ""},
		"yes":   {preempts, true, "preempt=voluntary"},
		"maybe": {mayPreempt, false, "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			by := all(Backend{Means: events.FmodRet, Detail: "lsm: no"})
			preemptible(by, c.kernel)
			for s, b := range by {
				if (b.Unjudged == everything(s)) != c.unjudged || !strings.Contains(b.Message(s), c.says) || !strings.Contains(b.Message(s), "lsm: no") {
					t.Errorf("%s: unjudged %x, %q", s, b.Unjudged, b.Message(s))
				}
				if c.kernel == neverPreempts && b.Message(s) != "lsm: no" {
					t.Errorf("%s: %q, and nothing is missed", s, b.Message(s))
				}
			}
		})
	}
}
