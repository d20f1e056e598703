package property

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/propose"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/policy/translate"
)

// TestProposedPolicyAllowsWhatWasSeen: enforced, the policy that propose makes denies
// nothing of what it was made from, and something that was never seen.
func TestProposedPolicyAllowsWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.SliceOfN(rapid.Custom(observation), 1, 60).Draw(t, "seen")
		rules := propose.Propose(seen, everySection).Rules
		ask := enforced(t, rules)
		if denied := deniedOf(ask, seen); len(denied) > 0 {
			t.Fatalf("seen and denied: %+v by %+v", denied[0], rules)
		}
		if ask(model.Operation{Section: model.SectionExecutables, Path: "/never/seen", Origin: model.OriginImage}) == model.Allow {
			t.Fatal("what was never seen is allowed")
		}
	})
}

// TestRefinedPolicyAllowsWhatWasSeen: of a second recording that is added what the
// policy denies, which makes it allow both; a third time nothing is left.
func TestRefinedPolicyAllowsWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(rapid.Custom(observation), 0, 60).Draw(t, "before")
		after := rapid.SliceOfN(rapid.Custom(observation), 1, 60).Draw(t, "after")
		rules := propose.Propose(before, everySection).Rules
		denied := deniedOf(enforced(t, rules), after)
		old := *rules.DeepCopy()
		propose.Refine(&rules, denied, everySection)
		ask := enforced(t, rules)
		if left := deniedOf(ask, append(before, after...)); len(left) > 0 {
			t.Fatalf("seen and denied: %+v by %+v, made of %+v", left[0], rules, old)
		}
		if len(denied) == 0 && !reflect.DeepEqual(rules, old) {
			t.Fatalf("nothing was to be added to %+v, which became %+v", old, rules)
		}
		if ask(model.Operation{Section: model.SectionExecutables, Path: "/never/seen", Origin: model.OriginImage}) == model.Allow {
			t.Fatal("what was never seen is allowed")
		}
	})
}

var everySection = propose.Sections{Executables: true, Files: true, Privileges: true, Network: true}

// enforced asks rules as those of the only policy.
func enforced(t *rapid.T, rules v1alpha1.RuntimeRules) func(model.Operation) model.Verdict {
	policy, err := translate.RuntimePolicy(&v1alpha1.RuntimePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "learned"},
		Spec:       v1alpha1.RuntimePolicySpec{RuntimeRules: rules},
	})
	if err != nil {
		t.Fatalf("what was proposed is refused: %v", err)
	}
	pod := model.Endpoint{ID: model.EndpointID{Kind: model.EndpointPod, Namespace: "shop", Name: "db"}, UID: "u", Node: "n"}
	cluster := model.Cluster{Endpoints: []model.Endpoint{pod}, Policies: []model.Policy{policy}}
	return func(op model.Operation) model.Verdict {
		return reference.JudgeRuntime(cluster, pod.ID, "main", op).Enforced.Verdict
	}
}

// deniedOf are the observations of which something is denied.
func deniedOf(ask func(model.Operation) model.Verdict, seen []propose.Observation) []propose.Observation {
	var out []propose.Observation
	for _, o := range seen {
		for _, op := range questions(o) {
			if ask(op) != model.Allow {
				out = append(out, o)
				break
			}
		}
	}
	return out
}

func observation(t *rapid.T) propose.Observation {
	o := propose.Observation{Pod: "shop/db"}
	path := fmt.Sprintf("/%s/%s/f%d", rapid.SampledFrom([]string{"usr", "tmp", "proc", "var"}).Draw(t, "top"),
		rapid.SampledFrom([]string{"bin", "7", "lib", "x"}).Draw(t, "directory"), rapid.IntRange(0, 12).Draw(t, "file"))
	origin := rapid.SampledFrom([]v1alpha1.Origin{"", v1alpha1.OriginImage, v1alpha1.OriginModified, v1alpha1.OriginMemory, v1alpha1.OriginOutside}).Draw(t, "origin")
	switch rapid.IntRange(0, 3).Draw(t, "section") {
	case 0:
		o.Executable, o.Origin = path, origin
		o.Mapping = rapid.Bool().Draw(t, "mapping")
	case 1:
		o.File, o.Origin = path, origin
		o.Operations = rapid.SliceOfNDistinct(rapid.SampledFrom([]v1alpha1.FileOperation{
			v1alpha1.FileRead, v1alpha1.FileWrite, v1alpha1.FileCreate, v1alpha1.FileDelete,
			v1alpha1.FileRename, v1alpha1.FileLink, v1alpha1.FileAttributes, v1alpha1.FileMapExecutable,
		}), 1, 8, rapid.ID[v1alpha1.FileOperation]).Draw(t, "operations")
	case 2:
		o.Privilege = rapid.SampledFrom([]v1alpha1.PrivilegeOperation{v1alpha1.PrivilegeCapability, v1alpha1.PrivilegeSetUser, v1alpha1.PrivilegeMount}).Draw(t, "privilege")
		if o.Privilege == v1alpha1.PrivilegeCapability {
			o.Capability = rapid.SampledFrom(v1alpha1.Capabilities).Draw(t, "capability")
		}
	default:
		o.Socket = rapid.SampledFrom([]v1alpha1.SocketOperation{v1alpha1.SocketConnect, v1alpha1.SocketBind, v1alpha1.SocketListen}).Draw(t, "socket")
		o.Protocol = rapid.SampledFrom([]string{"tcp", "udp", "sctp", "icmp", "icmpv6"}).Draw(t, "protocol")
		o.Port = uint16(rapid.IntRange(0, 12).Draw(t, "port"))
		switch n := byte(rapid.IntRange(0, 12).Draw(t, "address")); n {
		case 0: // none
		case 1:
			o.Address = netip.IPv4Unspecified()
		default:
			o.Address = netip.AddrFrom4([4]byte{192, 0, 2, n})
		}
	}
	return o
}

// questions ask what an observation tells, each operation by itself as the kernel does.
func questions(o propose.Observation) []model.Operation {
	if len(o.Operations) == 0 {
		return []model.Operation{question(o)}
	}
	var out []model.Operation
	for _, x := range o.Operations {
		one := o
		one.Operations = []v1alpha1.FileOperation{x}
		out = append(out, question(one))
	}
	return out
}

// question asks what an observation tells.
func question(o propose.Observation) model.Operation {
	op := model.Operation{Executable: "/usr/bin/main"}
	switch {
	case o.Executable != "":
		op.Section, op.Path, op.Mapping = model.SectionExecutables, o.Executable, o.Mapping
		if op.Origin = translate.OriginBits[o.Origin]; op.Origin == 0 {
			op.Origin = model.OriginModified // not known then, something now
		}
	case o.File != "":
		op.Section, op.Path = model.SectionFiles, o.File
		if op.Origin = translate.OriginBits[o.Origin]; op.Origin == 0 {
			op.Origin = model.OriginModified
		}
		for _, x := range o.Operations {
			op.Bits |= uint32(translate.FileOperations[x])
		}
	case o.Privilege != "":
		op.Section, op.Bits = model.SectionPrivileges, uint32(translate.PrivilegeOperations[o.Privilege])
		for i, c := range v1alpha1.Capabilities {
			if c == o.Capability {
				op.Capability = uint8(i)
			}
		}
	default:
		op.Section, op.Bits = model.SectionNetwork, uint32(translate.SocketOperations[o.Socket])
		op.Address, op.Port = o.Address, model.Port(o.Port)
		op.Proto = map[string]model.Protocol{"tcp": model.ProtoTCP, "udp": model.ProtoUDP, "sctp": model.ProtoSCTP, "icmp": model.ProtoICMP, "icmpv6": model.ProtoICMPv6}[o.Protocol]
	}
	return op
}
