package runtime

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// preemption says whether the kernel interrupts itself for another process.
type preemption uint8

const (
	neverPreempts preemption = iota
	preempts
	mayPreempt // nobody says which of its modes is on
)

// preemptible notes what fmod_ret misses on a kernel that interrupts itself: a program of
// that kind is left out, and what it judges allowed, while the same program of another
// process has been interrupted on that CPU. Those of the security framework run all the same.
func preemptible(by map[Section]Backend, p preemption) {
	const misses = "fmod_ret: what a process does is not judged while another is interrupted in the same hook on its CPU: "
	for s, b := range by {
		switch p {
		case preempts:
			by[s] = b.without(s, misses+"start the kernel with preempt=voluntary or preempt=none")
		case mayPreempt:
			by[s] = b.because(misses + "whether this kernel interrupts itself is not known, preempt=voluntary and preempt=none say that it does not")
		}
	}
}

// findPreemption asks this kernel.
func findPreemption() preemption {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return mayPreempt
	}
	options, _ := os.ReadFile("/proc/cmdline")
	// Shown to who has debugfs.
	mode, _ := os.ReadFile("/sys/kernel/debug/sched/preempt")
	return preemptionOf(unix.ByteSliceToString(u.Version[:]), string(options), string(mode))
}

// preemptionOf reads what a kernel says: its version names what it was built for, and one
// built for several has a mode, which the last option of its command line chooses.
func preemptionOf(version, options, mode string) preemption {
	built := map[string]bool{}
	for _, word := range strings.Fields(version) {
		built[word] = true
	}
	if !built["PREEMPT_DYNAMIC"] {
		if built["PREEMPT"] || built["PREEMPT_RT"] || built["PREEMPT_LAZY"] {
			return preempts
		}
		return neverPreempts
	}
	if _, rest, ok := strings.Cut(mode, "("); ok {
		mode, _, _ = strings.Cut(rest, ")")
		return preemptionBy(mode)
	}
	p := mayPreempt // what it was configured with
	for _, option := range strings.Fields(options) {
		if option == "--" {
			break
		}
		if chosen, ok := strings.CutPrefix(option, "preempt="); ok && preemptionBy(chosen) != mayPreempt {
			p = preemptionBy(chosen)
		}
	}
	return p
}

func preemptionBy(mode string) preemption {
	switch mode {
	case "none", "voluntary":
		return neverPreempts
	case "full", "lazy":
		return preempts
	}
	return mayPreempt
}
