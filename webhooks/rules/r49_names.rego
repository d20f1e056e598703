# METADATA
# title: a name that is a link
# description: >-
#   Of some programs the name by which people start them is a link to a file with
#   another name, which is the one that the kernel compares. A rule that names one
#   of those files besides is fine.
# custom:
#   rule: 49
#   severity: W
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r49_names

import data.palisade.runtime

# leads has, for each name, how the names of files begin that it is a link to.
leads := {
	"sh": ["dash", "bash", "busybox"],
	"rbash": ["bash"],
	"csh": ["tcsh", "bsd-csh"],
	"ksh": ["ksh93", "mksh"],
	"awk": ["mawk", "gawk", "busybox"],
	"vi": ["vim", "busybox"],
	"nc": ["nc.openbsd", "nc.traditional", "ncat", "busybox"],
	"netcat": ["nc.openbsd", "nc.traditional", "ncat"],
	"python": ["python2", "python3."],
	"python3": ["python3."],
	"nodejs": ["node"],
	"npm": ["npm-cli.js"],
	"npx": ["npx-cli.js"],
	"dnf": ["dnf-3", "dnf5"],
	"yum": ["dnf-3", "dnf5"],
	"iptables": ["xtables-"],
}

violations contains violation if {
	some t in runtime.texts
	t.member != "directories"
	name := runtime.last_name(t.text)
	files := leads[name]
	not named(t, files)
	violation := {
		"field": t.field,
		"why": sprintf("%s is a link in most images, and rules hold for the file that it leads to", [t.text]),
		"fix": sprintf("name that file too: %s", [concat(", ", files)]),
	}
}

named(t, files) if {
	some other in runtime.texts
	other.entry.section == t.entry.section
	other.entry.action == t.entry.action
	about(other) == about(t)
	some file in files
	begins(runtime.last_name(other.text), file)
}

about(t) := "process" if t.member == "from"

else := "object"

begins(name, file) if startswith(name, file)

begins(name, file) if {
	endswith(name, "**")
	startswith(file, trim_suffix(name, "**"))
}
