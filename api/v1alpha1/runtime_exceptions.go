package v1alpha1

import (
	"slices"
	"time"
)

// Exceptions tells when each exception of the sections ends, by SECTION/NAME as
// status.expiredExceptions lists them.
func (r *RuntimeRules) Exceptions() map[string]time.Time {
	out := map[string]time.Time{}
	add := func(section string, e *RuntimeException) {
		out[section+"/"+string(e.Name)] = e.ExpiresAt.Time
	}
	if s := r.Executables; s != nil {
		for i := range s.Exceptions {
			add("executables", &s.Exceptions[i].RuntimeException)
		}
	}
	if s := r.Files; s != nil {
		for i := range s.Exceptions {
			add("files", &s.Exceptions[i].RuntimeException)
		}
	}
	if s := r.Privileges; s != nil {
		for i := range s.Exceptions {
			add("privileges", &s.Exceptions[i].RuntimeException)
		}
	}
	if s := r.Network; s != nil {
		for i := range s.Exceptions {
			add("network", &s.Exceptions[i].RuntimeException)
		}
	}
	return out
}

// Ended lists, sorted, the exceptions that have ended by a time.
func Ended(exceptions map[string]time.Time, now time.Time) []string {
	var out []string
	for name, at := range exceptions {
		if !at.After(now) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
