package runtime

import (
	"fmt"
	"strings"

	"palisade.dev/palisade/config/library"
)

// Step is an attack, or work, of test/vm/attack on a directory, program or address.
type Step struct {
	Do, On string
	// Tree says that On is a directory of its own with an attack's files.
	Tree bool
}

func (s Step) String() string { return s.Do + ":" + s.On }

// Shipped is what a policy of the library stops, and leaves alone.
type Shipped struct {
	Policy  string
	Attacks []Step
	// Enter is a command that somebody runs in the container from outside.
	Enter []string
	// Work is what this policy might stop by mistake, besides all that a service does.
	Work []Step
	// Passes are attacks that the policy's page says it does not stop.
	Passes []Step
	// Port is where the workload serves, if a policy has a say in it.
	Port int
	// Also is a policy of the namespace, as the page tells to write one.
	Also string
	// Labels of the namespace besides the one that asks for the policy.
	Labels string
}

// in are attacks with directories of their own below root.
func in(root string, attacks ...string) []Step {
	var out []Step
	for _, a := range attacks {
		out = append(out, Step{a, root + "/" + a, true})
	}
	return out
}

func on(do string, arguments ...string) []Step {
	var out []Step
	for _, a := range arguments {
		out = append(out, Step{Do: do, On: a})
	}
	return out
}

func steps(some ...[]Step) []Step {
	var out []Step
	for _, s := range some {
		out = append(out, s...)
	}
	return out
}

// Where things are in the pods of the library.
const (
	opt     = "/opt/tree"
	tokens  = "/var/run/secrets/kubernetes.io/serviceaccount"
	tokens2 = "/run/secrets/kubernetes.io/serviceaccount"
	// Addresses that the pod has, so that somebody answers there.
	private   = "10.1.9.9"
	internet  = "198.51.100.1"
	knownPool = "192.0.2.7"
	reachable = private + ":7001" // somebody outside of the container serves here
)

// Library has every policy of config/library.
var Library = []Shipped{
	{
		Policy: "no-shell-in-production",
		Attacks: steps(on("shell", "/usr/bin/dash", "/bin/sh", "/sbin/ash", "/sh"), on("shell-script", "/bin/sh"),
			on("shell-loader", "/usr/bin/dash")),
		Enter:  []string{"/bin/sh", "-c", "echo ran"},
		Passes: on("shell-copy", "/usr/bin/dash"),
	},
	{
		Policy: "only-the-image",
		Attacks: steps(on("run-copy", "/usr/local/bin/denied"), on("shell-copy", "/usr/bin/dash"),
			in(opt, "memfd-exec", "unlinked-exec", "shm-exec", "tmpfs-exec", "volume-exec", "overwrite-exec", "overlay-exec"), in("/data/tree", "exec", "map-executable")),
		Work:   steps(on("run", "/usr/local/bin/entrypoint"), on("protect-image", "/usr/local/bin/entrypoint")),
		Passes: on("shell", "/bin/sh"),
	},
	{
		Policy:  "no-package-managers",
		Attacks: on("run", "/usr/bin/apt-get", "/sbin/apk", "/usr/local/bin/pip3"),
		Work:    on("run", "/usr/local/bin/entrypoint"),
		Passes:  on("run-copy", "/usr/bin/apt-get"),
	},
	{
		Policy: "no-write-to-binaries",
		Attacks: steps(in("/usr/local/bin", "write", "append", "open-truncated", "overwrite-exec", "create", "create-rename", "replace", "delete", "rename-secret", "link-secret", "chmod-setuid", "bind-mount-write"),
			in("/usr/lib", "write", "create-symlink"), in("/bin", "create"), on("preload", "/etc/ld.so.preload")),
		Work:   on("run", "/usr/local/bin/entrypoint"),
		Passes: on("run-copy", "/usr/local/bin/denied"),
	},
	{
		Policy:  "protect-service-account-token",
		Attacks: steps(in(tokens, "read", "read-proc-root", "read-relative", "uring-read", "bind-mount"), in(tokens2, "read")),
		Work:    on("as", "/usr/local/bin/client read "+tokens+"/read", "/usr/local/bin/client read "+tokens2+"/read"),
		Also: `{apiVersion: policy.palisade.dev/v1alpha1, kind: RuntimePolicy, metadata: {name: client, namespace: library-protect-service-account-token},
spec: {subject: {pods: {}}, files: {rules: [{name: token, action: Accept, operations: [Read], from: [/usr/local/bin/client],
  directories: [/run/secrets/kubernetes.io/serviceaccount, /var/run/secrets/kubernetes.io/serviceaccount]}]}}}`,
	},
	{
		Policy: "no-privilege-escalation",
		Attacks: steps(in(opt, "user-namespace", "join-namespace", "tmpfs-mount", "bind-mount", "detached-mount", "pivot-root", "chroot", "ptrace", "process-read", "process-memory", "process-file"),
			on("run", "/usr/bin/sudo")),
		Passes: in(opt, "set-user", "host-name"),
	},
	{
		Policy:  "no-new-kernel-code",
		Attacks: in(opt, "bpf-map", "load-module"),
		Work:    on("as", "/usr/bin/tetragon bpf-map -"),
		Labels:  `, library.palisade.dev/loads-ebpf: "true"`,
	},
	{
		Policy:  "no-fileless",
		Attacks: in(opt, "memfd-exec", "memfd-sealed-exec", "memfd-descriptor-exec", "unlinked-exec", "shm-exec"),
		Passes:  in(opt, "tmpfs-exec", "volume-exec"),
	},
	{
		Policy:  "protect-container-runtime",
		Attacks: in(opt, "overwrite-runtime", "leaked-read", "leaked-write", "leaked-exec"),
	},
	{
		Policy:  "no-crypto-miner-egress",
		Attacks: steps(on("dial-listen", internet+":3333", knownPool+":443"), on("run", "/usr/bin/xmrig")),
		Work:    on("dial-listen", private+":3333", internet+":443"),
		Passes:  on("dial-listen", internet+":8443"),
	},
	{
		Policy: "database-locked-down",
		Attacks: steps(on("as", "/usr/local/bin/postgres shell /bin/sh"), on("run-copy", "/usr/local/bin/denied"),
			in("/etc", "write", "create", "delete"), in("/usr/lib", "write"), in(opt, "memfd-exec", "priority", "tmpfs-mount", "user-namespace", "bpf-map", "write-execute", "uring-setup", "ptrace"),
			on("dial", reachable), on("dial-listen", private+":7002"), in(opt, "listen-unbound")),
		Work:   steps(on("run", "/usr/local/bin/entrypoint"), on("answer", private+":5432")),
		Passes: on("shell", "/bin/sh"),
		Port:   5432,
	},
}

// Namespace is the policy's own.
func (s Shipped) Namespace() string { return "library-" + s.Policy }

// Service is what a workload does, whatever its policy.
func (s Shipped) Service() []Step {
	port := s.Port
	if port == 0 {
		port = 8080
	}
	return steps(on("service", "/data"), on("service-network", fmt.Sprintf("127.0.0.1:%d", port)), on("service-memory", "/data"), on("service-drops", "/data"))
}

// LibraryManifests are the node, a namespace and a pod for each policy, and the
// policies as shipped.
func LibraryManifests() (string, error) {
	policies, err := library.Policies()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\nspec: {podCIDRs: [10.1.0.0/24]}\n", Node)
	for i, s := range Library {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {kubernetes.io/metadata.name: %s, %s: \"true\"%s}}\n",
			s.Namespace(), s.Namespace(), library.OptIn(s.Policy), s.Labels)
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: %s, name: app, uid: %q, labels: {app: database}}\nspec: {nodeName: %s}\nstatus: {podIPs: [{ip: 10.1.0.%d}]}\n",
			s.Namespace(), UID(s.Policy), Node, i+1)
		if s.Also != "" {
			fmt.Fprintf(&b, "---\n%s\n", s.Also)
		}
		text := policies[s.Policy]
		if text == "" {
			return "", fmt.Errorf("policy %s: the library has none of that name", s.Policy)
		}
		fmt.Fprintf(&b, "---\n%s", strings.Replace(text, "namespace: default", "namespace: "+s.Namespace(), 1))
	}
	return b.String(), nil
}
