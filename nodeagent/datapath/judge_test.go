package datapath

import (
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/nodeagent/layout/rowtest"
)

const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// TestJudgeMatchesRows asks the kernel's verdict about random snapshots and
// compares with the slow answer from the same rows.
func TestJudgeMatchesRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, all := rowtest.Random(t)
		var questions []Connection
		for range 200 {
			family := rapid.SampledFrom([]string{"4", "6"}).Draw(t, "family")
			questions = append(questions, Connection{
				From:     rapid.SampledFrom(all[family]).Draw(t, "from"),
				To:       rapid.SampledFrom(all[family]).Draw(t, "to"),
				Protocol: rapid.SampledFrom([]uint8{protoICMP, protoTCP, protoUDP, 132}).Draw(t, "proto"),
				Port:     rapid.Uint16Range(0, 40).Draw(t, "port"),
			})
		}
		own, common := b.Split()
		got, err := JudgeSnapshot(own, common, nil, questions)
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range questions {
			egress, ingress := b.Judge(q.From, q.To, q.Protocol, q.Port)
			if want := expected(egress); got[i].Egress != want {
				t.Fatalf("%+v: egress %+v, want %+v", q, got[i].Egress, want)
			}
			if want := expected(ingress); got[i].Ingress != want {
				t.Fatalf("%+v: ingress %+v, want %+v", q, got[i].Ingress, want)
			}
		}
	})
}

func expected(v rowtest.Verdict) Judgement {
	a := v.Answer
	return Judgement{
		Enforced: Decision{Deny: a.Deny, Log: a.Log, Rule: a.Rule, Builtin: v.Builtin},
		Staged:   Decision{Deny: a.StagedDeny, Log: a.StagedLog, Rule: a.StagedRule, Builtin: v.Builtin},
	}
}
