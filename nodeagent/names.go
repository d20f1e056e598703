package nodeagent

import (
	"slices"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/snapshot"
)

// names finds the UIDs of a node's pods by namespace and name, without a walk
// through rows that grow with the cluster. There may be two of one name for a
// moment: the one that goes and the one that comes.
type names map[podName][]string

type podName struct{ namespace, name string }

func namesOf(set *snapshot.Set) names {
	n := names{}
	n.change(nil, set.Entries())
	return n
}

// change takes rows out and puts others in; rows of other tables are passed over.
func (n names) change(out, in []snapshot.Entry) {
	for _, r := range locals(out) {
		key := podName{r.Namespace, r.Name}
		uids := slices.DeleteFunc(n[key], func(uid string) bool { return uid == r.UID })
		if n[key] = uids; len(uids) == 0 {
			delete(n, key)
		}
	}
	for _, r := range locals(in) {
		key := podName{r.Namespace, r.Name}
		if i, known := slices.BinarySearch(n[key], r.UID); !known {
			n[key] = slices.Insert(n[key], i, r.UID)
		}
	}
}

func locals(entries []snapshot.Entry) (rows []snapshot.LocalRow) {
	for _, e := range entries {
		if e.Table != snapshot.TableLocal {
			continue
		}
		if row, err := snapshot.Decode(e); err == nil { // every row was decoded when it came
			rows = append(rows, row.(snapshot.LocalRow))
		}
	}
	return rows
}

// uid is the UID by which the snapshot knows a pod. The runtime knows a static
// pod by the hash of its manifest, the API server by the UID of its mirror; for
// those the name decides.
func (n names) uid(p facts.Pod) string {
	uid := string(p.UID)
	if !static(uid) {
		return uid
	}
	uids := n[podName{p.Namespace, p.Name}]
	if len(uids) == 0 || slices.Contains(uids, uid) {
		return uid
	}
	return uids[0]
}

// static reports whether a UID is a hash rather than a UUID with its dashes.
func static(uid string) bool {
	if len(uid) != 32 {
		return false
	}
	for _, c := range uid {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
