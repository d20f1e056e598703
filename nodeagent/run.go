package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/nodeagent/stream"
)

// Datapath is the kernel as a running agent needs it.
type Datapath interface {
	Kernel
	// Flows hands on what the kernel reports, until ctx ends.
	Flows(ctx context.Context, a *Agent, hub *flows.Hub) error
	// Cut ends the connections that are denied now, and returns how many.
	Cut(context.Context) (int, error)
	// Count takes what was counted since the last call, and reads the totals.
	Count() (pairs []datapath.Pair, totals []datapath.Counter, err error)
	// Departed lists the rules that left since the kernel's half was opened.
	Departed() []datapath.Departed
	// CameIn reads what the hook saw come in by interfaces.
	CameIn([]datapath.Cell) (map[datapath.Cell]datapath.Traffic, error)
	// Audit compares the kernel's tables with what they should be, repairs them,
	// and describes what it found; empty if nothing.
	Audit(context.Context) (string, error)
	// Close lets go of the kernel, which goes on enforcing.
	Close() error
}

// Config is what Run needs to know.
type Config struct {
	Node    string
	Version string
	Log     logr.Logger
	// StateDir outlives a reboot: snapshots, facts, keys. RunDir does not: sockets.
	StateDir, RunDir string
	Host             host.Host
	// Open makes the datapath; it is called when the host is ready for it.
	Open func() (Datapath, error)
	// Controller connects; nil for an agent that is fed otherwise.
	Controller *stream.Enroller
	KeysFiles  []string
	// Report goes on where the node cannot enforce, to tell the controller so.
	Report bool
	// Guard keeps pods from starting before this agent enforces, and says whether
	// it does. It is called now and then: others rewrite network configurations.
	Guard func() (bool, error)
	// Exempt is the namespace whose pods start even without a snapshot.
	Exempt string
	// HTTP is where metrics and health are served, FlowLog gets flow records.
	HTTP    string
	FlowLog io.Writer
	// Looker finds the interfaces of pods that nobody reported.
	Looker Looker

	again time.Duration // between two attempts to enforce; zero: hostEvery
}

// How often the agent looks after itself.
const (
	hostEvery  = 10 * time.Second
	guardEvery = 30 * time.Second
	auditEvery = 5 * time.Minute
	auditAgain = 10 * time.Second // after one that could not be finished
)

// ErrHost says that the node lacks what enforcement cannot do without.
var ErrHost = errors.New("this node cannot enforce policies")

// Run is the agent's life. What was enforced before is in force again before
// anything else is done, and stays when Run returns. A node that cannot enforce
// ends it at once, unless c says to report.
func Run(ctx context.Context, c Config) (err error) {
	findings, err := c.prepare()
	reports := c.Report && c.Controller != nil
	if err != nil && !reports {
		return err
	}
	unlock, lockErr := LockState(c.StateDir)
	if lockErr != nil {
		return lockErr
	}
	defer unlock()
	var dp Datapath
	if err == nil {
		dp, findings, err = c.open(findings)
	}
	if err != nil {
		if !reports {
			return err
		}
		c.Log.Error(err, "this node cannot enforce; the controller is told")
		if dp, findings, err = c.report(ctx, findings); err != nil || dp == nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, dp.Close()) }()
	facts, err := openFacts(c.StateDir, c.Log)
	if err != nil {
		return err
	}
	defer facts.Close()
	a := New(Options{
		Node: c.Node, Log: c.Log, Kernel: dp, Facts: facts, Disk: store.NewSnapshots(c.StateDir), Now: time.Now,
		Keys: Keys{Files: c.KeysFiles, Copy: filepath.Join(c.StateDir, keysCopy)}.Load,
	})
	a.SetFindings(findings)
	if inForce, _ := dp.Generation(); inForce != zeroGeneration {
		c.Log.Info("the kernel enforces already", "generation", inForce.String())
	}
	if _, err := a.Recover(ctx); err != nil {
		c.Log.Error(err, "what is on disk was not taken; the node keeps what its kernel has")
	}
	return c.serve(ctx, a, dp)
}

func logFindings(log logr.Logger, fs []host.Finding) {
	for _, f := range fs {
		log.Info("this node lacks something", "severity", f.Severity.String(), "reason", f.Reason, "what", f.What, "where", f.Where, "mend", f.Mend)
	}
}

// LockState keeps two agents, or an agent and palisade apply, from working on one
// node at once. The lock goes with the process.
func LockState(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return lockFile(filepath.Join(dir, "lock"))
}

func openFacts(dir string, log logr.Logger) (*facts.Store, error) {
	epoch, err := facts.CurrentEpoch()
	if err != nil {
		return nil, err
	}
	f, err := facts.Open(filepath.Join(dir, "facts.json"), epoch)
	if err != nil {
		log.Error(err, "pods will be looked for") // f is empty and works
	}
	return f, nil
}

// serve runs the agent's parts until ctx ends or one of them cannot go on.
func (c Config) serve(ctx context.Context, a *Agent, dp Datapath) error {
	hub := flows.NewHub(time.Now)
	p := newParts(ctx)
	p.loop(a.FollowFacts)
	p.loop(func(ctx context.Context) {
		c.Host.Watch(ctx, hostEvery, a.SetFindings)
	})
	p.loop(func(ctx context.Context) { a.Discover(ctx, c.Looker) })
	p.loop(func(ctx context.Context) { c.guard(ctx, a) })
	p.loop(func(ctx context.Context) { a.auditing(ctx, dp) })
	p.loop(func(ctx context.Context) { a.cutting(ctx, dp) })
	p.loop(func(ctx context.Context) { a.counting(ctx, dp, &bypass{carried: facts.Interfaces, cameIn: dp.CameIn}) })
	p.start(func(ctx context.Context) error { return dp.Flows(ctx, a, hub) })
	if k, ok := dp.(runtimeKernel); ok {
		p.loop(func(ctx context.Context) {
			every(ctx, hostEvery, func() { a.SetBackends(k.Backends(), k.UnknownPods()) })
		})
		a.found(fromKernel, withoutPackets(k.NetworkLacks()))
		p.start(func(ctx context.Context) error { return k.Operations(ctx, a, hub) })
	}
	p.start(func(ctx context.Context) error { return c.serveCNI(ctx, a) })
	p.start(func(ctx context.Context) error { return c.serveFlows(ctx, hub) })
	p.start(func(ctx context.Context) error { return c.writeFlows(ctx, hub) })
	if c.HTTP != "" {
		reg := prometheus.NewRegistry()
		reg.MustRegister(a.Collector(hub), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if k, ok := dp.(runtimeKernel); ok {
			reg.MustRegister(k.Collectors()...)
		}
		p.start(func(ctx context.Context) error { return Serve(ctx, c.HTTP, a.Handler(reg)) })
	}
	if c.Controller != nil {
		p.loop(c.client(a, a).Run)
	}
	return p.wait()
}

// client keeps the stream for an agent.
func (c Config) client(a *Agent, h stream.Handler) *stream.Client {
	return &stream.Client{Node: c.Node, Version: c.Version, Handler: h, Log: c.Log.WithName("stream"), Dial: c.Controller.Dial, Connected: a.SetConnected}
}

func (c Config) guard(ctx context.Context, a *Agent) {
	p := Protection{}
	p.Booted, _ = BootedInto(c.StateDir)
	every(ctx, guardEvery, func() {
		p.Unit = host.UnitEnabled(c.Host.Root())
		if c.Guard != nil {
			ok, err := c.Guard()
			if err != nil {
				c.Log.Error(err, "pods may start before this agent enforces")
			}
			p.Chained = ok && err == nil
		}
		a.SetGuarded(p)
	})
}

// every calls f at once and then at intervals until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (c Config) serveCNI(ctx context.Context, a *Agent) error {
	l, err := cni.Listen(filepath.Join(c.RunDir, "cni.sock"))
	if err != nil {
		return err
	}
	s := &cni.Server{Facts: a.o.Facts, Log: c.Log.WithName("cni"), Ready: a.Ready, Known: a.Known, Exempt: c.Exempt}
	return s.Serve(ctx, l)
}

func (c Config) serveFlows(ctx context.Context, hub *flows.Hub) error {
	l, err := cni.Listen(filepath.Join(c.RunDir, "flows.sock"))
	if err != nil {
		return err
	}
	return hub.Serve(ctx, l)
}

func (c Config) writeFlows(ctx context.Context, hub *flows.Hub) error {
	if c.FlowLog == nil {
		return nil
	}
	r := hub.Subscribe(0)
	stop := context.AfterFunc(ctx, r.Close)
	defer stop()
	if err := r.Copy(c.FlowLog); err != nil {
		return fmt.Errorf("flow log: %w", err)
	}
	return nil
}
