# METADATA
# title: a path through a link
# description: >-
#   The kernel compares paths after it has followed links. In most images /bin and
#   its like are links, so that a rule for /bin/sh alone holds in images that keep
#   /usr apart and in no other. What the author names by both names is fine.
# custom:
#   rule: 49
#   severity: W
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r49_links

import data.palisade.runtime

violations contains violation if {
	some t in runtime.texts
	other := palisade.linked(t.text)
	not names(t, other.path)
	violation := {
		"field": t.field,
		"why": sprintf("%s: %s is a link in most images, and rules hold for where links lead", [t.text, other.link]),
		"fix": sprintf("name %s too", [other.path]),
	}
}

# names holds if a rule with the same effect has the other name.
names(t, path) if {
	some entry in same(t)
	t.member != "from"
	runtime.covers(entry.rule, path)
}

names(t, path) if {
	t.member == "from"
	path in object.get(t.entry.rule, "from", [])
}

same(t) := {e | some e in runtime.entries; e.section == t.entry.section; e.action == t.entry.action}
