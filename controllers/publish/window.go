package publish

import (
	"maps"
	"time"

	"palisade.dev/palisade/snapshot"
)

// Window is how long counts are kept: long enough to see which rules decide
// lately, and no history.
const Window = windowMinutes * time.Minute

const windowMinutes = 60

// How many counts of one minute each are kept. Beyond the first bound who met
// whom is forgotten and only the rule counted, beyond the second not even that.
const (
	maxMeetings = 400_000
	maxCounts   = 2 * maxMeetings
)

// Meeting names who met whom by which rule, in the numbers of the snapshot. A
// subject and peer of zeros are those for whom there was no room.
type Meeting struct {
	Subject snapshot.KindID
	Peer    snapshot.SetID
	Rule    snapshot.RuleID
}

// RuleCount is how often a rule decided, as nodes reported.
type RuleCount struct {
	Connections uint64
	Packets     uint64
}

func (c RuleCount) plus(d RuleCount) RuleCount {
	return RuleCount{c.Connections + d.Connections, c.Packets + d.Packets}
}

func (c RuleCount) minus(d RuleCount) RuleCount {
	return RuleCount{c.Connections - d.Connections, c.Packets - d.Packets}
}

// window holds the counts of the last hour, minute by minute.
type window struct {
	minutes [windowMinutes]minute // by number modulo windowMinutes
	rules   map[snapshot.RuleID]RuleCount
	names   map[snapshot.RuleID]snapshot.RuleRow // of rules, as far as they could be told
	counts  int                                  // in all minutes
}

type minute struct {
	number int64 // since 1970
	counts map[Meeting]RuleCount
}

func newWindow() *window {
	return &window{rules: map[snapshot.RuleID]RuleCount{}, names: map[snapshot.RuleID]snapshot.RuleRow{}}
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// expire forgets what is older than the window.
func (w *window) expire(now time.Time) {
	for i := range w.minutes {
		m := &w.minutes[i]
		if age := minuteOf(now) - m.number; age >= 0 && age < windowMinutes {
			continue
		}
		for k, c := range m.counts {
			left := w.rules[k.Rule].minus(c)
			if w.rules[k.Rule] = left; left == (RuleCount{}) {
				delete(w.rules, k.Rule)
				delete(w.names, k.Rule)
			}
		}
		w.counts -= len(m.counts)
		m.counts = nil
	}
}

// add counts, and returns the connections that found no room.
func (w *window) add(now time.Time, k Meeting, c RuleCount) (lost uint64) {
	if c == (RuleCount{}) {
		return 0
	}
	m := &w.minutes[minuteOf(now)%windowMinutes]
	if m.counts == nil {
		m.number, m.counts = minuteOf(now), map[Meeting]RuleCount{}
	}
	if _, known := m.counts[k]; !known && w.counts >= maxMeetings {
		k = Meeting{Rule: k.Rule}
	}
	if _, known := m.counts[k]; !known {
		if w.counts >= maxCounts {
			return c.Connections
		}
		w.counts++
	}
	m.counts[k] = m.counts[k].plus(c)
	w.rules[k.Rule] = w.rules[k.Rule].plus(c)
	return 0
}

// name notes what a rule is called, once: it may be gone when somebody asks.
func (w *window) name(id snapshot.RuleID, find func(snapshot.RuleID) (snapshot.RuleRow, bool)) {
	if _, known := w.names[id]; known {
		return
	}
	if row, ok := find(id); ok {
		w.names[id] = row
	}
}

func (w *window) meetings() map[Meeting]RuleCount {
	out := map[Meeting]RuleCount{}
	for i := range w.minutes {
		for k, c := range w.minutes[i].counts {
			out[k] = out[k].plus(c)
		}
	}
	return out
}

// RuleUse is how often one rule decided in the window.
type RuleUse struct {
	ID snapshot.RuleID
	// Row has its names; only its ID is set if no node had the rule any more when
	// the first count came.
	Row snapshot.RuleRow
	RuleCount
}

// Rules returns how often rules decided within the window, or since the leader
// began if that is less. A rule that did not is absent.
func (t *Tracker) Rules() map[snapshot.RuleID]RuleUse {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window.expire(t.now())
	out := make(map[snapshot.RuleID]RuleUse, len(t.window.rules))
	for id, c := range t.window.rules {
		row := t.window.names[id]
		row.ID = id
		out[id] = RuleUse{id, row, c}
	}
	return out
}

// Meetings returns who met whom, by which rule, within the window.
func (t *Tracker) Meetings() map[Meeting]RuleCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window.expire(t.now())
	return t.window.meetings()
}

// Losses returns what agents lost, and what found no room here, by kind.
func (t *Tracker) Losses() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.losses)
}
