package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

func TestRuntimePolicy(t *testing.T) {
	got, err := RuntimePolicy(read[v1alpha1.RuntimePolicy](t, `
metadata: {name: db, namespace: shop}
spec:
  mode: Audit
  subject: {pods: {matchLabels: {app: db}}, containers: [postgres, init]}
  minimumBackend: Prevent
  severity: High
  message: as shipped
  tags: [pci]
  executables:
    default: Deny
    rules:
    - {name: shipped, action: Accept, origins: [Image]}
    - name: shell
      action: Kill
      paths: [/bin/sh, /bin/bash]
      directories: [/opt]
      globs: [/usr/lib/**.so, "/home/**"]
      origins: [Memory, Outside]
      from: [/usr/sbin/sshd]
      severity: Low
      message: no shell
      tags: [T1059]
      rateLimit: 5
    - {name: flags, action: Audit, arguments: [--privileged, "--host=**"]}
    exceptions:
    - {name: migration, reason: january, expiresAt: "2027-01-31T00:00:00Z", paths: [/migrate], from: [/bin/x]}
    - {name: old, reason: over, expiresAt: "2020-01-31T00:00:00Z", paths: [/old]}
  files:
    rules:
    - {name: etc, action: Deny, directories: [/etc], readOnly: true}
    - {name: own, action: Accept, directories: [/home], ownerOnly: true, operations: [Write, Read]}
    - {name: others, action: Kill, directories: [/], ownerOnly: true, from: [/a], includeDescendants: false}
    - {name: look, action: Accept, readOnly: true}
  privileges:
    rules:
    - {name: net, action: Deny, operations: [Capability, LoadBPF], capabilities: [NET_ADMIN, CHECKPOINT_RESTORE]}
  network:
    default: Accept
    rules:
    - name: out
      action: Deny
      operations: [Connect, Send]
      protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {}}, {icmp: {}}]
      peers: [{networks: [10.0.0.0/8]}, {ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.1/32]}}, {addressGroups: [office]}, {pods: {podSelector: {}}}, {entities: [World]}]
status: {expiredExceptions: [executables/old, files/etc]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := model.Policy{
		Ref: model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "db"}, Tier: model.TierNamespace, Mode: model.Audit,
		Subject:  model.Subject{Namespaces: model.NamespaceMatch{Name: "shop"}, Labels: selects(in("app", "db"))},
		Severity: "High", Message: "as shipped", Tags: []string{"pci"},
		Runtime: &model.Runtime{Containers: []string{"init", "postgres"}, Prevent: true, Sections: [model.Sections]model.RuntimeSection{
			model.SectionExecutables: {Isolates: true, Rules: []model.RuntimeRule{
				{Name: "flags", Action: model.RuntimeAudit, Arguments: []string{"--host=**", "--privileged"}},
				{Name: "migration", Action: model.RuntimeExcept, Paths: []string{"/migrate"}, From: []string{"/bin/x"}, FromDescendants: true, Message: "january"},
				{
					Name: "shell", Action: model.RuntimeKill, Paths: []string{"/bin/bash", "/bin/sh"}, Directories: []string{"/opt"},
					Globs:   []model.Glob{{Prefix: "/home/"}, {Prefix: "/usr/lib/", Suffix: ".so"}},
					Origins: model.OriginMemory | model.OriginOutside, From: []string{"/usr/sbin/sshd"}, FromDescendants: true,
					Severity: "Low", Message: "no shell", Tags: []string{"T1059"}, RateLimit: 5,
				},
				{Name: "shipped", Action: model.RuntimeAccept, Origins: model.OriginImage},
			}},
			model.SectionFiles: {Rules: []model.RuntimeRule{
				{Name: "etc", Action: model.RuntimeDeny, Directories: []string{"/etc"}, Operations: uint32(model.FileOperations &^ model.FileRead)},
				{Name: "look", Action: model.RuntimeAccept, Operations: uint32(model.FileRead)},
				{Name: "others", Action: model.RuntimeKill, Directories: []string{"/"}, Owner: model.OwnerNot, From: []string{"/a"}},
				{Name: "own", Action: model.RuntimeAccept, Directories: []string{"/home"}, Owner: model.OwnerOnly, Operations: uint32(model.FileRead | model.FileWrite)},
			}},
			model.SectionPrivileges: {Rules: []model.RuntimeRule{
				{Name: "net", Action: model.RuntimeDeny, Operations: uint32(model.PrivilegeCapability | model.PrivilegeLoadBPF), Capabilities: 1<<12 | 1<<40},
			}},
			model.SectionNetwork: {Rules: []model.RuntimeRule{{
				Name: "out", Action: model.RuntimeDeny, Operations: uint32(model.SocketConnect | model.SocketSend),
				Ports: []model.RuntimePorts{{Proto: model.ProtoICMP, Hi: 65535}, {Proto: model.ProtoTCP, Lo: 80, Hi: 80}, {Proto: model.ProtoUDP, Hi: 65535}},
				Peers: []model.Peer{block("10.0.0.0/8"), block("192.0.2.0/24", "192.0.2.1/32"), {Kind: model.PeerAddressGroup, Name: "office"}, pods("shop"), {Kind: model.PeerEntity, Entity: model.EntityWorld}},
			}}},
		}},
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
}

func TestClusterwideRuntime(t *testing.T) {
	got, err := ClusterwidePolicy(read[v1alpha1.ClusterwidePolicy](t, `
metadata: {name: no-bpf}
spec:
  tier: Admin
  priority: 3
  subject: {nodes: {matchLabels: {zone: z}}}
  runtime: {privileges: {rules: [{name: ebpf, action: Deny, operations: [LoadBPF]}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := model.Policy{
		Ref: model.PolicyRef{Kind: model.KindClusterwide, Name: "no-bpf"}, Tier: model.TierAdmin, Priority: 3,
		Subject: model.Subject{Kind: model.EndpointNode, Labels: selects(in("zone", "z"))},
		Runtime: &model.Runtime{Sections: [model.Sections]model.RuntimeSection{
			model.SectionPrivileges: {Rules: []model.RuntimeRule{{Name: "ebpf", Action: model.RuntimeDeny, Operations: uint32(model.PrivilegeLoadBPF)}}},
		}},
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
}

func TestRuntimePolicyRefuses(t *testing.T) {
	rule := func(section, body string) string {
		return section + `: {rules: [{name: r, action: Deny, ` + body + `}]}`
	}
	long := "/x" + strings.Repeat("é", 2047) // 4,096 bytes, in fewer characters
	for name, tc := range map[string]struct{ spec, want string }{
		"relative path":       {rule("executables", "paths: [bin/sh]"), `rtp/shop/p: spec.executables.rules[0].paths[0]: "bin/sh" is not absolute: write it from the root of the container`},
		"slash at the end":    {rule("files", "directories: [/etc/]"), `spec.files.rules[0].directories[0]: "/etc/" is not the form that the kernel resolves a path to: write /etc`},
		"dot dot":             {rule("files", "paths: [/etc/../x]"), "write /x"},
		"two slashes":         {rule("files", "paths: [//x]"), "write /x"},
		"a path too long":     {rule("files", "paths: ["+long+"]"), "a path of 4096 bytes is longer than the 4095"},
		"a star":              {rule("files", "paths: ['/usr/bin/*']"), "has a wildcard"},
		"from":                {rule("network", "from: [sh]"), `spec.network.rules[0].from[0]: "sh" is not absolute`},
		"glob without **":     {rule("files", "globs: [/etc/x]"), `"/etc/x" has no **`},
		"glob with *":         {rule("files", "globs: ['/etc/*/**']"), "is not exact"},
		"glob with two **":    {rule("files", "globs: ['/**/x/**']"), "is not exact"},
		"glob with ?":         {rule("files", "globs: ['/etc/?**']"), "is not exact"},
		"glob with [":         {rule("files", "globs: ['/etc/**[ab]']"), "is not exact"},
		"relative glob":       {rule("files", "globs: ['**.so']"), `"**.so" is not absolute`},
		"glob of no path":     {rule("files", "globs: ['/a//**']"), `has "//"`},
		"glob with dots":      {rule("files", "globs: ['/a/**/../b']"), `has a step ".."`},
		"glob with a slash":   {rule("files", "globs: ['/a/**/']"), "a slash at its end"},
		"a long glob":         {rule("files", "globs: ['"+long+"**']"), "a glob of 4098 bytes is over 4096"},
		"capability":          {rule("privileges", "operations: [Capability], capabilities: [NET_ADMN]"), `spec.privileges.rules[0].capabilities[0]: "NET_ADMN" is no capability: write a name of capabilities(7)`},
		"CAP_":                {rule("privileges", "operations: [Capability], capabilities: [CAP_NET_ADMIN]"), "write NET_ADMIN"},
		"capability alone":    {rule("privileges", "operations: [Mount], capabilities: [NET_ADMIN]"), "add Capability to operations"},
		"operation":           {rule("privileges", "operations: [Fly]"), `"Fly" is no operation of this section: write one of Capability, SetUser`},
		"operation of files":  {rule("network", "operations: [Read]"), "write one of Connect, Bind, Listen, Send"},
		"origin":              {rule("executables", "origins: [Elsewhere]"), `"Elsewhere" is no origin`},
		"arguments":           {rule("executables", "arguments: [-x]"), "set action to Audit"},
		"a long argument":     {`executables: {rules: [{name: r, action: Audit, arguments: ["` + strings.Repeat("x", 1025) + `"]}]}`, "an argument of 1025 bytes is over 1024"},
		"two ** in arguments": {`executables: {rules: [{name: r, action: Audit, arguments: ["a**b**"]}]}`, "at most one **"},
		"readOnly":            {rule("files", "readOnly: true, operations: [Read]"), "remove operations, or readOnly"},
		"ownerOnly":           {rule("files", "ownerOnly: true, operations: [Create]"), "it means nothing with Create alone"},
		"action":              {`files: {rules: [{name: r, action: Pass}]}`, `"Pass" is no action of a runtime rule`},
		"rule name":           {`files: {rules: [{name: R_1, action: Deny}]}`, `"R_1" is no DNS label`},
		"same name":           {`files: {rules: [{name: r, action: Deny}], exceptions: [{name: r, reason: x, paths: [/x], expiresAt: "2027-01-31T00:00:00Z"}]}`, "spec.files.exceptions[0].name: another rule or exception"},
		"default":             {`files: {default: Kill}`, `"Kill" is no default`},
		"nothing":             {`files: {}`, "spec.files: the section does nothing"},
		"broad exception":     {`files: {exceptions: [{name: r, reason: x, expiresAt: "2027-01-31T00:00:00Z"}]}`, "the exception matches every file"},
		"exception for ever":  {`files: {exceptions: [{name: r, reason: x, paths: [/x]}]}`, "expiresAt: it is missing"},
		"rate":                {rule("files", "rateLimit: 10001"), "10001 is no number of events"},
		"backend":             {`minimumBackend: Most, ` + rule("files", "paths: [/x]"), `"Most" is no backend`},
		"named port":          {rule("network", "protocols: [{destinationNamedPort: http}]"), "a socket knows no named ports"},
		"ICMP type":           {rule("network", "protocols: [{icmp: {type: 8}}]"), "a socket knows no named ports and no ICMP types"},
		"bind and a group":    {rule("network", "peers: [{addressGroups: [x]}]"), "has a local address and no peer"},
		"bind and labels":     {rule("network", "peers: [{pods: {podSelector: {}}}]"), "has a local address and no peer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := RuntimePolicy(read[v1alpha1.RuntimePolicy](t, `{metadata: {name: p, namespace: shop}, spec: {subject: {pods: {}}, `+tc.spec+`}}`))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestClusterwideRuntimeRefuses(t *testing.T) {
	const deny = `runtime: {files: {rules: [{name: r, action: Deny, paths: [/x]}]}}`
	for name, tc := range map[string]struct{ spec, want string }{
		"Admin isolates":        {`tier: Admin, subject: {namespaces: {}}, runtime: {files: {default: Deny}}`, "cwp/p: spec.runtime.files.default: the Admin tier cannot isolate"},
		"nodes of the network":  {`tier: Admin, subject: {nodes: {}}, egress: [{name: r, action: Deny}], ` + deny, "spec.subject: nodes and containers are about runtime alone"},
		"nodes without runtime": {`tier: Admin, subject: {nodes: {}}`, "spec.subject.nodes: a policy about nodes has a part runtime"},
		"containers of nodes":   {`tier: Admin, subject: {nodes: {}, containers: [a]}, ` + deny, "only pods have containers"},
		"container's name":      {`tier: Admin, subject: {namespaces: {}, containers: [A]}, ` + deny, `spec.subject.containers[0]: "A" is no name`},
		"two subjects":          {`tier: Admin, subject: {nodes: {}, namespaces: {}}, ` + deny, "it has exactly one of namespaces, pods, externalWorkloads and nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ClusterwidePolicy(read[v1alpha1.ClusterwidePolicy](t, `{metadata: {name: p}, spec: {`+tc.spec+`}}`))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
