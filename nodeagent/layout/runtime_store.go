package layout

import (
	"fmt"

	"palisade.dev/palisade/snapshot"
)

// runtimeRows are the decoded rows of runtime rules.
type runtimeRows struct {
	rules    map[snapshot.RuleID]snapshot.RuntimeRuleRow
	rulesets map[snapshot.RulesetID]snapshot.RuntimeRulesetRow
	subjects map[snapshot.KindID]map[string]snapshot.RulesetID // by container
	pods     map[string]snapshot.RuntimePodRow
}

func newRuntimeRows() runtimeRows {
	return runtimeRows{
		rules:    map[snapshot.RuleID]snapshot.RuntimeRuleRow{},
		rulesets: map[snapshot.RulesetID]snapshot.RuntimeRulesetRow{},
		subjects: map[snapshot.KindID]map[string]snapshot.RulesetID{},
		pods:     map[string]snapshot.RuntimePodRow{},
	}
}

// upsertRuntime takes one row of runtime rules in.
func (s *store) upsertRuntime(c *changes, row snapshot.Row) {
	switch r := row.(type) {
	case snapshot.RuntimeRuleRow:
		put(c, s.runtime.rules, r.ID, r)
		c.policy, c.runtimeRules[r.ID] = true, true
	case snapshot.RuntimeRulesetRow:
		put(c, s.runtime.rulesets, r.ID, r)
		c.policy, c.runtimeRulesets[r.ID] = true, true
	case snapshot.RuntimeSubjectRow:
		if s.runtime.subjects[r.Kind] == nil {
			put(c, s.runtime.subjects, r.Kind, map[string]snapshot.RulesetID{})
		}
		put(c, s.runtime.subjects[r.Kind], r.Container, r.Ruleset)
		c.policy = true
	case snapshot.RuntimePodRow:
		put(c, s.runtime.pods, r.UID, r)
		c.uids[r.UID] = struct{}{}
	}
}

// removeRuntime takes one row of runtime rules out; it needs no more than its key.
func (s *store) removeRuntime(c *changes, row snapshot.Row) {
	switch r := row.(type) {
	case snapshot.RuntimeRuleRow:
		drop(c, s.runtime.rules, r.ID)
		c.policy, c.runtimeRules[r.ID] = true, true
	case snapshot.RuntimeRulesetRow:
		drop(c, s.runtime.rulesets, r.ID)
		c.policy, c.runtimeRulesets[r.ID] = true, true
	case snapshot.RuntimeSubjectRow:
		if containers := s.runtime.subjects[r.Kind]; containers != nil {
			drop(c, containers, r.Container)
			if len(containers) == 0 {
				drop(c, s.runtime.subjects, r.Kind)
			}
		}
		c.policy = true
	case snapshot.RuntimePodRow:
		drop(c, s.runtime.pods, r.UID)
		c.uids[r.UID] = struct{}{}
	}
}

// runtimeKeyRow is keyRow of the tables of runtime rules.
func runtimeKeyRow(id snapshot.EntryKey) (snapshot.Row, error) {
	key := []byte(id.Key)
	short := len(key) < 16
	switch id.Table {
	case snapshot.TableRuntimeRule:
		if len(key) == 16 {
			return snapshot.RuntimeRuleRow{ID: snapshot.RuleID(key)}, nil
		}
	case snapshot.TableRuntimeRuleset:
		if len(key) == 16 {
			return snapshot.RuntimeRulesetRow{ID: snapshot.RulesetID(key)}, nil
		}
	case snapshot.TableRuntimeSubject:
		if !short {
			return snapshot.RuntimeSubjectRow{Kind: snapshot.KindID(key[:16]), Container: id.Key[16:]}, nil
		}
	case snapshot.TableRuntimePod:
		return snapshot.RuntimePodRow{UID: id.Key}, nil
	default:
		return nil, fmt.Errorf("delete from table %d: unknown", id.Table)
	}
	return nil, fmt.Errorf("delete from table %s: key of %d bytes", id.Table, len(key))
}

// runtimeKind is the kind of a pod, by the UID that its cgroup has.
func (s *store) runtimeKind(uid string) (snapshot.KindID, bool) {
	if row, ok := s.locals[uid]; ok {
		return row.Kind, true
	}
	row, ok := s.runtime.pods[uid]
	return row.Kind, ok
}
