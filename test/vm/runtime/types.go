package runtime

// Type is a kind of rule, with an attack that is about nothing else.
type Type struct {
	Section, Name string
	// Match are the matchers of a rule for it: $dir is the attack's directory.
	Match  string
	Attack string
	Volume bool
	// Half separates privileges of which one is needed for an attack on another.
	Half int
	// Base is what an allow-list must accept besides, for the attack to get that far.
	Base string
}

// Label names the type in results and rules.
func (t Type) Label() string { return t.Section + "-" + t.Name }

// Types are all kinds of rules.
var Types = []Type{
	{Section: "executables", Name: "path", Match: `paths: [$dir/denied]`, Attack: "exec"},
	{Section: "executables", Name: "directory", Match: `directories: [$dir/sub, $dir]`, Attack: "exec"},
	{Section: "executables", Name: "glob", Match: `globs: ["$dir/**nied"]`, Attack: "exec"},
	{Section: "executables", Name: "interpreter", Match: `paths: [$dir/denied]`, Attack: "script", Base: `paths: [$dir/script]`},
	{Section: "executables", Name: "script", Match: `paths: [$dir/plain]`, Attack: "denied-script", Base: `paths: [$dir/runner]`},
	{Section: "executables", Name: "mapping", Match: `paths: [$dir/code]`, Attack: "map-executable", Volume: true},
	{Section: "executables", Name: "origin-image", Match: `paths: [$dir/denied], origins: [Image]`, Attack: "exec"},
	{Section: "executables", Name: "origin-modified", Match: `paths: [$dir/copied], origins: [Modified]`, Attack: "copy-denied"},
	{Section: "executables", Name: "origin-memory", Match: `origins: [Memory]`, Attack: "memfd-exec"},
	{Section: "executables", Name: "origin-outside", Match: `origins: [Outside]`, Attack: "leaked-exec"},
	{Section: "executables", Name: "from", Match: `paths: [$dir/denied], from: [/bin/attack]`, Attack: "exec"},
	{Section: "files", Name: "read", Match: `operations: [Read], paths: [$dir/secret]`, Attack: "read"},
	{Section: "files", Name: "directory", Match: `operations: [Read], directories: [$dir]`, Attack: "read"},
	{Section: "files", Name: "glob", Match: `operations: [Read], globs: ["$dir/**ret"]`, Attack: "read"},
	{Section: "files", Name: "write", Match: `operations: [Write], paths: [$dir/secret]`, Attack: "write"},
	{Section: "files", Name: "create", Match: `operations: [Create], paths: [$dir/sub/new]`, Attack: "create", Volume: true, Base: `operations: [Write], paths: [$dir/sub/new]`},
	{Section: "files", Name: "delete", Match: `operations: [Delete], paths: [$dir/secret]`, Attack: "delete"},
	{Section: "files", Name: "rename", Match: `operations: [Rename], paths: [$dir/secret]`, Attack: "rename-secret", Base: `operations: [Create, Read], paths: [$dir/moved]`},
	{Section: "files", Name: "link", Match: `operations: [Link], paths: [$dir/secret]`, Attack: "link-secret", Base: `operations: [Create, Read], paths: [$dir/alias]`},
	{Section: "files", Name: "attributes", Match: `operations: [Attributes], paths: [$dir/denied]`, Attack: "chmod-setuid"},
	{Section: "files", Name: "map-executable", Match: `operations: [MapExecutable], paths: [$dir/code]`, Attack: "map-executable", Base: `operations: [Read], paths: [$dir/code]`},
	{Section: "files", Name: "from", Match: `operations: [Read], paths: [$dir/secret], from: [/bin/attack]`, Attack: "from"},
	{Section: "privileges", Name: "capability", Match: `operations: [Capability], capabilities: [SYS_NICE]`, Attack: "priority", Base: `operations: [Capability], capabilities: [SYS_ADMIN, SYS_CHROOT, SETUID, SETGID, SYS_PTRACE, SYS_MODULE, NET_RAW, BPF, PERFMON, DAC_OVERRIDE, SETFCAP, SYS_RESOURCE]`},
	{Section: "privileges", Name: "set-user", Match: `operations: [SetUser]`, Attack: "set-user", Half: 1},
	{Section: "privileges", Name: "set-group", Match: `operations: [SetGroup]`, Attack: "set-group"},
	{Section: "privileges", Name: "user-namespace", Match: `operations: [UserNamespace]`, Attack: "user-namespace"},
	{Section: "privileges", Name: "join-namespace", Match: `operations: [JoinNamespace]`, Attack: "join-namespace"},
	{Section: "privileges", Name: "ptrace", Match: `operations: [Ptrace]`, Attack: "ptrace", Half: 1},
	{Section: "privileges", Name: "mount", Match: `operations: [Mount]`, Attack: "tmpfs-mount", Half: 1},
	{Section: "privileges", Name: "chroot", Match: `operations: [Chroot]`, Attack: "chroot"},
	{Section: "privileges", Name: "pivot-root", Match: `operations: [PivotRoot]`, Attack: "pivot-root"},
	{Section: "privileges", Name: "load-module", Match: `operations: [LoadModule]`, Attack: "load-module"},
	{Section: "privileges", Name: "load-bpf", Match: `operations: [LoadBPF]`, Attack: "bpf-map", Half: 1},
	{Section: "privileges", Name: "write-exec-memory", Match: `operations: [WriteExecMemory]`, Attack: "write-execute"},
	{Section: "privileges", Name: "io-uring", Match: `operations: [IOUring]`, Attack: "uring-setup", Half: 1},
	{Section: "privileges", Name: "raw-socket", Match: `operations: [RawSocket]`, Attack: "raw-socket"},
	{Section: "privileges", Name: "packet-socket", Match: `operations: [PacketSocket]`, Attack: "packet-socket", Half: 1},
	{Section: "network", Name: "connect", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7999}}}]`, Attack: "connect", Base: `operations: [Bind, Listen], protocols: [{tcp: {destinationPort: {number: 7999}}}, {udp: {destinationPort: {number: 7999}}}, {sctp: {destinationPort: {number: 7999}}}]`},
	{Section: "network", Name: "connect-sctp", Match: `operations: [Connect], protocols: [{sctp: {destinationPort: {number: 7999}}}]`, Attack: "connect-sctp"},
	{Section: "network", Name: "cidr", Match: `operations: [Connect], peers: [{networks: ["::1/128"]}]`, Attack: "connect-6"},
	{Section: "network", Name: "send", Match: `operations: [Send], protocols: [{udp: {destinationPort: {number: 7999}}}]`, Attack: "udp-sendto"},
	{Section: "network", Name: "bind", Match: `operations: [Bind], protocols: [{tcp: {destinationPort: {number: 7998}}}]`, Attack: "bind"},
	{Section: "network", Name: "listen", Match: `operations: [Listen], protocols: [{tcp: {destinationPort: {number: 7997}}}]`, Attack: "listen", Base: `operations: [Bind, Connect], protocols: [{tcp: {destinationPort: {number: 7997}}}]`},
}

// Actions of a rule, as the table shows them.
const (
	Accept = "Accept"
	Audit  = "Audit"
	Deny   = "Deny"
	Kill   = "Kill"
)

// Sections of a policy.
var Sections = []string{"executables", "files", "privileges", "network"}
