package gather

import (
	"slices"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// TestAsks: what a rule needs a node to judge, no more and no less.
func TestAsks(t *testing.T) {
	const (
		connect, listen, all = uint32(model.SocketConnect), uint32(model.SocketListen), uint32(model.SocketOperations)
		execs                = snapshot.AskProgram | snapshot.AskScript | snapshot.AskMapping
	)
	rule := func(change func(*model.RuntimeRule)) model.RuntimeSection {
		r := model.RuntimeRule{Name: "r", Action: model.RuntimeDeny}
		change(&r)
		return model.RuntimeSection{Rules: []model.RuntimeRule{r}}
	}
	over := func(operations uint32, protocols ...model.Protocol) model.RuntimeSection {
		return rule(func(r *model.RuntimeRule) {
			r.Operations = operations
			for _, p := range protocols {
				r.Ports = append(r.Ports, model.RuntimePorts{Proto: p, Hi: 65535})
			}
		})
	}
	for name, tc := range map[string]struct {
		section model.Section
		rules   model.RuntimeSection
		want    []Ask
	}{
		"nothing":               {model.SectionFiles, model.RuntimeSection{}, nil},
		"an executable":         {model.SectionExecutables, rule(func(r *model.RuntimeRule) { r.Paths = []string{"/x"} }), []Ask{{"r", execs}}},
		"by somebody":           {model.SectionExecutables, rule(func(r *model.RuntimeRule) { r.From = []string{"/x"} }), []Ask{{"r", execs | snapshot.AskFromScript}}},
		"accepted":              {model.SectionExecutables, rule(func(r *model.RuntimeRule) { r.Action = model.RuntimeAccept }), nil},
		"excepted":              {model.SectionExecutables, rule(func(r *model.RuntimeRule) { r.Action = model.RuntimeExcept }), nil},
		"observed":              {model.SectionFiles, rule(func(r *model.RuntimeRule) { r.Action, r.Operations = model.RuntimeAudit, 1 }), []Ask{{"r", 1}}},
		"every file operation":  {model.SectionFiles, rule(func(*model.RuntimeRule) {}), []Ask{{"r", uint32(model.FileOperations)}}},
		"a privilege":           {model.SectionPrivileges, rule(func(r *model.RuntimeRule) { r.Operations = 4 }), []Ask{{"r", 4}}},
		"a default":             {model.SectionPrivileges, model.RuntimeSection{Isolates: true}, []Ask{{model.RuleIsolated, uint32(model.PrivilegeOperations)}}},
		"TCP and UDP":           {model.SectionNetwork, over(connect, model.ProtoTCP, model.ProtoUDP), []Ask{{"r", connect}}},
		"SCTP":                  {model.SectionNetwork, over(connect, model.ProtoSCTP), []Ask{{"r", snapshot.OverSCTP(connect)}}},
		"any port":              {model.SectionNetwork, over(connect, model.ProtoAny), []Ask{{"r", connect | snapshot.OverSCTP(connect)}}},
		"ICMP does not listen":  {model.SectionNetwork, over(connect|listen, model.ProtoICMP, model.ProtoICMPv6), []Ask{{"r", snapshot.OverICMP(connect)}}},
		"every protocol":        {model.SectionNetwork, over(connect), []Ask{{"r", connect | snapshot.OverSCTP(connect) | snapshot.OverICMP(connect)}}},
		"every socket":          {model.SectionNetwork, over(0), []Ask{{"r", all | snapshot.OverSCTP(all) | snapshot.OverICMP(all&^listen)}}},
		"every socket, for TCP": {model.SectionNetwork, over(0, model.ProtoTCP), []Ask{{"r", all}}},
	} {
		t.Run(name, func(t *testing.T) {
			if have := asks(tc.section, &tc.rules); !slices.Equal(have, tc.want) {
				t.Errorf("%#x, want %#x", have, tc.want)
			}
		})
	}
}
