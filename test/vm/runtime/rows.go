package runtime

// Policies that several rows use.
const (
	onlyTheImage = `executables: {default: Deny, rules: [{name: shipped, action: Accept, origins: [Image]}]}`
	noRead       = `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/secret]}]}`
	noExec       = `executables: {rules: [{name: denied, action: Deny, paths: [$dir/denied]}]}`
	noPort       = `network: {rules: [{name: port, action: Deny, operations: [Connect, Send], protocols: [{tcp: {destinationPort: {number: 7999}}}, {udp: {destinationPort: {number: 7999}}}, {sctp: {destinationPort: {number: 7999}}}]}]}`
)

// An allow-list of files has what the attacking program needs itself.
const needs = `{name: needs, action: Accept, directories: [/bin, /dev, /proc, /sys, /run, /etc, /tmp, /lib64, /lib]}`

func noPrivilege(operations string) string {
	return "privileges: {rules: [{name: denied, action: Deny, operations: [" + operations + "]}]}"
}

// Rows are the ways around that are known from other engines, by their numbers, and
// more.
var Rows = []Row{
	{
		Name: "bypass-01", What: "a symbolic link or /proc/self/root leads to the file", Spec: noRead + "\n" + noExec,
		Attacks: []string{"read-symlink", "read-image-link", "read-proc-root", "read-proc-1-root", "read-proc-cwd", "read-relative", "exec-symlink", "exec-proc-root"},
	},
	{
		Name: "bypass-02", What: "a hard link to the file",
		Spec:    `files: {rules: [{name: secret, action: Deny, paths: [$dir/secret]}, {name: denied, action: Deny, operations: [Link], paths: [$dir/denied]}]}`,
		Attacks: []string{"link-secret", "link-descriptor", "link-denied"},
	},
	{
		Name: "bypass-03", What: "a copy of the denied program, another name for it, or its content in one that may run", Pod: "image",
		Spec: onlyTheImage, Attacks: []string{"copy-denied", "rename-denied", "overwrite-exec", "link-denied"},
	},
	{
		Name: "bypass-04", What: "the directory above is renamed", Volume: true,
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read, Rename], paths: [$dir/sub/secret]}]}`,
		Attacks: []string{"rename-parent", "exchange-parent"},
	},
	{
		Name: "bypass-05", What: "a mount shows the file elsewhere", Pod: "mount",
		Spec:    noPrivilege("Mount") + "\nfiles: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/sub/secret]}]}",
		Attacks: []string{"bind-mount", "bind-mount-file", "unshare-mount", "overlay-mount", "moved-mount", "detached-mount"},
	},
	{
		Name: "dead-mount", What: "a mount whose namespace has ended", Pod: "mount", Volume: true,
		Spec:    noPrivilege("Mount") + "\nfiles: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/sub/secret]}]}",
		Attacks: []string{"dead-namespace"},
	},
	{
		Name: "bypass-06", What: "new pid and mount namespaces change the key", Spec: noRead + "\n" + noExec,
		Attacks: []string{"unshare-exec", "unshare-read"},
	},
	{
		Name: "bypass-07", What: "chroot changes what / is",
		Spec:    noRead + "\nexecutables: {rules: [{name: denied, action: Deny, paths: [$dir/root/bin/denied]}]}",
		Attacks: []string{"chroot-exec", "chroot-read"},
	},
	{
		Name: "bypass-08", What: "a path of 64 components",
		Spec:    "files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir$deep/secret]}]}\nexecutables: {rules: [{name: denied, action: Deny, directories: [$dir/d/d]}]}",
		Attacks: []string{"deep-secret", "deep-denied"},
	},
	{
		Name: "bypass-09", What: "a path of 1,800 bytes, and one that is longer than any the kernel takes", Volume: true,
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir$long/secret], directories: [$dir/endless]}]}`,
		Attacks: []string{"long-secret", "endless-secret"},
	},
	{
		Name: "bypass-10", What: "a program that is no file of the image: memfd, shared memory, tmpfs, a volume, an unlinked file, an overlay of the attacker's", Pod: "image",
		Spec: onlyTheImage, Attacks: []string{"memfd-exec", "memfd-sealed-exec", "memfd-descriptor-exec", "shm-exec", "tmpfs-exec", "volume-exec", "unlinked-exec", "overlay-exec"},
	},
	{
		Name: "bypass-11", What: "a script of a denied interpreter, and a denied script",
		Spec: `executables: {rules: [{name: denied, action: Deny, paths: [$dir/denied, $dir/plain]}]}`, Attacks: []string{"script", "denied-script"},
	},
	{Name: "bypass-12", What: "a script whose interpreter is a script of the denied one", Spec: noExec, Attacks: []string{"nested-script"}},
	{
		Name: "bypass-13", What: "the loader is started by hand, or code is mapped from a file",
		Spec:    `executables: {rules: [{name: denied, action: Deny, paths: [$dir/dynamic, $dir/code]}]}`,
		Attacks: []string{"loader", "map-executable", "protect-executable"},
	},
	{
		Name: "bypass-14", What: "io_uring instead of system calls",
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read, Delete], paths: [$dir/secret]}]}`,
		Attacks: []string{"uring-read", "uring-async", "uring-thread", "uring-unlink"},
	},
	{Name: "bypass-15", What: "the path in memory changes after the check", Spec: noRead + "\n" + noExec, Attacks: []string{"race-open", "race-exec"}},
	{
		Name: "bypass-16", What: "TCP fast open connects by sending", Pod: "network", Spec: noPort,
		Attacks: []string{"fastopen-sendto", "fastopen-sendmsg", "fastopen-connect", "fastopen-smc"},
	},
	{
		Name: "bypass-17", What: "MPTCP, SMC, SCTP, an address by setsockopt, an IPv4 address in IPv6", Pod: "network", Spec: noPort,
		Attacks: []string{"connect", "connect-6", "connect-mapped", "connect-mptcp", "connect-smc", "connect-smc-protocol", "connect-sctp", "connectx-sctp", "sctp-sendto"},
	},
	{
		Name: "bypass-18", What: "the container runtime's own file (CVE-2019-5736), and a descriptor that it leaks (CVE-2024-21626)", Pod: "outside",
		Spec:    "files: {rules: [{name: outside, action: Deny, origins: [Outside]}]}\nexecutables: {rules: [{name: outside, action: Deny, origins: [Outside]}]}",
		Attacks: []string{"overwrite-runtime", "leaked-read", "leaked-write", "leaked-exec"},
	},
	{
		Name: "bypass-19", What: "a file that was opened before the policy", Pod: "held", Held: true,
		Spec: `files: {rules: [{name: secret, action: Deny, operations: [Read, Write], paths: [$dir/secret]}]}` + "\n" + noExec,
		Attacks: []string{
			"held-read", "held-pread", "held-readv", "held-map", "held-sendfile", "held-copy-range", "held-splice", "held-uring", "held-reopen",
			"held-path-descriptor", "held-write", "held-truncate", "held-exec",
		},
	},
	{
		Name: "bypass-20", What: "a child process in a cgroup of its own, also one named as a pod's", Spec: noRead + "\n" + noExec,
		Attacks: []string{"child-cgroup-exec", "child-cgroup-read", "forged-cgroup-exec", "forged-cgroup-read"},
	},
	{
		Name: "held-mapping", What: "a file that was mapped before the policy", Pod: "held", Held: true, Spec: noRead, Attacks: []string{"held-mapping"},
		NotStopped: "the pages are the process's own memory: reading them enters the kernel no more",
	},
	{
		Name: "held-device", What: "a device that was opened before the policy", Pod: "held-device", Held: true, Attacks: []string{"held-device"},
		Spec: `files: {rules: [{name: log, action: Deny, operations: [Write], paths: [$dir/log]}]}`,
	},
	{
		Name: "exec-forms", What: "every system call that executes, from every kind of descriptor", Spec: noExec,
		Attacks: []string{"exec", "exec-thread", "exec-descriptor", "exec-path-descriptor", "exec-proc-descriptor", "exec-directory", "fork-double-exec"},
	},
	{
		Name: "open-forms", What: "openat2, and a descriptor without rights that is opened again", Spec: noRead,
		Attacks: []string{"read", "read-openat2-root", "read-openat2-beneath", "read-reopened"},
	},
	{Name: "file-handle", What: "a file by its handle", Volume: true, Spec: noRead, Attacks: []string{"read-handle"}},
	{
		Name: "cold-handle", What: "a file by its handle, whose name the kernel does not know", Pod: "image", Attacks: []string{"read-cold-handle"},
		Spec: `files: {rules: [{name: events, action: Deny, operations: [Read], paths: [/sys/fs/cgroup/cold-handle/cgroup.events]}]}`,
	},
	{
		Name: "rename-forms", What: "the file is renamed, or exchanged with one that may be read",
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read, Rename], paths: [$dir/secret]}]}`,
		Attacks: []string{"rename-secret", "exchange-secret"},
	},
	{
		Name: "write-forms", What: "every way to change a file's content", Spec: `files: {rules: [{name: secret, action: Deny, operations: [Write], paths: [$dir/secret]}]}`,
		Attacks: []string{"write", "append", "open-truncated", "truncate", "fallocate"},
	},
	{
		Name: "create-forms", What: "every way to a new name", Spec: `files: {rules: [{name: new, action: Deny, operations: [Create], directories: [$dir/sub]}]}`, Volume: true,
		Attacks: []string{"create", "create-mknod", "create-directory", "create-symlink", "create-rename", "create-link", "create-unnamed"},
	},
	{
		Name: "delete-forms", What: "a file or directory is removed or replaced",
		Spec:    `files: {rules: [{name: gone, action: Deny, operations: [Create, Delete], paths: [$dir/secret, $dir/empty]}]}`,
		Attacks: []string{"delete", "delete-directory", "replace"},
	},
	{
		Name: "attributes", What: "mode (set-user-id), owner, times, capabilities, access lists and flags of a file",
		Spec:    `files: {rules: [{name: denied, action: Deny, operations: [Attributes], paths: [$dir/denied]}]}`,
		Attacks: []string{"chmod-setuid", "chmod-descriptor", "chown", "utimes", "setxattr", "set-acl", "file-flags"},
	},
	{
		Name: "from", What: "a descendant whose parent is gone does it",
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/secret], from: [/bin/attack]}]}`,
		Attacks: []string{"from", "from-descendant"},
	},
	{
		Name: "from-script", What: "a script does it, through its interpreter",
		Spec:    `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/secret], from: [$dir/reader]}]}`,
		Attacks: []string{"from-script"},
	},
	{
		Name: "from-outside", What: "a program of the node has the path of one that may", Pod: "borrower",
		Spec:    `files: {default: Deny, rules: [` + needs + `, {name: reader, action: Accept, operations: [Read], paths: [$dir/secret], from: [/run/leaked/attack]}]}`,
		Attacks: []string{"from-outside"},
	},
	{
		Name: "core-pattern", What: "a setting of the node that executes outside", Attacks: []string{"core-pattern-write"},
		Spec: `files: {rules: [{name: settings, action: Deny, operations: [Write], directories: [/proc/sys]}]}`,
	},
	{
		Name: "patch-memory", What: "a program changes its own code through /proc/self/mem", Attacks: []string{"patch-memory"},
		Spec: `files: {rules: [{name: memory, action: Deny, operations: [Write], globs: ["/proc/**/mem"]}]}`,
	},
	{
		Name: "foreign-mount", What: "another container's files, through its process in /proc", Pod: "foreign",
		Spec: "files: {rules: [{name: outside, action: Deny, origins: [Outside]}]}\nexecutables: {rules: [{name: outside, action: Deny, origins: [Outside]}]}\n" +
			"subject: {pods: {matchLabels: {pod: foreign}}, containers: [attacker]}",
		Attacks: []string{"foreign-mount-read", "foreign-mount-exec"},
	},
	{
		Name: "foreign-namespace", What: "joining another container's mount namespace", Pod: "foreign-join", Attacks: []string{"join-mount"},
		Spec: noPrivilege("JoinNamespace") + "\nsubject: {pods: {matchLabels: {pod: foreign-join}}, containers: [attacker]}",
	},
	{Name: "ptrace", What: "another process's memory and descriptors", Pod: "ptrace", Spec: noPrivilege("Ptrace"), Attacks: []string{"ptrace", "process-read", "process-write", "process-memory", "process-file"}},
	{Name: "take-over", What: "the process that the container runtime prepares here, which is nobody's", Pod: "take-over", Spec: noRead, Attacks: []string{"take-over"}},
	{Name: "user-namespace", What: "a user namespace, and a mount there", Pod: "user", Spec: noPrivilege("UserNamespace"), Attacks: []string{"user-namespace"}},
	{Name: "write-execute", What: "memory that is written and then executed", Pod: "memory", Spec: noPrivilege("WriteExecMemory"), Attacks: []string{"write-execute", "write-then-execute", "write-then-execute-shared"}},
	{Name: "roots", What: "chroot, pivot_root, joining a namespace", Pod: "roots", Spec: noPrivilege("Chroot, PivotRoot, JoinNamespace"), Attacks: []string{"chroot", "pivot-root", "join-namespace"}},
	{Name: "mounts", What: "mounting and remounting", Pod: "mount", Spec: noPrivilege("Mount"), Attacks: []string{"tmpfs-mount", "remount", "reconfigure", "set-mount", "copy-mount"}},
	{Name: "identities", What: "changing user and groups", Pod: "identities", Spec: noPrivilege("SetUser, SetGroup"), Attacks: []string{"set-user", "set-group", "set-groups"}},
	{
		Name: "capability", What: "using a capability", Pod: "capability", Attacks: []string{"priority"},
		Spec: `privileges: {rules: [{name: nice, action: Deny, operations: [Capability], capabilities: [SYS_NICE]}]}`,
	},
	{
		Name: "borrowed-credentials", What: "a capability by credentials that io_uring was given", Pod: "administrator",
		Spec:    `privileges: {rules: [{name: admin, action: Deny, operations: [Capability], capabilities: [SYS_ADMIN, NET_RAW]}]}`,
		Attacks: []string{"host-name", "attribute", "uring-attribute", "uring-raw-socket"},
	},
	{Name: "raw-sockets", What: "raw and packet sockets", Pod: "raw", Spec: noPrivilege("RawSocket, PacketSocket"), Attacks: []string{"raw-socket", "raw-socket-6", "packet-socket"}},
	{Name: "kernel-code", What: "eBPF and modules", Pod: "kernel", Spec: noPrivilege("LoadBPF, LoadModule"), Attacks: []string{"bpf-map", "load-module"}},
	{Name: "io-uring", What: "io_uring at all", Pod: "uring", Spec: noPrivilege("IOUring"), Attacks: []string{"uring-setup"}},
	{
		Name: "datagrams", What: "UDP by every call, and connecting by io_uring", Pod: "network", Spec: noPort,
		Attacks: []string{"udp-sendto", "udp-sendmsg", "udp-connect", "udp-sendmmsg", "connect-uring"},
	},
	{
		Name: "further-addresses", What: "a second address of SCTP", Pod: "addresses", Attacks: []string{"connectx-further", "bindx-further", "sctp-ancillary"},
		Spec: `network: {rules: [{name: second, action: Deny, operations: [Connect, Bind], peers: [{networks: ["127.0.0.2/32"]}]}]}`,
	},
	{
		Name: "bind-forms", What: "taking a port, by every protocol", Pod: "bind", Attacks: []string{"bind", "bind-mptcp", "bind-smc", "bind-sctp", "bindx-sctp"},
		Spec: `network: {rules: [{name: port, action: Deny, operations: [Bind], protocols: [{tcp: {destinationPort: {number: 7998}}}, {sctp: {destinationPort: {number: 7998}}}]}]}`,
	},
	{
		Name: "listen", What: "waiting for connections, also at a port that the kernel chooses", Pod: "listen", Attacks: []string{"listen", "listen-unbound", "listen-smc"},
		Spec: `network: {rules: [{name: any, action: Deny, operations: [Listen]}]}`,
	},
}
