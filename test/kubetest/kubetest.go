// Package kubetest starts a real kube-apiserver and its etcd for a test, on free loopback ports,
// from the binaries that hack/cluster builds and caches. No controllers run and no nodes exist: it
// is for CRD schemas, CEL, webhooks and controllers. For pods use hack/cluster/cluster up.
package kubetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// An Option changes the environment before it starts.
type Option func(repo string, env *envtest.Environment)

// WithCRDs installs the CRDs of this checkout and waits until they are served.
func WithCRDs() Option {
	return func(repo string, env *envtest.Environment) {
		env.CRDDirectoryPaths = append(env.CRDDirectoryPaths, filepath.Join(repo, "config", "crd", "bases"))
		env.ErrorIfCRDPathMissing = true
	}
}

// WithEnvironment lets a test set what has no option of its own, such as webhooks to install or
// arguments of the API server.
func WithEnvironment(change func(*envtest.Environment)) Option {
	return func(_ string, env *envtest.Environment) { change(env) }
}

// StartAPIServer starts an API server that the test's end stops, and returns an administrator's
// configuration. It fails the test, naming the command to run, when the binaries are not built.
func StartAPIServer(t testing.TB, options ...Option) *rest.Config {
	t.Helper()
	return Start(t, options...).Config
}

// Start is StartAPIServer for a test that also wants the kubeconfig, other users or the
// certificates for webhooks.
func Start(t testing.TB, options ...Option) *envtest.Environment {
	t.Helper()
	env, err := NewEnvironment(t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	// Registered before the start: a start that fails half-way leaves processes too.
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	if _, err := env.Start(); err != nil {
		t.Fatalf("start an API server: %v", err)
	}
	return env
}

// NewEnvironment returns an environment that is not started, for a TestMain, which has no
// testing.TB. It keeps two small files in dir.
func NewEnvironment(dir string, options ...Option) (*envtest.Environment, error) {
	repo, err := repoDir()
	if err != nil {
		return nil, err
	}
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    bin,
		ControlPlaneStartTimeout: time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// What is set here wins over KUBEBUILDER_ASSETS: the tests run against one known version.
	apiServer := env.ControlPlane.GetAPIServer()
	if apiServer.Path, err = mortal(dir, bin, "kube-apiserver"); err != nil {
		return nil, err
	}
	env.ControlPlane.Etcd = &envtest.Etcd{}
	if env.ControlPlane.Etcd.Path, err = mortal(dir, bin, "etcd"); err != nil {
		return nil, err
	}
	env.ControlPlane.KubectlPath = filepath.Join(bin, "kubectl")
	for _, option := range options {
		option(repo, env)
	}
	return env, nil
}

// BinDir returns the directory of etcd, kube-apiserver and kubectl, or an error that names the
// command which builds them.
func BinDir() (string, error) {
	bin, err := cachedBinDir()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return "", fmt.Errorf("%w: no %s in %s: run hack/cluster/cluster build", errNotBuilt, name, bin)
		}
	}
	return bin, nil
}

// cachedBinDir asks the script, because the name depends on what would be built.
func cachedBinDir() (string, error) {
	repo, err := repoDir()
	if err != nil {
		return "", err
	}
	script := filepath.Join(repo, "hack", "cluster", "cluster")
	out, err := exec.Command(script, "bin").Output()
	if err != nil {
		return "", fmt.Errorf("%s bin: %w", script, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// errNotBuilt: the cache has no binaries for the pinned version of Kubernetes.
var errNotBuilt = errors.New("the Kubernetes binaries are not built")

// mortal writes a wrapper that makes the kernel kill the daemon when the test's process ends: a
// test that runs into its timeout, or is killed, runs no cleanup.
func mortal(dir, bin, name string) (string, error) {
	path := filepath.Join(dir, name)
	text := fmt.Sprintf("#!/bin/sh\nexec setpriv --pdeathsig KILL '%s/%s' \"$@\"\n", bin, name)
	return path, os.WriteFile(path, []byte(text), 0o755)
}

// repoDir finds the checkout above the directory in which a package's tests run.
func repoDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "cluster", "cluster")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no hack/cluster/cluster above the working directory")
		}
	}
}
