package palisade.rules.r49_test

import data.palisade.rules.r49_links
import data.palisade.rules.r49_multicall
import data.palisade.rules.r49_names

rtp(spec) := {"kind": "RuntimePolicy", "object": {
	"metadata": {"name": "p", "namespace": "shop"},
	"spec": object.union({"subject": {"pods": {"matchLabels": {"app": "db"}}}}, spec),
}}

executables(rules) := rtp({"executables": {"rules": rules}})

fixes(violations) := {sprintf("%s %s", [v.field, v.fix]) | some v in violations}

test_links[note] if {
	some note, tc in {
		"a path": {
			"rules": [{"name": "a", "action": "Deny", "paths": ["/bin/dash", "/usr/bin/nsenter"]}],
			"want": {"spec.executables.rules[a].paths name /usr/bin/dash too"},
		},
		"both names": {"rules": [{"name": "a", "action": "Deny", "paths": ["/bin/dash", "/usr/bin/dash"]}], "want": set()},
		"both names, of two rules": {
			"rules": [{"name": "a", "action": "Deny", "paths": ["/bin/dash"]}, {"name": "b", "action": "Deny", "directories": ["/usr"]}],
			"want": set(),
		},
		"the other name, of a rule with another effect": {
			"rules": [{"name": "a", "action": "Deny", "paths": ["/bin/dash"]}, {"name": "b", "action": "Kill", "paths": ["/usr/bin/dash"]}],
			"want": {"spec.executables.rules[a].paths name /usr/bin/dash too"},
		},
		"a directory": {
			"rules": [{"name": "a", "action": "Accept", "directories": ["/sbin"]}],
			"want": {"spec.executables.rules[a].directories name /usr/sbin too"},
		},
		"a directory that the root covers": {"rules": [{"name": "a", "action": "Accept", "directories": ["/sbin", "/"]}], "want": set()},
		"a glob": {
			"rules": [{"name": "a", "action": "Kill", "globs": ["/lib/**.so"]}],
			"want": {"spec.executables.rules[a].globs name /usr/lib/**.so too"},
		},
		"a glob that has both": {"rules": [{"name": "a", "action": "Kill", "globs": ["/**/dash"], "paths": ["/bin/dash"]}], "want": set()},
		"who acts": {
			"rules": [{"name": "a", "action": "Accept", "origins": ["Image"], "from": ["/bin/app", "/sbin/init", "/usr/sbin/init"]}],
			"want": {"spec.executables.rules[a].from name /usr/bin/app too"},
		},
		"a name that only begins alike": {"rules": [{"name": "a", "action": "Deny", "paths": ["/binary", "/var/running"]}], "want": set()},
	}
	fixes(r49_links.violations) == tc.want with input as executables(tc.rules)
}

test_links_of_other_sections_and_kinds if {
	policy := {"kind": "ClusterwidePolicy", "object": {"metadata": {"name": "p"}, "spec": {
		"tier": "Admin",
		"runtime": {"files": {
			"rules": [{"name": "token", "action": "Deny", "directories": ["/var/run/secrets"]}],
			"exceptions": [{"name": "agent", "from": ["/bin/agent"]}],
		}},
	}}}
	fixes(r49_links.violations) == {
		"spec.runtime.files.rules[token].directories name /run/secrets too",
		"spec.runtime.files.exceptions[agent].from name /usr/bin/agent too",
	} with input as policy
}

test_a_policy_about_connections_alone if {
	policy := {"kind": "ClusterwidePolicy", "object": {"metadata": {"name": "p"}, "spec": {"tier": "Admin", "egress": []}}}
	count(r49_links.violations) == 0 with input as policy
	count(r49_names.violations) == 0 with input as policy
	count(r49_multicall.violations) == 0 with input as policy
}

test_names[note] if {
	some note, tc in {
		"a shell": {"rules": [{"name": "a", "action": "Deny", "globs": ["/**/sh"]}], "want": {"spec.executables.rules[a].globs name that file too: dash, bash, busybox"}},
		"with what it leads to": {"rules": [{"name": "a", "action": "Deny", "globs": ["/**/sh", "/**/dash"]}], "want": set()},
		"with what it leads to, of another rule": {
			"rules": [{"name": "a", "action": "Deny", "paths": ["/usr/bin/sh"]}, {"name": "b", "action": "Deny", "paths": ["/usr/bin/busybox"]}],
			"want": set(),
		},
		"a version": {"rules": [{"name": "a", "action": "Accept", "paths": ["/usr/bin/python3", "/usr/bin/python3.13"]}], "want": set()},
		"any version": {"rules": [{"name": "a", "action": "Accept", "paths": ["/usr/bin/python3"], "globs": ["/usr/bin/python3**"]}], "want": set()},
		"who acts": {
			"rules": [{"name": "a", "action": "Deny", "paths": ["/usr/bin/dash"], "from": ["/usr/bin/sh"]}],
			"want": {"spec.executables.rules[a].from name that file too: dash, bash, busybox"},
		},
		"a directory of that name": {"rules": [{"name": "a", "action": "Deny", "directories": ["/opt/sh"]}], "want": set()},
		"a name that is none": {"rules": [{"name": "a", "action": "Deny", "paths": ["/usr/bin/curl"]}], "want": set()},
	}
	fixes(r49_names.violations) == tc.want with input as executables(tc.rules)
}

test_multicall[note] if {
	some note, tc in {
		"accepted": {"rules": [{"name": "a", "action": "Accept", "paths": ["/bin/busybox"]}], "want": 1},
		"accepted by glob": {"rules": [{"name": "a", "action": "Accept", "globs": ["/**/toybox"]}], "want": 1},
		"denied": {"rules": [{"name": "a", "action": "Kill", "paths": ["/bin/busybox"]}], "want": 0},
		"who acts": {"rules": [{"name": "a", "action": "Accept", "from": ["/bin/busybox"]}], "want": 0},
	}
	count(r49_multicall.violations) == tc.want with input as executables(tc.rules)
}
