package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/kubetest"
	"palisade.dev/palisade/webhooks"
	"palisade.dev/palisade/webhooks/certs"
	"palisade.dev/palisade/webhooks/rules"
)

const (
	systemNamespace = "palisade-system"
	patience        = 2 * time.Minute
)

func TestMain(m *testing.M) {
	logf.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	os.Exit(m.Run())
}

// budget is an Estimator of one number of entries for every policy.
type budget struct{ entries atomic.Int64 }

func (b *budget) Estimate(context.Context, model.Policy) (webhooks.Estimate, error) {
	return webhooks.Estimate{Entries: int(b.entries.Load()), Budget: 100}, nil
}

// cluster is an API server with our kinds and config/webhook installed.
type cluster struct {
	config *rest.Config
	client client.Client // an administrator's
	budget budget
	port   int
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{config: kubetest.StartAPIServer(t, kubetest.WithCRDs()), port: kubetest.FreePort(t)}
	c.client = c.clientFor(t, nil)
	create(t, c.client, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}})
	create(t, c.client, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	for _, file := range []string{"rbac", "service", "validatingadmissionpolicy", "validatingwebhookconfiguration"} {
		c.install(t, filepath.Join("webhook", file+".yaml"))
	}
	c.install(t, filepath.Join("rbac", "roles.yaml"))
	return c
}

// clientFor returns a client, as somebody else if they are named, whose
// warnings go to the given handler.
func (c *cluster) clientFor(t *testing.T, change func(*rest.Config)) client.Client {
	t.Helper()
	cfg := rest.CopyConfig(c.config)
	if change != nil {
		change(cfg)
	}
	out, err := client.New(cfg, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// install applies a file of config. The webhook's server runs here and not behind
// a Service, so its address takes the Service's place.
func (c *cluster) install(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "config", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var object unstructured.Unstructured
		if err := d.Decode(&object.Object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if object.GetKind() != "ValidatingWebhookConfiguration" {
			create(t, c.client, &object)
			continue
		}
		var config admissionregistrationv1.ValidatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &config); err != nil {
			t.Fatal(err)
		}
		for i := range config.Webhooks {
			url := fmt.Sprintf("https://127.0.0.1:%d%s", c.port, *config.Webhooks[i].ClientConfig.Service.Path)
			config.Webhooks[i].ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: &url}
		}
		create(t, c.client, &config)
	}
}

// serve starts the webhook's server and returns what stops it. It returns when
// the API server gets answers: until then every policy is refused.
func (c *cluster) serve(t *testing.T) (stop func()) {
	t.Helper()
	source := &certs.Source{
		Client: c.client, Namespace: systemNamespace, Secret: "palisade-webhook-ca", Configuration: "palisade",
		Names: []string{"127.0.0.1"}, Now: time.Now,
	}
	if err := source.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	facts := webhooks.CacheFacts{Reader: c.client, Namespace: systemNamespace}
	engine, err := webhooks.NewEngine(t.Context(), rules.Modules(), facts, &c.budget)
	if err != nil {
		t.Fatal(err)
	}
	server := webhooks.NewServer(source, c.port)
	server.Register(webhooks.Path, &admission.Webhook{Handler: &webhooks.Handler{Engine: engine}})

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("webhook server: %v", err)
		}
	})
	t.Cleanup(stop)
	c.waitUntilAnswered(t, true)
	return stop
}

// waitUntilAnswered waits until the API server can, or cannot, call the webhook.
func (c *cluster) waitUntilAnswered(t *testing.T, want bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = c.client.Create(ctx, networkPolicy("probe"), client.DryRunAll)
		return (last == nil) == want, nil
	})
	if err != nil {
		t.Fatalf("the webhook answers: want %v, the last error is %v", want, last)
	}
}

func create(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatalf("%s %s: %v", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
	}
}

// recorder keeps the warnings that a client got.
type recorder struct {
	mu   sync.Mutex
	text []string
}

func (r *recorder) HandleWarningHeader(_ int, _ string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, text)
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.text, "\n")
}
