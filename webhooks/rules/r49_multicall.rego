# METADATA
# title: many programs in one file
# description: >-
#   A file such as busybox is a shell, a downloader and a hundred more, by the name
#   with which it is started, which rules do not see. To accept one is to accept all.
# custom:
#   rule: 49
#   severity: W
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r49_multicall

import data.palisade.runtime

boxes := {"busybox", "toybox", "coreutils"}

violations contains violation if {
	some t in runtime.texts
	t.entry.section == "executables"
	t.entry.action in {"Accept", "Except"}
	t.member in {"paths", "globs"}
	name := runtime.last_name(t.text)
	name in boxes
	violation := {
		"field": t.field,
		"why": sprintf("%s is many programs in one file: all of them are accepted", [t.text]),
		"fix": "narrow the rule with from, or ship the one program that is needed",
	}
}
