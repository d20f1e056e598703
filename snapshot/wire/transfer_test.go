package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"palisade.dev/palisade/snapshot"
)

func sampleTransfer(rows int) *Transfer {
	set := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: "node-a"}))
	for i := range rows {
		set.Put(snapshot.Encode(snapshot.LocalRow{UID: fmt.Sprintf("uid-%06d", i), Namespace: "shop", Name: strings.Repeat("x", 100)}))
	}
	c := snapshot.Commit{Node: "node-a", Format: snapshot.Format, Generation: snapshot.Generation{Term: 1, Counter: 2}, Digest: set.Digest()}
	return &Transfer{
		Delta: snapshot.Diff(snapshot.NewSet(), set), Commit: c,
		Signature: snapshot.Sign(ed25519.NewKeyFromSeed(make([]byte, 32)), c),
	}
}

func messages(t *testing.T, tr *Transfer) (out []*ControllerMessage) {
	t.Helper()
	err := tr.Messages(func(m *ControllerMessage) error {
		// Through bytes, as on a connection.
		b, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		back := &ControllerMessage{}
		out = append(out, back)
		return proto.Unmarshal(b, back)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTransferArrives(t *testing.T) {
	base := snapshot.Digest{1}
	for name, sent := range map[string]*Transfer{"small": sampleTransfer(0), "many chunks": sampleTransfer(3000)} {
		for _, sent.Base = range []*snapshot.Digest{nil, &base} {
			t.Run(fmt.Sprintf("%s/delta=%t", name, sent.Base != nil), func(t *testing.T) {
				r := Receiver{Node: "node-a"}
				var got *Transfer
				for _, m := range messages(t, sent) {
					if got != nil {
						t.Fatal("complete before the last message")
					}
					var err error
					if got, err = r.Receive(m); err != nil {
						t.Fatal(err)
					}
				}
				if got == nil || got.Commit != sent.Commit || got.Signature != sent.Signature || (got.Base == nil) != (sent.Base == nil) {
					t.Fatalf("got %+v", got)
				}
				set := snapshot.NewSet()
				set.Apply(got.Delta)
				if err := got.Commit.Check(set); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestReceiverRefuses(t *testing.T) {
	tests := map[string]struct {
		change func([]*ControllerMessage) []*ControllerMessage
		want   error
	}{
		"chunk first":    {func(m []*ControllerMessage) []*ControllerMessage { return m[1:] }, ErrProtocol},
		"commit first":   {func(m []*ControllerMessage) []*ControllerMessage { return m[len(m)-1:] }, ErrProtocol},
		"begin twice":    {func(m []*ControllerMessage) []*ControllerMessage { return append(m[:1:1], m...) }, ErrProtocol},
		"chunk missing":  {func(m []*ControllerMessage) []*ControllerMessage { return append(m[:1:1], m[2:]...) }, ErrProtocol},
		"chunk twice":    {func(m []*ControllerMessage) []*ControllerMessage { return append(m[:2:2], m[1:]...) }, ErrProtocol},
		"chunks swapped": {func(m []*ControllerMessage) []*ControllerMessage { m[1], m[2] = m[2], m[1]; return m }, nil},
		"chunk too large": {func(m []*ControllerMessage) []*ControllerMessage {
			m[1].GetChunk().Data = make([]byte, MaxChunk+1)
			return m
		}, ErrProtocol},
		"too much": {func(m []*ControllerMessage) []*ControllerMessage { m[0].GetBegin().Size = MaxTransfer + 1; return m }, ErrProtocol},
		"short digest": {func(m []*ControllerMessage) []*ControllerMessage {
			m[len(m)-1].GetCommit().Digest = []byte{1}
			return m
		}, ErrProtocol},
		"short base":   {func(m []*ControllerMessage) []*ControllerMessage { m[0].GetBegin().Base = []byte{1}; return m }, ErrProtocol},
		"short key":    {func(m []*ControllerMessage) []*ControllerMessage { m[len(m)-1].GetCommit().Key = nil; return m }, ErrProtocol},
		"other commit": {func(m []*ControllerMessage) []*ControllerMessage { m[len(m)-1].GetCommit().Generation.Term++; return m }, ErrProtocol},
		"welcome inside": {func(m []*ControllerMessage) []*ControllerMessage {
			m[1] = &ControllerMessage{Body: &ControllerMessage_Welcome{Welcome: &Welcome{}}}
			return m
		}, ErrProtocol},
		"empty message": {func(m []*ControllerMessage) []*ControllerMessage { m[1] = &ControllerMessage{}; return m }, ErrProtocol},
		"unknown field": {func(m []*ControllerMessage) []*ControllerMessage {
			withUnknown(m[0].GetBegin().GetGeneration())
			return m
		}, ErrUnknownField},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := Receiver{Node: "node-a"}
			for _, m := range test.change(messages(t, sampleTransfer(3000))) {
				got, err := r.Receive(m)
				if got != nil {
					t.Fatal("a transfer came out")
				}
				if err == nil {
					continue
				}
				if test.want != nil && !errors.Is(err, test.want) {
					t.Fatalf("error %v, want %v", err, test.want)
				}
				return
			}
			t.Fatal("nothing was refused")
		})
	}
}

func withUnknown(m proto.Message) {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1))
}

func TestStrict(t *testing.T) {
	build := func() *AgentMessage {
		return &AgentMessage{Body: &AgentMessage_Report{Report: &Report{
			Conditions: []*Condition{{Type: ConditionEnforcing}}, Counters: []*Counter{{Rule: []byte{1}}},
		}}}
	}
	tests := map[string]func(*AgentMessage) proto.Message{
		"at the top":   func(m *AgentMessage) proto.Message { return m },
		"in the body":  func(m *AgentMessage) proto.Message { return m.GetReport() },
		"in a list":    func(m *AgentMessage) proto.Message { return m.GetReport().Conditions[0] },
		"in a counter": func(m *AgentMessage) proto.Message { return m.GetReport().Counters[0] },
	}
	if err := Strict(build()); err != nil {
		t.Fatal(err)
	}
	for name, where := range tests {
		t.Run(name, func(t *testing.T) {
			m := build()
			withUnknown(where(m))
			if err := Strict(m); !errors.Is(err, ErrUnknownField) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	var seed []byte
	_ = sampleTransfer(2).Messages(func(m *ControllerMessage) error {
		b, err := proto.Marshal(m)
		seed = protowire.AppendBytes(seed, b)
		return err
	})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Receiver{Node: "node-a"}
		for len(b) > 0 {
			data, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			b = b[n:]
			m := &ControllerMessage{}
			if proto.Unmarshal(data, m) != nil {
				return
			}
			if _, err := r.Receive(m); err != nil {
				return
			}
		}
	})
}
