package stream

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuthority(t *testing.T) {
	answer := `{"kind":"ConfigMap","data":{"ca.crt":"fetched","signing-keys":"keys"}}`
	code := http.StatusOK
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tok" || r.URL.Path != "/api/v1/namespaces/ns/configmaps/palisade-trust" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(answer))
	}))
	defer srv.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), "tok\n")
	write(t, filepath.Join(dir, "api.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	trust := Trust{Mounted: filepath.Join(dir, "mounted"), Fetched: filepath.Join(dir, "fetched"), Fetch: &ConfigMap{
		URL: srv.URL + "/api/v1/namespaces/ns/configmaps/palisade-trust", TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "api.crt"),
	}}
	ctx := context.Background()

	code = http.StatusNotFound
	if _, err := trust.authority(ctx); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("not there yet: %v", err)
	}
	code = http.StatusOK
	if b, err := trust.authority(ctx); err != nil || string(b) != "fetched" {
		t.Errorf("fetched: %q, %v", b, err)
	}
	if b, err := os.ReadFile(trust.Paths("signing-keys")[1]); err != nil || string(b) != "keys" {
		t.Errorf("keys: %q, %v", b, err)
	}
	answer = `{"data":{"../token":"x"}}`
	if _, err := trust.authority(ctx); err == nil || !strings.Contains(err.Error(), "no file name") {
		t.Errorf("a key that leads elsewhere: %v", err)
	}
	if err := os.Mkdir(trust.Mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(trust.Mounted, "ca.crt"), "mounted")
	if b, err := trust.authority(ctx); err != nil || string(b) != "mounted" {
		t.Errorf("mounted goes first: %q, %v", b, err)
	}
	write(t, filepath.Join(dir, "api.crt"), "x")
	trust.Mounted = "/nonexistent"
	if _, err := trust.authority(ctx); err == nil || !strings.Contains(err.Error(), "no certificate in it") {
		t.Errorf("API server's authority damaged: %v", err)
	}
}
