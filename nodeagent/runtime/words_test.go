package runtime

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/snapshot"
)

func TestContainerID(t *testing.T) {
	for cgroup, want := range map[string]string{
		"0123abcd":                      "0123abcd",
		"cri-containerd-0123abcd.scope": "0123abcd",
		"crio-0123abcd.scope":           "0123abcd",
	} {
		if got := containerID(cgroup); got != want {
			t.Errorf("cgroup %s: id %q, want %q", cgroup, got, want)
		}
	}
}

func TestReadBundle(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		want   Container
		err    error
	}{
		"containerd": {
			`{"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "app", "io.kubernetes.cri.image-name": "shop:1"}}`,
			Container{ID: "x", Name: "app", Image: "shop:1"}, nil,
		},
		"sandbox": {
			`{"annotations": {"io.kubernetes.cri.container-type": "sandbox"}}`,
			Container{ID: "x", Sandbox: true}, nil,
		},
		"cri-o": {
			`{"annotations": {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.container.name": "db", "io.kubernetes.cri-o.ImageName": "db:2"}}`,
			Container{ID: "x", Name: "db", Image: "db:2"}, nil,
		},
		"pod": {
			`{"annotations": {"io.kubernetes.cri.container-name": "app", "io.kubernetes.cri.sandbox-uid": "6b1f0a3e-0000-4000-8000-000000000001"}}`,
			Container{ID: "x", Name: "app", Pod: "6b1f0a3e-0000-4000-8000-000000000001"}, nil,
		},
		"nameless": {`{}`, Container{ID: "x"}, errNoBundle},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readBundle("x", []byte(c.config))
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%+v, %v, want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
	if _, err := readBundle("x", []byte("{")); err == nil {
		t.Error("half a bundle is read")
	}
}

// A container chooses the names of cgroups below its own: none leads out of the bundles.
func TestPlainID(t *testing.T) {
	for id, want := range map[string]bool{"0123": true, "": false, "..": false, "../etc": false, "*": false} {
		if got := plainID(id); got != want {
			t.Errorf("%q: %t", id, got)
		}
	}
}

func TestMountedControllers(t *testing.T) {
	got, err := mountedControllers(strings.NewReader("#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t8\t33\t1\nmemory\t0\t9\t1\n"))
	if err != nil || got["pids"] != 8 || got["memory"] != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := mountedControllers(strings.NewReader("pids eight\n")); err == nil {
		t.Error("a hierarchy without a number is read")
	}
}

func TestOperations(t *testing.T) {
	for name, c := range map[string]struct {
		section Section
		set     uint32
		want    []string
	}{
		"two of files":   {Files, 3, []string{"Read", "Write"}},
		"last privilege": {Privileges, 1 << 14, []string{"PacketSocket"}},
		"send":           {Network, 8, []string{"Send"}},
		"none":           {Executables, 0, nil},
	} {
		if got := Operations(c.section, c.set); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What a node cannot judge is told in words that its owner can look up.
func TestMessage(t *testing.T) {
	sockets := bitsOf(Network, operationNames[Network]...)
	for name, c := range map[string]struct {
		section Section
		backend Backend
		want    string
	}{
		"everything is judged":  {Files, Backend{Means: events.LSM}, ""},
		"no better means":       {Files, Backend{Means: events.FmodRet, Detail: "lsm: none"}, "lsm: none"},
		"operations":            {Network, Backend{Means: events.Cgroup, Unjudged: bitsOf(Network, "Listen", "Send")}, "cannot judge Listen, Send in every case"},
		"a protocol":            {Network, Backend{Means: events.Cgroup, Unjudged: snapshot.OverSCTP(sockets)}, "cannot judge SCTP in every case"},
		"operations over one":   {Network, Backend{Means: events.LSM, Unjudged: snapshot.OverICMP(bitsOf(Network, "Bind", "Send"))}, "cannot judge Bind over ICMP, Send over ICMP in every case"},
		"executables":           {Executables, Backend{Means: events.Signal, Unjudged: everything(Executables)}, "cannot judge programs, scripts by their own path, mappings in every case"},
		"who acts, and a means": {Privileges, Backend{Means: events.Signal, Detail: "lsm: none", Unjudged: snapshot.AskFromScript}, "cannot judge from where it names scripts in every case; lsm: none"},
		"nothing":               {Network, Backend{Means: events.NoBackend, Detail: "why", Unjudged: everything(Network)}, "why"},
	} {
		if got := c.backend.Message(c.section); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestMissingHook: without the hook for SCTP alone, TCP is judged all the same.
func TestMissingHook(t *testing.T) {
	i := slices.IndexFunc(security, func(h hook) bool { return h.name == "sctp_bind_connect" })
	if got, want := security[i].lacking(), snapshot.OverSCTP(bitsOf(Network, "Connect", "Bind")); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
	i = slices.IndexFunc(security, func(h hook) bool { return h.name == "userns_create" })
	if got, want := security[i].lacking(), bitsOf(Privileges, "UserNamespace"); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}

func TestParseSections(t *testing.T) {
	got, err := ParseSections([]string{"network", "files"})
	if err != nil || !slices.Equal(got, []Section{Network, Files}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParseSections([]string{"nothing"}); !errors.Is(err, errSection) {
		t.Errorf("a section that does not exist: %v", err)
	}
}

// TestSettings: the programs find in one word of which sections all is recorded.
func TestSettings(t *testing.T) {
	for name, tc := range map[string]struct {
		config Config
		want   uint64
	}{
		"by default":          {Config{}, bpf.RecordExec | bpf.RecordExit},
		"two sections":        {Config{Record: []Section{Files, Network}}, bpf.RecordExec | bpf.RecordExit | 1<<1 | 1<<3},
		"unknown pods denied": {Config{Unknown: UnknownDeny}, bpf.RecordExec | bpf.RecordExit | bpf.DenyUnknown},
	} {
		if got := tc.config.settings(); got != tc.want {
			t.Errorf("%s: %#x, want %#x", name, got, tc.want)
		}
	}
}

func TestUnknownPods(t *testing.T) {
	var u UnknownPods
	if err := u.UnmarshalText([]byte("deny")); err != nil || u != UnknownDeny {
		t.Errorf("%q, %v", u, err)
	}
	if err := u.UnmarshalText([]byte("perhaps")); !errors.Is(err, ErrUnknownPods) {
		t.Errorf("%v", err)
	}
}
