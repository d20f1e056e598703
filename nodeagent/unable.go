package nodeagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/nodeagent/stream"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// prepare readies the host. An error says in one line why it can be of no use.
func (c Config) prepare() ([]host.Finding, error) {
	findings := c.Host.Prepare()
	if fatal := host.Only(findings, host.Fatal); len(fatal) > 0 {
		return findings, fmt.Errorf("%w: %s", ErrHost, host.Join(fatal))
	}
	return findings, nil
}

// open opens the datapath. Where that cannot be, the findings say so too.
func (c Config) open(findings []host.Finding) (Datapath, []host.Finding, error) {
	dp, err := c.Open()
	if err != nil {
		return nil, append(findings, c.notOpened(err)), err
	}
	return dp, findings, nil
}

// notOpened is the finding for a datapath that could not be opened.
func (c Config) notOpened(err error) host.Finding {
	f := host.Finding{
		Severity: host.Fatal, What: strings.ReplaceAll(err.Error(), "\n", "; "),
		Reason: host.ReasonKernel, Where: "the node's kernel",
		Mend: "use a kernel that Palisade supports; nodeagent check on the node looks at more",
	}
	switch {
	case errors.Is(err, datapath.ErrPrivilege):
		f.Reason, f.Where, f.Mend = host.ReasonPrivileges, "the agent's container", "give it the capabilities that nodeagent run --help lists"
	case errors.Is(err, datapath.ErrPinDir):
		f.Reason, f.Where, f.Mend = host.ReasonBPFFS, c.Host.PinDir, "let the agent write to the host's BPF file system there"
	}
	return f
}

// withoutPackets are the findings of a kernel that judges what processes do and no packet.
func withoutPackets(err error) []host.Finding {
	if err == nil {
		return nil
	}
	return []host.Finding{{
		Severity: host.Bypass, Reason: host.ReasonKernel, Where: "the node's kernel",
		What: "packets are not judged, only what processes do: " + strings.ReplaceAll(err.Error(), "\n", "; "),
		Mend: "use a kernel with netfilter BPF: Linux 6.4 or later",
	}}
}

// Look says what a host lacks, as an agent there would, and changes nothing. A kernel that
// cannot judge packets may enforce what processes do.
func Look(h host.Host) []host.Finding { return look(h, datapath.Probe) }

func look(h host.Host, probe func() error) []host.Finding {
	h.ReadOnly, h.WithoutPackets = true, true
	findings := h.Prepare()
	if len(host.Only(findings, host.Fatal)) > 0 {
		return findings // the probe would only repeat that
	}
	err := probe()
	if err != nil && !errors.Is(err, datapath.ErrKernel) {
		return append(findings, Config{Host: h}.notOpened(err))
	}
	return append(findings, withoutPackets(err)...)
}

// unable is the agent of a node that cannot enforce: it reports why, and refuses
// snapshots for that reason. To say that it holds nothing is true as far as this
// process knows; what an agent of before pinned goes on judging.
type unable struct{ *Agent }

func (u unable) Held() (stream.Held, bool) { return stream.Held{}, false }

func (u unable) Apply(_ context.Context, t *wire.Transfer) error {
	_, findings := u.lacks()
	err := stream.Refuse(wire.ReasonUnsupported, "%w: %s", ErrHost, host.Join(host.Only(findings, host.Fatal)))
	u.status.applied(t.Commit.Generation, err)
	return err
}

// noKernel judges nothing.
type noKernel struct{ Kernel }

func (noKernel) Generation() (g snapshot.Generation, d snapshot.Digest) { return g, d }

// report tells the controller and /status what the node lacks, until ctx ends or
// the node lacks it no longer; then the datapath is open.
func (c Config) report(ctx context.Context, findings []host.Finding) (dp Datapath, now []host.Finding, err error) {
	f, err := openFacts(c.StateDir, c.Log)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	a := New(Options{
		Node: c.Node, Log: c.Log, Kernel: noKernel{}, Facts: f, Disk: store.NewSnapshots(c.StateDir), Now: time.Now,
		Keys: Keys{Files: c.KeysFiles, Copy: filepath.Join(c.StateDir, keysCopy)}.Load,
	})
	a.SetFindings(findings)
	p := newParts(ctx)
	if c.HTTP != "" {
		reg := prometheus.NewRegistry()
		reg.MustRegister(a.Collector(flows.NewHub(time.Now)))
		p.start(func(ctx context.Context) error { return Serve(ctx, c.HTTP, a.Handler(reg)) })
	}
	p.loop(c.client(a, unable{a}).Run)
	p.loop(func(ctx context.Context) {
		dp, now = c.tryAgain(ctx, a)
		p.stop(nil)
	})
	return dp, now, p.wait()
}

// tryAgain opens the datapath as soon as that can be done: a mount or a privilege
// may come without a restart.
func (c Config) tryAgain(ctx context.Context, a *Agent) (Datapath, []host.Finding) {
	t := time.NewTicker(cmp.Or(c.again, hostEvery))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-t.C:
		}
		findings, err := c.prepare()
		var dp Datapath
		if err == nil {
			dp, findings, err = c.open(findings)
		}
		if err == nil {
			c.Log.Info("this node can enforce now")
			return dp, findings
		}
		a.SetFindings(findings)
	}
}
