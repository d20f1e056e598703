# METADATA
# title: a kill on what everybody does
# description: >-
#   Every program reads the loader's files and its own libraries, and most read
#   passwd and resolv.conf. A Kill on these, or on everything, leaves nothing alive.
# custom:
#   rule: 55
#   severity: W
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r55_common

import data.palisade.runtime

common := [
	"/bin", "/dev/null", "/etc/hosts", "/etc/ld.so.cache", "/etc/nsswitch.conf", "/etc/passwd", "/etc/resolv.conf",
	"/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64",
]

violations contains violation if {
	runtime.enforces(input.object)
	some entry in runtime.entries
	entry.action == "Kill"
	not entry.rule.from
	not entry.rule.origins
	some what in touched(entry)
	violation := {
		"field": entry.field,
		"why": sprintf("it kills whoever %s", [what]),
		"fix": "narrow the rule, or use Deny",
	}
}

touched(entry) := {"executes anything"} if {
	entry.section == "executables"
	runtime.everything(entry.rule)
} else := {"touches any file"} if {
	entry.section == "files"
	runtime.everything(entry.rule)
} else := {sprintf("reads %s, as most programs do", [path]) |
	some path in common
	runtime.covers(entry.rule, path)
} if {
	entry.section == "files"
	reads(entry.rule)
} else := {sprintf("executes what is in %s", [path]) |
	some path in ["/usr/bin", "/bin"]
	path in object.get(entry.rule, "directories", [])
} if {
	entry.section == "executables"
} else := set()

# Of a Kill, readOnly leaves reading alone.
reads(rule) if {
	not rule.readOnly
	some operation in object.get(rule, "operations", ["Read"])
	operation in {"Read", "MapExecutable"}
}
