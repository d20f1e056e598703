package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
)

// config is what the command line says.
type config struct {
	namespace      string
	kubeconfig     string
	streamAddress  string
	metricsAddress string
	metricsTLS     bool
	healthAddress  string
	webhookPort    int
	podIP          string
	serviceRanges  []string
	leaderElect    bool
	leaseDuration  time.Duration
	webhooks       bool
	logLevel       string
}

func newCommand(env func(string) string) *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "The controller of Palisade",
		Long: `controller compiles the policies of a cluster into one snapshot for each node,
serves them to the nodes' agents, writes the policies' status and answers
admission. It runs as a Deployment; of several replicas all compile and answer
admission, and the leader serves agents and writes.`,
		Example: `  # In a pod, as config/controller has it: everything by default.
  controller

  # Against the cluster of a kubeconfig, without admission and leader election.
  controller --kubeconfig ~/.kube/config --leader-elect=false --webhooks=false \
    --stream-address 127.0.0.1:8443`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.namespace, "namespace", cmp.Or(env("POD_NAMESPACE"), "palisade-system"), "namespace of Palisade itself")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "cluster to serve; empty: the one that this runs in, or $KUBECONFIG")
	f.StringVar(&c.streamAddress, "stream-address", ":8443", "where agents connect")
	f.StringVar(&c.metricsAddress, "metrics-address", ":8080", "where /metrics, /snapshots and /rules are served; 0 for nowhere")
	f.BoolVar(&c.metricsTLS, "metrics-tls", false, "serve them by TLS, with the certificate of the webhook: palisade-webhook.NAMESPACE.svc, trusted by the caBundle of validatingwebhookconfiguration palisade")
	f.StringVar(&c.healthAddress, "health-address", ":8081", "where /healthz and /readyz are served; 0 for nowhere")
	f.IntVar(&c.webhookPort, "webhook-port", 9443, "where the API server asks for admission")
	f.StringVar(&c.podIP, "pod-ip", env("POD_IP"), "address of this pod, which the leader writes into the EndpointSlice of its Service")
	f.StringSliceVar(&c.serviceRanges, "service-cidr", nil, "ranges of the Services, where the API server does not list them")
	f.BoolVar(&c.leaderElect, "leader-elect", true, "take part in leader election; without, this must be the only controller")
	f.DurationVar(&c.leaseDuration, "lease-duration", 15*time.Second, "how long a standby waits for a leader that is silent")
	f.BoolVar(&c.webhooks, "webhooks", true, "answer admission")
	f.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// settings are a config, understood.
type settings struct {
	ranges []netip.Prefix
	podIP  netip.Addr
	level  slog.Level
}

// parse understands the flags' values, and names all that are wrong.
func (c *config) parse() (settings, error) {
	var s settings
	var errs []error
	for _, text := range c.serviceRanges {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--service-cidr %q is no CIDR: write for example 10.96.0.0/16", text))
			continue
		}
		s.ranges = append(s.ranges, p.Masked())
	}
	if c.podIP != "" {
		var err error
		if s.podIP, err = netip.ParseAddr(c.podIP); err != nil {
			errs = append(errs, fmt.Errorf("--pod-ip %q is no address", c.podIP))
		}
	}
	if err := s.level.UnmarshalText([]byte(c.logLevel)); err != nil {
		errs = append(errs, fmt.Errorf("--log-level %q: write debug, info, warn or error", c.logLevel))
	}
	if c.metricsTLS && !c.webhooks {
		errs = append(errs, errors.New("--metrics-tls needs the certificate of the webhook: do not give --webhooks=false"))
	}
	if c.namespace == "" {
		errs = append(errs, errors.New("--namespace is empty: write the namespace that Palisade runs in"))
	}
	return s, errors.Join(errs...)
}

func (c *config) run(ctx context.Context) error {
	s, err := c.parse()
	if err != nil {
		return err
	}
	mgr, err := c.build(ctx, s)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}
