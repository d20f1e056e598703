package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"palisade.dev/palisade/nodeagent/store"
)

// Trust is what an agent recognises the controller and its snapshots by: the files
// ca.crt and signing-keys of the ConfigMap palisade-trust.
type Trust struct {
	Mounted string // where kubelet mounts the ConfigMap; it may come to be late
	Fetched string // where Fetch puts it meanwhile
	Fetch   *ConfigMap
}

// Paths returns where a file may be, the best place first.
func (t Trust) Paths(name string) []string {
	return []string{filepath.Join(t.Mounted, name), filepath.Join(t.Fetched, name)}
}

// authority reads the controller's authority. Where kubelet has not mounted it
// (it looks for a ConfigMap that comes later only now and then), the API server is
// asked.
func (t Trust) authority(ctx context.Context) ([]byte, error) {
	mounted, err := os.ReadFile(filepath.Join(t.Mounted, "ca.crt"))
	if err == nil || t.Fetch == nil {
		return mounted, err
	}
	if ferr := t.Fetch.get(ctx, t.Fetched); ferr != nil {
		return nil, fmt.Errorf("%w; %w", err, ferr)
	}
	return os.ReadFile(filepath.Join(t.Fetched, "ca.crt"))
}

// ConfigMap reads one ConfigMap from the API server.
type ConfigMap struct {
	URL       string // https://HOST:PORT/api/v1/namespaces/NS/configmaps/NAME
	TokenFile string
	CAFile    string
}

// fetchTimeout bounds one request; maxConfigMap is the API server's own limit.
const (
	fetchTimeout = 5 * time.Second
	maxConfigMap = 2 << 20
)

// get writes the ConfigMap's data to files in dir.
func (c *ConfigMap) get(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	data, err := c.read(ctx)
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", c.URL, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range data {
		if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return fmt.Errorf("ConfigMap %s: key %q is no file name", c.URL, name)
		}
		if err := store.Replace(filepath.Join(dir, name), []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

func (c *ConfigMap) read(ctx context.Context) (map[string]string, error) {
	token, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("authority %s: no certificate in it", c.CAFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server says %s", resp.Status)
	}
	var cm struct {
		Data map[string]string `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxConfigMap)).Decode(&cm); err != nil {
		return nil, err
	}
	return cm.Data, nil
}
