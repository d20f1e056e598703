package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/webhooks"
	"palisade.dev/palisade/webhooks/certs"
)

// The client's own limits are a mistake waiting to happen at 10,000 policies;
// the API server has fairness of its own.
const (
	clientQPS   = 500
	clientBurst = 1000
)

// build makes the manager with everything in it.
func (c *config) build(ctx context.Context, s settings) (manager.Manager, error) {
	log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.level}))
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client"))
	rest, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.streamAddress)
	if err != nil {
		return nil, fmt.Errorf("--stream-address: %w", err)
	}
	var source *certs.Source
	options := c.managerOptions(log)
	if c.webhooks {
		if source, err = c.certificates(rest); err != nil {
			return nil, err
		}
		options.WebhookServer = webhooks.NewServer(source, c.webhookPort)
		options.Metrics = c.metricsOptions(source)
	}
	mgr, err := ctrl.NewManager(rest, options)
	if err != nil {
		return nil, fmt.Errorf("cluster at %s: %w", rest.Host, err)
	}
	o := controllers.Options{
		Namespace: c.namespace, ServiceRanges: s.ranges, Listener: listener, PodAddress: s.podIP,
		Version: version, Clock: clock.RealClock{},
	}
	if c.leaderElect {
		o.Lease = controllers.LeaseName
	}
	system, err := controllers.Setup(mgr, o)
	if err != nil {
		return nil, err
	}
	if err := c.addChecks(mgr, system); err != nil {
		return nil, err
	}
	if c.webhooks {
		return mgr, c.addWebhooks(ctx, mgr, system, source)
	}
	return mgr, nil
}

func (c *config) restConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to serve: give --kubeconfig: %w", err)
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "palisade-controller/" + version
	return config, nil
}

func (c *config) managerOptions(log logr.Logger) manager.Options {
	renew, retry := c.leaseDuration*2/3, c.leaseDuration/6
	shutdown := 5 * time.Second
	return manager.Options{
		Scheme: controllers.Scheme(), Logger: log,
		Cache:                  gather.CacheOptions(c.namespace),
		Metrics:                metricsserver.Options{BindAddress: c.metricsAddress},
		HealthProbeBindAddress: c.healthAddress,
		LeaderElection:         c.leaderElect,
		LeaderElectionID:       controllers.LeaseName, LeaderElectionNamespace: c.namespace,
		// The process ends when its manager does, so the Lease can be given back.
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &c.leaseDuration, RenewDeadline: &renew, RetryPeriod: &retry,
		GracefulShutdownTimeout: &shutdown,
	}
}

// metricsOptions are those of a server that may use the webhook's certificate.
func (c *config) metricsOptions(source *certs.Source) metricsserver.Options {
	o := metricsserver.Options{BindAddress: c.metricsAddress, SecureServing: c.metricsTLS}
	if c.metricsTLS {
		o.TLSOpts = []func(*tls.Config){source.Configure}
	}
	return o
}

func (c *config) addChecks(mgr manager.Manager, system *controllers.System) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("compiled", system.Readyz); err != nil {
		return err
	}
	if err := mgr.AddMetricsServerExtraHandler("/rules", http.HandlerFunc(system.ServeRules)); err != nil {
		return err
	}
	return mgr.AddMetricsServerExtraHandler("/snapshots", system)
}

// Names of the webhook's objects in config/webhook.
const (
	webhookSecret  = "palisade-webhook-ca"
	webhookConfig  = "palisade"
	webhookService = "palisade-webhook"
)

func (c *config) certificates(rest *rest.Config) (*certs.Source, error) {
	direct, err := client.New(rest, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("cluster at %s: %w", rest.Host, err)
	}
	return &certs.Source{
		Client: direct, Namespace: c.namespace, Secret: webhookSecret, Configuration: webhookConfig,
		Names: []string{webhookService + "." + c.namespace + ".svc"}, Now: time.Now,
	}, nil
}

func (c *config) addWebhooks(ctx context.Context, mgr manager.Manager, system *controllers.System, source *certs.Source) error {
	if err := mgr.Add(source); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhook", func(*http.Request) error { return source.Ready() }); err != nil {
		return err
	}
	return webhooks.Register(ctx, mgr, webhooks.Options{Namespace: c.namespace, Estimator: estimator{system.Engine}})
}

// estimator asks the engine what a policy would cost.
type estimator struct{ engine *gather.Engine }

// Estimate implements webhooks.Estimator.
func (e estimator) Estimate(ctx context.Context, p model.Policy) (webhooks.Estimate, error) {
	cost, err := e.engine.Estimate(ctx, p)
	if err != nil {
		return webhooks.Estimate{}, err
	}
	return webhooks.Estimate{Entries: cost.Rows, Budget: cost.Budget, Refused: cost.Refused}, nil
}
