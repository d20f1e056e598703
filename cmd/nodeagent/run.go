package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/nodeagent/stream"
)

// runFlags are the flags of nodeagent run.
type runFlags struct {
	node, stateDir, runDir      string
	controller, service         string
	serverName, namespace       string
	apiDir, trustDir, tokenFile string
	http, flowLog               string
	unbound, unknown, best      string
	record, redact              []string
	verbose, guard              bool
	eventsPerSecond             uint32
	host                        host.Host
	chain                       chain
}

const runLong = `run receives snapshots from the controller and keeps this node's kernel, its disk
and the controller's knowledge of it in step. What was enforced before is in force
again before the controller is asked for anything newer; when run ends, the kernel
goes on enforcing. Where the node cannot enforce, run tells the controller why and
tries again now and then; without a controller (--controller, or a pod's
environment) it ends with exit code 2.

It needs CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN (to look into the
network namespaces of pods), CAP_SYS_PTRACE where pods run as other users, the
host's network namespace, and the host's BPF file system and /proc. See nodeagent
check for what else a node must offer.`

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Enforces for this node until it is told to stop",
		Long:  runLong,
		Example: `  # in a DaemonSet (config/nodeagent)
  nodeagent run --node "$NODE_NAME" --host-proc /host/proc

  # fed by a controller at a known address
  nodeagent run --node n1 --controller 10.0.0.7:8443 --trust-dir /etc/palisade/trust`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	return cmd
}

func (f *runFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.node, "node", os.Getenv("NODE_NAME"), "this node's name (default: $NODE_NAME)")
	fl.StringVar(&f.stateDir, "state-dir", defaultStateDir, "what must outlive a reboot: the last snapshot, facts, keys")
	fl.StringVar(&f.runDir, "run-dir", "/run/palisade", "where sockets are made")
	fl.StringVar(&f.controller, "controller", "", "HOST:PORT of the controller (default: that of the Service)")
	fl.StringVar(&f.service, "controller-service", "palisade-controller", "the controller's Service; its address is taken from the environment, else by DNS")
	fl.StringVar(&f.namespace, "namespace", envOr("POD_NAMESPACE", "palisade-system"), "the controller's namespace; its pods start even before there is a snapshot")
	fl.StringVar(&f.serverName, "controller-name", "", "the name in the controller's certificate (default: SERVICE.NAMESPACE.svc)")
	fl.StringVar(&f.trustDir, "trust-dir", "/etc/palisade/trust", "the ConfigMap palisade-trust: ca.crt and signing-keys")
	fl.StringVar(&f.apiDir, "api-dir", "/var/run/secrets/kubernetes.io/serviceaccount", "token and ca.crt for the API server, to read that ConfigMap before it is mounted; empty: never")
	fl.StringVar(&f.tokenFile, "token-file", "/var/run/secrets/palisade/token", "the pod's token for the controller")
	fl.StringVar(&f.http, "http", ":9444", "where /metrics, /healthz, /readyz and /status are served; empty: nowhere")
	fl.StringVar(&f.flowLog, "flow-log", "-", "file for flow records as JSON lines; - is standard output; empty: none")
	fl.StringVar(&f.unbound, "unbound-address", "auto", "addresses of the node's pod ranges that no pod is known to have: auto, deny or allow")
	fl.StringVar(&f.unknown, "unknown-pods", string(runtime.UnknownAllow), "pods that the snapshot does not know: allow what they execute, or deny it until it does")
	fl.StringVar(&f.best, "runtime-backend", "auto", "what to try first for runtime rules: lsm, fmod_ret or signal, each with those after it; auto: all of them")
	fl.StringSliceVar(&f.record, "record", nil, "sections of runtime rules of which everything is reported that is judged, for palisade propose: executables, files, privileges, network")
	fl.StringSliceVar(&f.redact, "redact-arguments", nil, "what is left out of the command lines in records, beside passwords, tokens and keys by their usual names: --option, what follows it; --option=**, what stands for **")
	fl.Uint32Var(&f.eventsPerSecond, "events-per-second", 50, "how many records a rule may make in a second; rateLimit of a runtime rule goes before it")
	fl.BoolVar(&f.guard, "guard-start", true, "keep palisade-cni chained, so that no pod starts before this agent enforces for it")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "log each pod and each small change")
	hostFlags(cmd, &f.host)
	f.chain.addFlags(cmd)
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

var errNoNode = errors.New("--node: name this node as the cluster does (in a pod: spec.nodeName, as $NODE_NAME)")

func (f *runFlags) run(cmd *cobra.Command) error {
	if f.node == "" {
		return errNoNode
	}
	var unbound layout.Unbound
	if err := unbound.UnmarshalText([]byte(f.unbound)); err != nil {
		return fmt.Errorf("--unbound-address %q: %w", f.unbound, err)
	}
	var unknown runtime.UnknownPods
	if err := unknown.UnmarshalText([]byte(f.unknown)); err != nil {
		return fmt.Errorf("--unknown-pods: %w", err)
	}
	best, err := runtime.ParseBest(f.best)
	if err != nil {
		return fmt.Errorf("--runtime-backend: %w", err)
	}
	record, err := runtime.ParseSections(f.record)
	if err != nil {
		return fmt.Errorf("--record: %w", err)
	}
	f.host.WithoutPackets = true
	address, err := f.address(os.Getenv)
	if err != nil {
		return err
	}
	log, flush := logger(f.verbose)
	defer flush()
	trust := f.trust(os.Getenv)
	c := nodeagent.Config{
		Node: f.node, Version: version, Log: log,
		StateDir: f.stateDir, RunDir: f.runDir, Host: f.host,
		Open: func() (nodeagent.Datapath, error) {
			return nodeagent.OpenWithRuntime(datapath.Config{
				PinDir: f.host.PinDir, EventsPerSecond: f.eventsPerSecond,
				Layout: layout.Options{Unbound: unbound},
			}, runtime.Config{
				Proc: f.host.Proc, EventsPerSecond: f.eventsPerSecond, Unknown: unknown, Record: record, Best: best, Redact: f.redact,
			}, log)
		},
		Controller: &stream.Enroller{
			Address: address, ServerName: f.certificateName(), Trust: trust,
			TokenFile: f.tokenFile, Node: f.node, Now: time.Now,
		},
		Report:    f.fed(os.Getenv),
		KeysFiles: trust.Paths("signing-keys"),
		Exempt:    f.namespace, HTTP: f.http,
		Looker: facts.Finder{Proc: f.host.Proc},
	}
	if f.guard {
		c.Guard = func() (bool, error) {
			if _, _, err := f.chain.install(); err != nil {
				return false, err
			}
			return cni.Chained(f.chain.confDir)
		}
	}
	out, closeLog, err := f.openFlowLog(cmd)
	if err != nil {
		return err
	}
	defer closeLog()
	c.FlowLog = out
	return nodeagent.Run(cmd.Context(), c)
}

// trust says where ca.crt and signing-keys are found: mounted, or at the API server
// of the cluster that this pod runs in.
func (f *runFlags) trust(getenv func(string) string) stream.Trust {
	t := stream.Trust{Mounted: f.trustDir, Fetched: filepath.Join(f.runDir, "trust")}
	h, p := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if h != "" && p != "" && f.apiDir != "" {
		t.Fetch = &stream.ConfigMap{
			URL:       "https://" + net.JoinHostPort(h, p) + "/api/v1/namespaces/" + f.namespace + "/configmaps/palisade-trust",
			TokenFile: filepath.Join(f.apiDir, "token"), CAFile: filepath.Join(f.apiDir, "ca.crt"),
		}
	}
	return t
}

func (f *runFlags) certificateName() string {
	if f.serverName != "" {
		return f.serverName
	}
	return f.service + "." + f.namespace + ".svc"
}

// address is where the controller is. The environment comes first: a pod with the
// host's network has the host's DNS, which may not know Services.
func (f *runFlags) address(getenv func(string) string) (string, error) {
	if f.controller != "" {
		if _, _, err := net.SplitHostPort(f.controller); err != nil {
			return "", fmt.Errorf("--controller %q: write HOST:PORT", f.controller)
		}
		return f.controller, nil
	}
	name := strings.ToUpper(strings.ReplaceAll(f.service, "-", "_")) + "_SERVICE_"
	if h, p := getenv(name+"HOST"), getenv(name+"PORT"); h != "" && p != "" {
		return net.JoinHostPort(h, p), nil
	}
	return f.certificateName() + ":8443", nil
}

// fed reports whether there is a controller to be told what the node lacks: one
// that was named, or that of the cluster that this process is a pod of. Without,
// the address is only a guess.
func (f *runFlags) fed(getenv func(string) string) bool {
	return f.controller != "" || getenv("KUBERNETES_SERVICE_HOST") != ""
}

func logger(verbose bool) (log logr.Logger, flush func()) {
	c := zap.NewProductionConfig()
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.DisableStacktrace = true
	c.DisableCaller = true
	c.Sampling = nil
	if verbose {
		c.Level = zap.NewAtomicLevelAt(zapcore.DebugLevel)
	}
	z := zap.Must(c.Build())
	return zapr.NewLogger(z), func() { _ = z.Sync() }
}

// openFlowLog opens where flow records go; nil for nowhere.
func (f *runFlags) openFlowLog(cmd *cobra.Command) (out io.Writer, closeLog func(), err error) {
	switch f.flowLog {
	case "":
		return nil, func() {}, nil
	case "-":
		return cmd.OutOrStdout(), func() {}, nil
	}
	file, err := os.OpenFile(f.flowLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--flow-log: %w", err)
	}
	return file, func() { file.Close() }, nil
}
