package reference

import (
	"slices"
	"strings"

	"palisade.dev/palisade/policy/model"
)

// matchesRule reports whether a rule matches: who acts, what is done, and to what.
func (q runtimeQuestion) matchesRule(r model.RuntimeRule) bool {
	if !q.fromMatches(r) || !q.argumentsMatch(r) {
		return false
	}
	switch q.op.Section {
	case model.SectionExecutables:
		return q.originMatches(r) && q.pathMatches(r)
	case model.SectionFiles:
		return q.takesAway(r) || q.operationMatches(r) && q.originMatches(r) && q.ownerMatches(r) && q.pathMatches(r)
	case model.SectionPrivileges:
		return q.privilegeMatches(r)
	default:
		return q.operationMatches(r) && q.socketMatches(r)
	}
}

// fromMatches: without from a rule is about every process. One of whose descent
// too much is unknown is what rules that refuse are about and those that accept
// are not.
func (q runtimeQuestion) fromMatches(r model.RuntimeRule) bool {
	if len(r.From) == 0 {
		return true
	}
	if q.op.DeepAncestry {
		return refuses(r)
	}
	for _, path := range r.From {
		if path == q.op.Executable {
			return true
		}
		for _, ancestor := range q.op.Ancestry {
			if r.FromDescendants && path == ancestor {
				return true
			}
		}
	}
	return false
}

// argumentsMatch: one argument, the program's own name not counted, is one of the
// rule's, in which ** stands for any text.
func (q runtimeQuestion) argumentsMatch(r model.RuntimeRule) bool {
	if len(r.Arguments) == 0 {
		return true
	}
	for i, have := range q.op.Arguments {
		if i == 0 {
			continue
		}
		for _, want := range r.Arguments {
			before, after, glob := strings.Cut(want, "**")
			if have == want || glob && len(have) >= len(before)+len(after) && strings.HasPrefix(have, before) && strings.HasSuffix(have, after) {
				return true
			}
		}
	}
	return false
}

// operationMatches: without operations a rule is about all of them.
func (q runtimeQuestion) operationMatches(r model.RuntimeRule) bool {
	return r.Operations == 0 || r.Operations&q.op.Bits != 0
}

// originMatches: without origins a rule is about all of them. What is outside of the
// container has no path there, so that a rule that accepts it must say so.
func (q runtimeQuestion) originMatches(r model.RuntimeRule) bool {
	if r.Origins == 0 {
		return q.op.Origin != model.OriginOutside || refuses(r)
	}
	return r.Origins&q.op.Origin != 0
}

func (q runtimeQuestion) ownerMatches(r model.RuntimeRule) bool {
	switch r.Owner {
	case model.OwnerOnly:
		return q.op.Owned
	case model.OwnerNot:
		return !q.op.Owned
	default:
		return true
	}
}

// pathMatches: paths, directories and globs unite; without any of them a rule is
// about every object.
func (q runtimeQuestion) pathMatches(r model.RuntimeRule) bool {
	if len(r.Paths) == 0 && len(r.Directories) == 0 && len(r.Globs) == 0 {
		return true
	}
	for _, path := range r.Paths {
		if q.op.Path == path {
			return true
		}
	}
	for _, dir := range r.Directories {
		if q.op.Path == dir || isAbove(dir, q.op.Path) {
			return true
		}
	}
	for _, g := range r.Globs {
		if len(q.op.Path) >= len(g.Prefix)+len(g.Suffix) && strings.HasPrefix(q.op.Path, g.Prefix) && strings.HasSuffix(q.op.Path, g.Suffix) {
			return true
		}
	}
	return false
}

// isAbove reports whether a path lies below a directory: whether the directory's
// steps are the first ones of the path's, and there are more.
func isAbove(dir, path string) bool {
	d, p := steps(dir), steps(path)
	return len(p) > len(d) && slices.Equal(d, p[:len(d)])
}

// steps are the names in a path; the root has none.
func steps(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path, "/")[1:]
}

// takesAway reports whether a directory is renamed that holds what a rule refuses
// to have touched: it would take that along. One of the rule's directories does so
// as much as one above.
func (q runtimeQuestion) takesAway(r model.RuntimeRule) bool {
	if !q.op.Directory || q.op.Bits&uint32(model.FileRename) == 0 || !refuses(r) {
		return false
	}
	for _, path := range r.Paths {
		if isAbove(q.op.Path, path) {
			return true
		}
	}
	for _, dir := range r.Directories {
		if q.op.Path == dir || isAbove(q.op.Path, dir) {
			return true
		}
	}
	for _, g := range r.Globs {
		if isAbove(q.op.Path, g.Prefix) {
			return true
		}
	}
	return false
}

// privilegeMatches: operations unite, and capabilities say which ones the
// operation Capability is about.
func (q runtimeQuestion) privilegeMatches(r model.RuntimeRule) bool {
	for op := model.PrivilegeCapability; op <= model.PrivilegePacketSocket; op <<= 1 {
		asked := q.op.Bits&uint32(op) != 0
		named := r.Operations == 0 || r.Operations&uint32(op) != 0
		if !asked || !named {
			continue
		}
		if op != model.PrivilegeCapability || r.Capabilities == 0 || r.Capabilities>>q.op.Capability&1 == 1 {
			return true
		}
	}
	return false
}

// socketMatches: any of the peers and any of the ports.
func (q runtimeQuestion) socketMatches(r model.RuntimeRule) bool {
	anyPeer, anyPort := len(r.Peers) == 0, len(r.Ports) == 0
	for _, p := range r.Peers {
		other := end{addr: q.op.Address, endpoint: owner(q.cluster, q.op.Address)}
		anyPeer = anyPeer || q.peerMatches(p, end{endpoint: q.subject}, other) && q.op.Address.IsValid()
	}
	for _, p := range r.Ports {
		if p.Proto != model.ProtoAny && p.Proto != q.op.Proto {
			continue
		}
		switch q.op.Proto {
		case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
			anyPort = anyPort || p.Lo <= q.op.Port && q.op.Port <= p.Hi
		default:
			anyPort = true // no ports to compare
		}
	}
	return anyPeer && anyPort
}
