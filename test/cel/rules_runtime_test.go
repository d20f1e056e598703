package cel

import "strings"

// runtimeRuleCases are the cases of rules about what runs, keyed like ruleCases.
// Numbers from 61 are of no catalogue but this one.
var runtimeRuleCases = map[string]ruleCase{
	"47 path": {
		message: "a relative path: ",
		accept:  []string{"/", "/usr/bin/dash", "'/usr/bin/['", "/.hidden/..x/...", "/ü", "'/with space'", "'/what?'"},
		refuse:  []string{"usr/bin/dash", "dash", "~/bin/tool", ".hidden"},
	},
	"47 glob": {
		message: "a relative glob: ",
		accept:  []string{"/**", "/**/dash", "/usr/lib/**.so", "/usr/**-tool", "/.**", "/usr/bin/py**n3"},
		refuse:  []string{"'**'", "'**.so'", "usr/lib/**.so"},
	},
	"48 path": {
		message: "a path does not end with a slash",
		accept:  []string{"/", "/etc"},
		refuse:  []string{"/etc/", "/usr/lib/"},
	},
	"48 glob": {
		message: "a glob does not end with a slash",
		accept:  []string{"/etc/**", "/etc/**d"},
		refuse:  []string{"/etc/**/", "/etc/**.d/"},
	},
	"11 runtime policy": {
		message: "the runtime policy does nothing",
		accept: []string{
			`{executables: {rules: [{name: a, action: Deny}]}}`, `{files: {rules: [{name: a, action: Kill}]}}`,
			`{privileges: {rules: [{name: a, action: Audit}]}}`, `{network: {rules: [{name: a, action: Accept}]}}`,
		},
		refuse: []string{`{minimumBackend: Prevent}`},
	},
	"11 executables": section("executables"),
	"11 files":       section("files"),
	"11 privileges":  section("privileges"),
	"11 network":     section("network"),
	"12 executables": sectionNames("executables"),
	"12 files":       sectionNames("files"),
	"12 privileges":  sectionNames("privileges"),
	"12 network":     sectionNames("network"),
	"61 Admin isolates": {
		message: "the Admin tier cannot isolate",
		accept: []string{
			`{tier: Baseline, runtime: {executables: {default: Deny}, files: {default: Deny}, privileges: {default: Deny}, network: {default: Deny}}}`,
			`{tier: Admin, runtime: {executables: {default: Accept, rules: [{name: a, action: Deny}]}}}`,
		},
		refuse: []string{
			`{tier: Admin, runtime: {executables: {default: Deny}}}`,
			`{tier: Admin, runtime: {files: {default: Deny}}}`,
			`{tier: Admin, runtime: {privileges: {default: Deny}}}`,
			`{tier: Admin, runtime: {executables: {rules: [{name: a, action: Kill}]}, network: {default: Deny}}}`,
		},
	},
	"62 subject of runtime": {
		message: "subject.nodes and subject.containers are about runtime alone",
		accept: []string{
			`{subject: {nodes: {}}, runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
			`{subject: {nodes: {}}, ingress: [], egress: [], runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
			`{subject: {namespaces: {}, containers: [app]}, runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
			`{subject: {namespaces: {}}, egress: [{name: a, action: Deny}], runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
		},
		refuse: []string{
			`{subject: {nodes: {}}, egress: [{name: a, action: Deny}]}`,
			`{subject: {nodes: {}}, ingress: [{name: a, action: Deny}], runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
			`{subject: {namespaces: {}, containers: [app]}, egress: [{name: a, action: Deny}], runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
		},
	},
	"62 containers of pods": {
		message: "only pods have containers",
		accept:  []string{`{namespaces: {}, containers: [app]}`, `{pods: {namespaceSelector: {}, podSelector: {}}, containers: [app, pause]}`},
		refuse:  []string{`{nodes: {}, containers: [app]}`, `{externalWorkloads: {namespaceSelector: {}, selector: {}}, containers: [app]}`},
	},
	"9 clusterwide runtime peer": {
		message: "a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in runtime.network",
		accept: []string{
			`{runtime: {network: {rules: [{name: a, action: Deny, operations: [Connect], peers: [{pods: {namespaceSelector: {}, podSelector: {}}}]}]}}}`,
			`{runtime: {network: {rules: [{name: a, action: Deny}], exceptions: [{name: e, reason: r, expiresAt: "2027-01-31T00:00:00Z", operations: [Send], peers: [{externalWorkloads: {namespaceSelector: {}, selector: {}}}]}]}}}`,
			`{runtime: {files: {rules: [{name: a, action: Deny}]}}}`,
		},
		refuse: []string{
			`{runtime: {network: {rules: [{name: a, action: Deny, operations: [Connect], peers: [{pods: {podSelector: {}}}]}]}}}`,
			`{runtime: {network: {rules: [{name: a, action: Deny, operations: [Connect], peers: [{networks: [10.0.0.0/8]}, {externalWorkloads: {selector: {}}}]}]}}}`,
			`{runtime: {network: {exceptions: [{name: e, reason: r, expiresAt: "2027-01-31T00:00:00Z", operations: [Send], peers: [{pods: {podSelector: {}}}]}]}}}`,
		},
	},
	"63 arguments": {
		message: "arguments can only be observed",
		accept:  []string{`{action: Audit, arguments: [--privileged]}`, `{action: Kill}`},
		refuse:  []string{`{action: Accept, arguments: [-c]}`, `{action: Deny, arguments: [-c]}`, `{action: Kill, arguments: [-c]}`},
	},
	"64 argument": {
		message: "an argument has at most one **",
		accept:  []string{"'--privileged'", "'-c'", "'--url=**'", "'**'", "'a*b'", "'***'", strings.Repeat("a", 256)},
		refuse:  []string{"'**a**'", "'****'", "'--a=**b**c**'"},
		beside:  "arguments can only be observed",
	},
	"65 exception of executables": {
		message: "the exception matches every execution",
		accept: []string{
			`{paths: [/a]}`, `{directories: [/a]}`, `{globs: [/a/**]}`, `{origins: [Modified]}`, `{from: [/a]}`,
		},
		refuse: []string{`{}`},
	},
	"65 exception of files": {
		message: "the exception matches every file",
		accept: []string{
			`{paths: [/a]}`, `{directories: [/a]}`, `{globs: [/a/**], operations: [Read]}`, `{origins: [Outside]}`, `{from: [/a]}`,
		},
		refuse: []string{`{}`, `{operations: [Read]}`},
	},
	"65 exception of network": {
		message: "the exception matches every socket",
		accept:  []string{`{operations: [Listen]}`, `{protocols: [{tcp: {}}]}`, `{peers: [{networks: [10.0.0.0/8]}]}`, `{from: [/a]}`},
		refuse:  []string{`{}`},
	},
	"66 readOnly": {
		message: "readOnly already says which operations",
		accept:  []string{`{readOnly: true}`, `{readOnly: false, operations: [Write]}`, `{operations: [Read]}`},
		refuse:  []string{`{readOnly: true, operations: [Read]}`, `{readOnly: true, operations: [Write, Create]}`},
	},
	"67 ownerOnly": {
		message: "ownerOnly means nothing with Create alone",
		accept: []string{
			`{ownerOnly: true}`, `{ownerOnly: true, operations: [Create, Write]}`, `{ownerOnly: false, operations: [Create]}`,
			`{ownerOnly: true, readOnly: true}`,
		},
		refuse: []string{`{ownerOnly: true, operations: [Create]}`},
	},
	"68 capabilities": {
		message: "capabilities belong to the operation Capability",
		accept: []string{
			`{operations: [Capability], capabilities: [NET_ADMIN, CHECKPOINT_RESTORE]}`,
			`{operations: [Mount, Capability], capabilities: [SYS_ADMIN]}`, `{operations: [Capability]}`,
		},
		refuse: []string{`{operations: [Mount], capabilities: [SYS_ADMIN]}`},
	},
	"69 peers": {
		message: "a socket that binds or listens has a local address and no peer",
		accept: []string{
			`{operations: [Connect], peers: [{nodes: {}}]}`, `{operations: [Connect, Send], peers: [{entities: [World]}, {addressGroups: [office]}]}`,
			`{operations: [Bind, Listen], peers: [{networks: [10.0.0.0/8]}, {ipBlock: {cidr: "fd00::/8"}}]}`,
			`{peers: [{networks: [10.0.0.0/8]}], operations: [Connect, Bind]}`, `{operations: [Bind]}`, `{protocols: [{tcp: {}}]}`,
		},
		refuse: []string{
			`{operations: [Bind], peers: [{nodes: {}}]}`, `{operations: [Connect, Listen], peers: [{entities: [World]}]}`,
			`{operations: [Listen], peers: [{networks: [10.0.0.0/8]}, {namespaces: {}}]}`,
			`{operations: [Bind], peers: [{addressGroups: [office]}]}`,
		},
	},
	"70 protocols": {
		message: "a socket knows no named ports and no ICMP types",
		accept: []string{
			`[{tcp: {}}, {udp: {destinationPort: {number: 53}}}, {sctp: {destinationPort: {range: {start: 1, end: 2}}}}]`, `[{icmp: {}}, {icmpv6: {}}]`,
		},
		refuse: []string{`[{destinationNamedPort: http}]`, `[{icmp: {type: 8}}]`, `[{tcp: {}}, {icmpv6: {type: 128}}]`},
	},

	// Rules of types that ingress and egress share have fewer values below a
	// socket.
	"6 ICMP code of a socket": {
		message: "an ICMP code means nothing without its type", below: "network.",
		accept: []string{`{}`},
		refuse: []string{`{code: 0}`, `{code: 4}`},
	},
	"9 protocol of a socket": {
		message: "a protocol has exactly one of", below: "network.",
		accept: []string{`{tcp: {}}`, `{udp: {destinationPort: {number: 53}}}`, `{sctp: {}}`, `{icmp: {}}`, `{icmpv6: {}}`},
		refuse: []string{`{}`, `{tcp: {}, udp: {}}`, `{icmp: {}, icmpv6: {}}`},
	},
	"port name of a socket": {
		message: "a port's name has at most 15", below: "network.",
		beside: "a socket knows no named ports",
		accept: []string{"http"},
		refuse: []string{`"8080"`, "HTTP", "http-"},
	},
}

// section has the cases of the rule that a section does something.
func section(name string) ruleCase {
	return ruleCase{
		message: "the section " + name + " does nothing",
		accept: []string{
			`{default: Deny}`, `{rules: [{name: a, action: Audit}]}`,
			`{exceptions: [{name: a, reason: r, expiresAt: "2027-01-31T00:00:00Z", ` + operations[name] + `from: [/a]}]}`,
		},
		refuse: []string{`{}`, `{default: Accept}`, `{rules: []}`, `{rules: [], exceptions: []}`},
	}
}

// sectionNames has the cases of the rule that rules and exceptions of a section
// have distinct names.
func sectionNames(name string) ruleCase {
	exception := func(called string) string {
		return `exceptions: [{name: ` + called + `, reason: r, expiresAt: "2027-01-31T00:00:00Z", ` + operations[name] + `from: [/a]}]`
	}
	return ruleCase{
		message: "a rule and an exception of " + name + " have the same name",
		accept:  []string{`{rules: [{name: a, action: Deny}], ` + exception("b") + `}`, `{default: Deny, ` + exception("a") + `}`},
		refuse:  []string{`{rules: [{name: b, action: Deny}, {name: a, action: Kill}], ` + exception("a") + `}`},
	}
}

// operations has a valid member operations of each section that has such.
var operations = map[string]string{
	"files": "operations: [Read], ", "privileges": "operations: [Mount], ", "network": "operations: [Connect], ",
}
