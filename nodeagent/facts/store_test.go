package facts

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = Epoch{Boot: "b", Netns: 1}

func open(t *testing.T, path string, e Epoch) *Store {
	t.Helper()
	s, err := Open(path, e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func attachment(container, uid string, source Source, index uint32, addrs ...string) Attachment {
	a := Attachment{
		AttachmentID: AttachmentID{Container: container, IfName: "eth0"},
		Pod:          Pod{UID: PodUID(uid), Namespace: "n", Name: uid},
		Host:         Interface{Name: "v", Index: index}, Source: source,
	}
	for _, x := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(x))
	}
	return a
}

// holders prints address=uid@ifindex, in order.
func holders(s *Store) string {
	bs, _ := s.Bindings()
	var out []string
	for _, b := range bs {
		out = append(out, b.Addr.String()+"="+string(b.Pod.UID)+"@"+string(rune('0'+b.Ifindex)))
	}
	return strings.Join(out, " ")
}

func TestBind(t *testing.T) {
	tests := map[string]struct {
		binds []Attachment
		want  string
	}{
		"two pods, two families": {
			[]Attachment{attachment("c1", "a", FromCNI, 1, "10.0.0.1", "fd00::1"), attachment("c2", "b", FromCNI, 2, "10.0.0.2")},
			"10.0.0.1=a@1 10.0.0.2=b@2 fd00::1=a@1",
		},
		"address passes on, DEL was lost": {
			[]Attachment{attachment("c1", "a", FromCNI, 1, "10.0.0.1", "fd00::1"), attachment("c2", "b", FromCNI, 2, "10.0.0.1")},
			"10.0.0.1=b@2 fd00::1=a@1",
		},
		"reported replaces found": {
			[]Attachment{attachment("netns:5", "a", FromDiscovery, 1, "10.0.0.1"), attachment("c1", "a", FromCNI, 2, "10.0.0.9")},
			"10.0.0.9=a@2",
		},
		"found does not replace reported": {
			[]Attachment{attachment("c1", "a", FromCNI, 2, "10.0.0.1"), attachment("netns:5", "a", FromDiscovery, 3, "10.0.0.7")},
			"10.0.0.1=a@2",
		},
		"same pod, second interface": {
			[]Attachment{attachment("c1", "a", FromCNI, 2, "10.0.0.1"), attachment("c2", "a", FromCNI, 3, "10.9.0.1")},
			"10.0.0.1=a@2 10.9.0.1=a@3",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "facts.json")
			s := open(t, path, epoch)
			for _, a := range tc.binds {
				if _, err := s.Bind(a); err != nil {
					t.Fatal(err)
				}
			}
			if got := holders(s); got != tc.want {
				t.Errorf("holders = %s, want %s", got, tc.want)
			}
			if got := holders(open(t, path, epoch)); got != tc.want {
				t.Errorf("after reading again: %s, want %s", got, tc.want)
			}
			if got := holders(open(t, path, Epoch{Boot: "c", Netns: 1})); got != "" {
				t.Errorf("after a reboot: %s, want none", got)
			}
		})
	}
}

func TestOpenDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(path, []byte(`{"epoch":{"boot":"b`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, epoch)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v, want one that names %s", err, path)
	}
	if _, err := s.Bind(attachment("c", "a", FromCNI, 1, "10.0.0.1")); err != nil {
		t.Errorf("bind after damage: %v", err)
	}
}

func TestBindThatChangesNothingHasNoRevision(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "f"), epoch)
	a := attachment("c", "a", FromCNI, 1, "10.0.0.1")
	r1, err := s.Bind(a)
	if err != nil {
		t.Fatal(err)
	}
	if r2, err := s.Bind(a); err != nil || r2 != r1 {
		t.Errorf("second bind = %d, %v; want %d", r2, err, r1)
	}
}

func TestWait(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "f"), epoch)
	rev, err := s.Bind(attachment("c", "a", FromCNI, 1, "10.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	s.Realised(rev, errors.New("no room"))
	if err := s.Wait(short, rev); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("Wait on a failure = %v", err)
	}
	done := make(chan error)
	go func() { done <- s.Wait(context.Background(), rev) }()
	s.Realised(rev-1, nil)
	s.Realised(rev, nil)
	if err := <-done; err != nil {
		t.Errorf("Wait = %v", err)
	}
	go func() { done <- s.Wait(context.Background(), rev+1) }()
	s.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Wait on Close = %v", err)
	}
}

func TestUIDOf(t *testing.T) {
	const uid = "6f1c2f2e-8f0a-4f53-9a4f-0123456789ab"
	tests := map[string]struct{ cgroup, want string }{
		"cgroupfs v1":  {"12:cpu:/kubepods/burstable/pod" + uid + "/abc\n1:name=systemd:/x\n", uid},
		"systemd v2":   {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6f1c2f2e_8f0a_4f53_9a4f_0123456789ab.slice/cri-containerd-abc.scope\n", uid},
		"static pod":   {"0::/kubepods/pod0123456789abcdef0123456789abcdef/abc\n", "0123456789abcdef0123456789abcdef"},
		"own cgroup":   {"0::/kubepods/pod" + uid + "/abc/pod00000000-0000-4000-8000-000000000000/x\n", uid},
		"no pod":       {"0::/system.slice/containerd.service\n", ""},
		"only similar": {"0::/podman/pod" + uid + "suffix\n", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := uidOf(tc.cgroup); string(got) != tc.want {
				t.Errorf("uidOf = %q, want %q", got, tc.want)
			}
		})
	}
}
