package runtime

// Type is a kind of rule, with an attack that is about nothing else.
type Type struct {
	Section, Name string
	// Match are the matchers of a rule for it: $dir is the attack's directory.
	Match  string
	Attack string
	// Spared is an attack on the same directory of which such a rule does not speak.
	Spared string
	// Inverse: a rule that accepts is about what one that denies spares.
	Inverse bool
	// Only is the one action that such a rule may have, if not every one.
	Only   string
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
	{Section: "executables", Name: "from", Match: `paths: [$dir/denied], from: [/bin/borrower]`, Attack: "exec-borrowed", Spared: "exec"},
	{Section: "executables", Name: "arguments", Match: `arguments: ["--le**"]`, Attack: "exec-argument", Only: Audit},
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
	{Section: "files", Name: "read-only", Match: `readOnly: true, paths: [$dir/secret]`, Attack: "write", Spared: "read", Inverse: true},
	{Section: "files", Name: "owner-only", Match: `ownerOnly: true, operations: [Read], paths: [$dir/secret]`, Attack: "read-as-other", Spared: "read", Inverse: true},
	{Section: "files", Name: "origin-image", Match: `operations: [Read], directories: [$dir], origins: [Image]`, Attack: "read", Spared: "read-own", Base: ownFile},
	{Section: "files", Name: "origin-modified", Match: `operations: [Read], directories: [$dir], origins: [Modified]`, Attack: "read-own", Spared: "read", Base: ownFile},
	{Section: "files", Name: "origin-memory", Match: `operations: [Read], directories: [$dir], origins: [Memory]`, Attack: "read-unlinked", Spared: "read-own", Base: ownFile},
	{Section: "files", Name: "origin-outside", Match: `operations: [Read], origins: [Outside]`, Attack: "leaked-read", Spared: "read"},
	{Section: "files", Name: "from", Match: `operations: [Read], paths: [$dir/secret], from: [/bin/borrower]`, Attack: "read-lent", Spared: "read"},
	{Section: "files", Name: "from-itself", Match: `operations: [Read], paths: [$dir/secret], from: [/bin/borrower], includeDescendants: false`, Attack: "read-borrowed", Spared: "read-lent"},
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
	{Section: "privileges", Name: "from", Match: `operations: [Capability], capabilities: [MKNOD], from: [/bin/borrower]`, Attack: "device-borrowed", Spared: "device"},
	{Section: "network", Name: "connect", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7999}}}]`, Attack: "connect", Base: `operations: [Bind, Listen], protocols: [{tcp: {destinationPort: {number: 7999}}}, {udp: {destinationPort: {number: 7999}}}, {sctp: {destinationPort: {number: 7999}}}]`},
	{Section: "network", Name: "connect-sctp", Match: `operations: [Connect], protocols: [{sctp: {destinationPort: {number: 7999}}}]`, Attack: "connect-sctp"},
	{Section: "network", Name: "cidr", Match: `operations: [Connect], peers: [{networks: ["::1/128"]}]`, Attack: "connect-6"},
	{Section: "network", Name: "send", Match: `operations: [Send], protocols: [{udp: {destinationPort: {number: 7999}}}]`, Attack: "udp-sendto"},
	{Section: "network", Name: "bind", Match: `operations: [Bind], protocols: [{tcp: {destinationPort: {number: 7998}}}]`, Attack: "bind"},
	{Section: "network", Name: "listen", Match: `operations: [Listen], protocols: [{tcp: {destinationPort: {number: 7997}}}]`, Attack: "listen", Base: `operations: [Bind, Connect], protocols: [{tcp: {destinationPort: {number: 7997}}}]`},
	{Section: "network", Name: "connect-udp", Match: `operations: [Connect], protocols: [{udp: {destinationPort: {number: 7989}}}]`, Attack: "connect-udp", Spared: "connect-not-udp", Base: servers},
	{Section: "network", Name: "connect-icmp", Match: `operations: [Connect], protocols: [{icmp: {}}]`, Attack: "connect-icmp", Spared: "connect-free", Base: servers},
	{Section: "network", Name: "port-range", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {range: {start: 7984, end: 7986}}}}]`, Attack: "connect-in-range", Spared: "connect-beyond-range", Base: servers},
	{Section: "network", Name: "ip-block", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7983}}}], peers: [{ipBlock: {cidr: 127.8.0.0/16, except: [127.8.1.0/24]}}]`, Attack: "connect-block", Spared: "connect-except", Base: servers},
	{Section: "network", Name: "peer-pods", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7982}}}], peers: [{pods: {podSelector: {matchLabels: {pod: ` + PeerPod + `}}}}]`, Attack: "connect-peer", Spared: "connect-stranger", Base: servers},
	{Section: "network", Name: "peer-entity", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7981}}}], peers: [{entities: [World]}]`, Attack: "connect-world", Spared: "connect-pod", Base: servers},
	{Section: "network", Name: "from", Match: `operations: [Connect], protocols: [{tcp: {destinationPort: {number: 7980}}}], from: [/bin/borrower]`, Attack: "connect-borrowed", Spared: "connect-lender", Base: servers},
}

// What several types' attacks need besides.
const (
	ownFile = `operations: [Create, Write, Delete], paths: [$dir/own]`
	servers = `operations: [Bind, Listen], protocols: [{tcp: {destinationPort: {range: {start: 7980, end: 7990}}}}, {udp: {destinationPort: {range: {start: 7980, end: 7990}}}}]`
)

// Borrower is the attacking program under another name, for rules about who asks.
const Borrower = "/bin/borrower"

// PeerPod is a pod that runs nowhere: attacks give themselves its address, which is
// 10.1.1.52, and 10.1.1.53 is that of StrangerPod.
const (
	PeerPod     = "peer"
	StrangerPod = "stranger"
	peerIndex   = 251
)

// Peers are the manifests of these pods.
func Peers() string {
	return "---\n" + PodManifest(PeerPod, UID(PeerPod), peerIndex) + "---\n" + PodManifest(StrangerPod, UID(StrangerPod), peerIndex+1)
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
