package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func noEnv(string) string { return "" }

func TestHelpShowsAnExample(t *testing.T) {
	cmd := newCommand(noEnv)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--help"})
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Examples:", "--kubeconfig ~/.kube/config", "--leader-elect"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q", want)
		}
	}
}

// TestBadInput: everything that is wrong is named, each in one line, before
// anything starts.
func TestBadInput(t *testing.T) {
	unreachable := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"a","clusters":[{"name":"a","cluster":{"server":"https://127.0.0.1:1"}}],"contexts":[{"name":"a","context":{"cluster":"a"}}]}`
	if err := os.WriteFile(unreachable, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want []string
	}{
		"flags":           {[]string{"--service-cidr", "10.0.0.0", "--pod-ip", "x", "--log-level", "loud"}, []string{`--service-cidr "10.0.0.0" is no CIDR`, `--pod-ip "x"`, `--log-level "loud"`}},
		"no certificate":  {[]string{"--metrics-tls", "--webhooks=false"}, []string{"--metrics-tls needs the certificate of the webhook"}},
		"empty namespace": {[]string{"--namespace="}, []string{"--namespace is empty"}},
		"unknown flag":    {[]string{"--nonsense"}, []string{"unknown flag: --nonsense"}},
		"argument":        {[]string{"start"}, []string{`unknown command "start"`}},
		"no kubeconfig":   {[]string{"--kubeconfig", "/does/not/exist"}, []string{"no cluster to serve: give --kubeconfig"}},
		"no cluster":      {[]string{"--kubeconfig", unreachable, "--stream-address", "127.0.0.1:0"}, []string{"cluster at https://127.0.0.1:1"}},
		"no address":      {[]string{"--kubeconfig", unreachable, "--stream-address", "nowhere"}, []string{"--stream-address"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand(noEnv)
			cmd.SetArgs(test.args)
			err := cmd.ExecuteContext(context.Background())
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			for i, want := range test.want {
				if i >= len(lines) || !strings.Contains(lines[i], want) {
					t.Errorf("line %d of %q lacks %q", i, lines, want)
				}
			}
			if len(lines) != len(test.want) {
				t.Errorf("%d lines: %q", len(lines), lines)
			}
		})
	}
}

func TestDefaultsComeFromThePod(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "elsewhere", "POD_IP": "10.0.0.7"}
	cmd := newCommand(func(name string) string { return env[name] })
	for flag, want := range map[string]string{"namespace": "elsewhere", "pod-ip": "10.0.0.7"} {
		if got := cmd.Flags().Lookup(flag).DefValue; got != want {
			t.Errorf("--%s is %q", flag, got)
		}
	}
}
