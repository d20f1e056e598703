package publish

import (
	"encoding/binary"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

func ruleID(n int) (id snapshot.RuleID) { binary.BigEndian.PutUint32(id[:], uint32(n)); return id }

func unnamed(snapshot.RuleID) (snapshot.RuleRow, bool) { return snapshot.RuleRow{}, false }

// TestWindow: an hour of counts, and nothing older, is what a list of all of them
// says that it is.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type event struct {
			at      time.Time
			meeting Meeting
			count   RuleCount
		}
		now := time.Unix(1_800_000_000, 0)
		tracker := NewTracker(func() time.Time { return now }, nil)
		var all []event
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			// Often within a minute, sometimes for hours.
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 59, 60, 600, 3540, 3600, 9000}).Draw(t, "seconds")) * time.Second)
			e := event{at: now, count: RuleCount{rapid.Uint64Range(0, 9).Draw(t, "connections"), rapid.Uint64Range(0, 9).Draw(t, "packets")}}
			e.meeting.Rule = ruleID(rapid.IntRange(0, 3).Draw(t, "rule"))
			e.meeting.Subject[0], e.meeting.Peer[0] = byte(rapid.IntRange(1, 2).Draw(t, "subject")), byte(rapid.IntRange(1, 2).Draw(t, "peer"))
			all = append(all, e)
			tracker.count([]*wire.Counter{{
				Subject: e.meeting.Subject[:], Peer: e.meeting.Peer[:], Rule: e.meeting.Rule[:],
				Connections: e.count.Connections, Packets: e.count.Packets,
			}}, unnamed)
			meetings, rules := map[Meeting]RuleCount{}, map[snapshot.RuleID]RuleCount{}
			for _, e := range all {
				if minuteOf(now)-minuteOf(e.at) < windowMinutes && e.count != (RuleCount{}) {
					meetings[e.meeting] = meetings[e.meeting].plus(e.count)
					rules[e.meeting.Rule] = rules[e.meeting.Rule].plus(e.count)
				}
			}
			if d := cmp.Diff(meetings, tracker.Meetings()); d != "" {
				t.Fatal(d)
			}
			got := map[snapshot.RuleID]RuleCount{}
			for id, use := range tracker.Rules() {
				got[id] = use.RuleCount
			}
			if d := cmp.Diff(rules, got); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// TestWindowIsBounded: with no room for who met whom rules are counted still, and
// with no room for those either it is told what is missing.
func TestWindowIsBounded(t *testing.T) {
	w, now := newWindow(), time.Unix(1_800_000_000, 0)
	one := RuleCount{Connections: 1}
	for i := range maxMeetings + 1000 {
		k := Meeting{Rule: ruleID(i % 10)}
		binary.BigEndian.PutUint32(k.Subject[:], uint32(i+1))
		if lost := w.add(now, k, one); lost != 0 {
			t.Fatalf("meeting %d is lost", i)
		}
	}
	if w.counts != maxMeetings+10 || w.rules[ruleID(3)].Connections != (maxMeetings+1000)/10 {
		t.Errorf("%d counts, a rule decided %d", w.counts, w.rules[ruleID(3)].Connections)
	}
	var lost uint64
	for i := range maxCounts {
		lost += w.add(now, Meeting{Rule: ruleID(1000 + i)}, one)
	}
	if w.counts != maxCounts || lost != maxMeetings+10 {
		t.Errorf("%d counts, %d lost", w.counts, lost)
	}
	w.expire(now.Add(Window))
	if w.counts != 0 || len(w.rules) != 0 || len(w.meetings()) != 0 {
		t.Errorf("after the window: %d counts, %d rules", w.counts, len(w.rules))
	}
}

// TestNamesOutliveRules: what decided an hour ago has its name, though its policy
// is gone; after that nothing of it is kept.
func TestNamesOutliveRules(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tracker := NewTracker(func() time.Time { return now }, nil)
	names := map[snapshot.RuleID]snapshot.RuleRow{ruleID(1): {ID: ruleID(1), Policy: "db", Rule: "backend"}}
	find := func(id snapshot.RuleID) (snapshot.RuleRow, bool) { r, ok := names[id]; return r, ok }
	id := ruleID(1)
	report := []*wire.Counter{{Rule: id[:], Connections: 1}}
	tracker.count(report, find)
	clear(names)
	now = now.Add(Window / 2)
	tracker.count(report, find)
	if got := tracker.Rules()[id]; got.Row.Rule != "backend" || got.Connections != 2 {
		t.Errorf("got %+v", got)
	}
	now = now.Add(Window)
	if got := tracker.Rules(); len(got) != 0 || len(tracker.window.names) != 0 {
		t.Errorf("kept %v and %v", got, maps.Clone(tracker.window.names))
	}
}
