# Helpers about the runtime sections of a policy.
package palisade.runtime

# entries are all rules and exceptions of all sections, with the field where each
# stands and what it does: an exception's action is Except. Fields go by name and not
# by place, so that what was there before an update is known again.
entries contains entry if {
	some section in ["executables", "files", "privileges", "network"]
	some list in ["rules", "exceptions"]
	some rule in object.get(object.get(root, section, {}), list, [])
	entry := {
		"section": section,
		"rule": rule,
		"action": object.get(rule, "action", "Except"),
		"field": sprintf("%s.%s.%s[%s]", [prefix, section, list, rule.name]),
	}
}

root := object.get(input.object.spec, "runtime", {}) if {
	input.kind == "ClusterwidePolicy"
} else := input.object.spec

prefix := "spec.runtime" if {
	input.kind == "ClusterwidePolicy"
} else := "spec"

enforces(object) if object.spec.mode != "Audit"

enforces(object) if not object.spec.mode

# texts are what a rule names by path, with the member.
texts contains {"entry": entry, "field": sprintf("%s.%s", [entry.field, member]), "member": member, "text": text} if {
	some entry in entries
	some member in ["paths", "directories", "globs", "from"]
	some text in object.get(entry.rule, member, [])
}

# covers holds if a rule's paths, directories and globs have a path. A glob may stand
# for the path: what it has in common is the text before its **.
covers(rule, path) if path in object.get(rule, "paths", [])

covers(rule, path) if {
	some directory in object.get(rule, "directories", [])
	below(path, directory)
}

covers(rule, path) if {
	some glob in object.get(rule, "globs", [])
	[begin, end] := split(glob, "**")
	startswith(path, begin)
	endswith(path, end)
	count(path) >= count(begin) + count(end)
}

below(path, directory) if path == directory

below(_, "/") := true

below(path, directory) if startswith(path, concat("", [directory, "/"]))

# last_name is the last name of a path or glob.
last_name(text) := names[count(names) - 1] if names := split(text, "/")

# everything holds for a rule that does not say which files, or says all.
everything(rule) if {
	count(object.get(rule, "paths", [])) == 0
	count(object.get(rule, "directories", [])) == 0
	count(object.get(rule, "globs", [])) == 0
}

everything(rule) if "/" in object.get(rule, "directories", [])

everything(rule) if "/**" in object.get(rule, "globs", [])
