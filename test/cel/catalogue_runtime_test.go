package cel

import "strings"

// runtimeCatalogue has whole objects about what runs, keyed like catalogue.
var runtimeCatalogue = map[string]whole{
	"0 a good RuntimePolicy": {object: `
kind: RuntimePolicy
spec:
  subject: {pods: {matchLabels: {app: db}}, containers: [postgres]}
  minimumBackend: Prevent
  executables:
    default: Deny
    rules:
    - {name: shipped, action: Accept, origins: [Image]}
    - {name: shell, action: Kill, paths: [/bin/sh]}
  files:
    rules: [{name: etc, action: Deny, operations: [Write], directories: [/etc]}]`},
	"0 a good runtime part": {object: `
kind: ClusterwidePolicy
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {restricted: "true"}}}
  egress:
  - {name: metadata-service, action: Deny, to: [{networks: [169.254.169.254/32]}]}
  runtime:
    privileges:
      rules: [{name: ebpf, action: Deny, operations: [LoadBPF]}]`},
	"0 a path as long as can be": {object: runtimePolicy(`executables: {rules: [{name: a, action: Kill, paths: [` + longPath(4095) + `]}]}`)},

	"6 range of a socket": {
		object:  runtimePolicy(`network: {rules: [{name: a, action: Deny, protocols: [{tcp: {destinationPort: {range: {start: 90, end: 80}}}}]}]}`),
		field:   "spec.network.rules[0].protocols[0].tcp.destinationPort.range",
		message: "swap start and end",
	},
	"11 no section": {
		object:  runtimePolicy(`severity: Low`),
		field:   "spec",
		message: "does nothing",
	},
	"12 rule names in a section": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny}, {name: a, action: Kill}]}`),
		field:   "spec.files.rules[1]",
		message: `Duplicate value: {"name":"a"}`,
	},
	"12 one name in two sections": {
		object: runtimePolicy(`files: {rules: [{name: a, action: Deny}]}, privileges: {rules: [{name: a, action: Deny}]}`),
	},
	"46 an exception without an expiry": {
		object:  runtimePolicy(`executables: {exceptions: [{name: a, reason: r, paths: [/a]}]}`),
		field:   "spec.executables.exceptions[0].expiresAt",
		message: "Required value",
	},
	"46 an exception without a reason": {
		object:  runtimePolicy(`executables: {exceptions: [{name: a, expiresAt: "2027-01-31T00:00:00Z", paths: [/a]}]}`),
		field:   "spec.executables.exceptions[0].reason",
		message: "Required value",
	},
	"47 relative path": {
		object:  runtimePolicy(`executables: {rules: [{name: a, action: Deny, paths: [/bin/sh, bin/sh]}]}`),
		field:   "spec.executables.rules[0].paths[1]",
		message: "begin with a slash",
	},
	"47 relative from": {
		object:  runtimePolicy(`privileges: {rules: [{name: a, action: Deny, from: [nginx]}]}`),
		field:   "spec.privileges.rules[0].from[0]",
		message: "begin with a slash",
	},
	"48 two slashes":          unclean("/etc//passwd"),
	"48 two slashes to begin": unclean("//etc/passwd"),
	"48 a dot":                unclean("/etc/./passwd"),
	"48 a dot at the end":     unclean("/etc/."),
	"48 a way up":             unclean("/etc/../root"),
	"48 a way up at the end":  unclean("/etc/.."),
	"48 the root's parent":    unclean("/.."),
	"48 a NUL":                unclean(`/etc/a\0b`),
	"48 a wildcard":           unclean("/usr/bin/*"),
	"48 trailing slash": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, directories: [/etc/]}]}`),
		field:   "spec.files.rules[0].directories[0]",
		message: "does not end with a slash",
	},
	"50 too long a path": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, directories: [` + longPath(4096) + `]}]}`),
		field:   "spec.files.rules[0].directories[0]",
		message: "Too long",
	},
	"50 too long a glob": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, globs: ["` + longPath(4095) + `**"]}]}`),
		field:   "spec.files.rules[0].globs[0]",
		message: "Too long",
	},
	"56 host scope of a namespace": {
		object:  `{kind: RuntimePolicy, spec: {subject: {nodes: {}}, files: {rules: [{name: a, action: Deny}]}}}`,
		message: `unknown field "spec.subject.nodes"`,
	},
	"56 an external workload": {
		object:  `{kind: RuntimePolicy, spec: {subject: {externalWorkloads: {}}, files: {rules: [{name: a, action: Deny}]}}}`,
		message: `unknown field "spec.subject.externalWorkloads"`,
	},
	"inexact glob: none":         inexact("/usr/bin/sh"),
	"inexact glob: one star":     inexact("/usr/bin/*"),
	"inexact glob: three stars":  inexact("/usr/***"),
	"inexact glob: two globs":    inexact("/usr/**/lib/**"),
	"inexact glob: two kinds":    inexact("/usr/**/*.so"),
	"inexact glob: any one":      inexact("/usr/**/python?"),
	"inexact glob: class":        inexact("/usr/**/[a-z]"),
	"unclean glob: two slashes":  inexact("/usr//lib/**"),
	"unclean glob: a dot":        inexact("/usr/./**"),
	"unclean glob: a way up":     inexact("/usr/**/../lib"),
	"unclean glob: way up first": inexact("/../**"),

	"61 the Admin tier isolates": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, runtime: {executables: {default: Deny}}}}`,
		field:   "spec",
		message: "cannot isolate",
	},
	"no such capability": {
		object:  runtimePolicy(`privileges: {rules: [{name: a, action: Deny, operations: [Capability], capabilities: [NET_ADMIN, NET_ADMINISTRATOR]}]}`),
		field:   "spec.privileges.rules[0].capabilities[1]",
		message: "supported values: ",
	},
	"capability with its prefix": {
		object:  runtimePolicy(`privileges: {rules: [{name: a, action: Deny, operations: [Capability], capabilities: [CAP_SYS_ADMIN]}]}`),
		field:   "spec.privileges.rules[0].capabilities[0]",
		message: "supported values: ",
	},
	"no such operation": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, operations: [Truncate]}]}`),
		field:   "spec.files.rules[0].operations[0]",
		message: `supported values: "Read", "Write", "Create", "Delete", "Rename", "Link", "Attributes", "MapExecutable"`,
	},
	"no such origin": {
		object:  runtimePolicy(`executables: {rules: [{name: a, action: Deny, origins: [Volume]}]}`),
		field:   "spec.executables.rules[0].origins[0]",
		message: `supported values: "Image", "Modified", "Memory", "Outside"`,
	},
	"no such backend": {
		object:  runtimePolicy(`minimumBackend: Kill, executables: {default: Deny}`),
		field:   "spec.minimumBackend",
		message: `supported values: "Any", "Prevent"`,
	},
	"Pass is of connections": {
		object:  runtimePolicy(`network: {rules: [{name: a, action: Pass}]}`),
		field:   "spec.network.rules[0].action",
		message: `supported values: "Accept", "Audit", "Deny", "Kill"`,
	},
	"Kill is of operations": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{name: a, action: Kill}]}}`,
		field:   "spec.egress[0].action",
		message: `supported values: "Accept", "Deny", "Pass"`,
	},
	"default Kill": {
		object:  runtimePolicy(`executables: {default: Kill}`),
		field:   "spec.executables.default",
		message: `supported values: "Accept", "Deny"`,
	},
	"origins of privileges": {
		object:  runtimePolicy(`privileges: {rules: [{name: a, action: Deny, origins: [Image]}]}`),
		message: `unknown field "spec.privileges.rules[0].origins"`,
	},
	"bad container name": {
		object:  `{kind: RuntimePolicy, spec: {subject: {pods: {}, containers: [App]}, executables: {default: Deny}}}`,
		field:   "spec.subject.containers[0]",
		message: "should match",
	},
	"no containers": {
		object:  `{kind: RuntimePolicy, spec: {subject: {pods: {}, containers: []}, executables: {default: Deny}}}`,
		field:   "spec.subject.containers",
		message: "should have at least 1 items",
	},
	"a rate of nothing": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, rateLimit: -1}]}`),
		field:   "spec.files.rules[0].rateLimit",
		message: "should be greater than or equal to 1",
	},
	// An empty list that matches nothing and one that matches everything look
	// the same, so neither can be written.
	"no paths": {
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, paths: []}]}`),
		field:   "spec.files.rules[0].paths",
		message: "should have at least 1 items",
	},
	"no peers": {
		object:  runtimePolicy(`network: {rules: [{name: a, action: Deny, peers: []}]}`),
		field:   "spec.network.rules[0].peers",
		message: "should have at least 1 items",
	},
}

// runtimePolicy is a RuntimePolicy about every pod of its namespace.
func runtimePolicy(spec string) string {
	return "{kind: RuntimePolicy, spec: {subject: {pods: {}}, " + spec + "}}"
}

// unclean is a path that the kernel would never resolve to.
func unclean(path string) whole {
	return whole{
		object:  runtimePolicy(`files: {rules: [{name: a, action: Deny, paths: ["` + path + `"]}]}`),
		field:   "spec.files.rules[0].paths[0]",
		message: "should match",
	}
}

// inexact is a glob that is no beginning and end, or that is unclean.
func inexact(glob string) whole {
	return whole{
		object:  runtimePolicy(`executables: {rules: [{name: a, action: Deny, globs: ["` + glob + `"]}]}`),
		field:   "spec.executables.rules[0].globs[0]",
		message: "should match",
	}
}

// longPath is a clean path of n characters.
func longPath(n int) string {
	return strings.Repeat("/directory", n)[:n-1] + "e"
}
