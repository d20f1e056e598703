package palisade.rules.r55_test

import data.palisade.rules.r55_common

rtp(mode, section, rule) := {"kind": "RuntimePolicy", "object": {
	"metadata": {"name": "p", "namespace": "shop"},
	"spec": {"mode": mode, section: {"rules": [object.union({"name": "a", "action": "Kill"}, rule)]}},
}}

test_files[note] if {
	some note, tc in {
		"everything": {"rule": {}, "want": {"it kills whoever touches any file"}},
		"the root": {"rule": {"directories": ["/"], "operations": ["Write"]}, "want": {"it kills whoever touches any file"}},
		"passwd": {"rule": {"paths": ["/etc/passwd"]}, "want": {"it kills whoever reads /etc/passwd, as most programs do"}},
		"writing of passwd": {"rule": {"paths": ["/etc/passwd"], "operations": ["Write"]}, "want": set()},
		"changing of passwd": {"rule": {"paths": ["/etc/passwd"], "readOnly": true}, "want": set()},
		"libraries by glob": {
			"rule": {"globs": ["/usr/li**"], "operations": ["MapExecutable"]},
			"want": {
				"it kills whoever reads /usr/lib, as most programs do",
				"it kills whoever reads /usr/lib64, as most programs do",
			},
		},
		"passwd, by one program": {"rule": {"paths": ["/etc/passwd"], "from": ["/usr/bin/curl"]}, "want": set()},
		"shadow": {"rule": {"paths": ["/etc/shadow"]}, "want": set()},
		"what is outside": {"rule": {"origins": ["Outside"]}, "want": set()},
	}
	{v.why | some v in r55_common.violations} == tc.want with input as rtp("Enforce", "files", tc.rule)
}

test_executables[note] if {
	some note, tc in {
		"everything": {"rule": {}, "want": {"it kills whoever executes anything"}},
		"every glob": {"rule": {"globs": ["/**"]}, "want": {"it kills whoever executes anything"}},
		"programs": {"rule": {"directories": ["/usr/bin"]}, "want": {"it kills whoever executes what is in /usr/bin"}},
		"a shell": {"rule": {"paths": ["/usr/bin/dash"]}, "want": set()},
		"what is new": {"rule": {"origins": ["Modified"]}, "want": set()},
	}
	{v.why | some v in r55_common.violations} == tc.want with input as rtp("Enforce", "executables", tc.rule)
}

test_only_what_kills[note] if {
	some note, policy in {
		"audit": rtp("Audit", "executables", {}),
		"deny": rtp("Enforce", "executables", {"action": "Deny"}),
		"another section": rtp("Enforce", "privileges", {"operations": ["Mount"]}),
	}
	count(r55_common.violations) == 0 with input as policy
}
