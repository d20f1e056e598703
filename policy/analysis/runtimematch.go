package analysis

import (
	"slices"
	"strings"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// rowMatcher holds rows against an operation.
type rowMatcher struct {
	op     *model.Operation
	isPeer func(snapshot.RulesetID) (bool, error)
}

// matches reports whether every condition of a row holds.
func (m rowMatcher) matches(r *snapshot.RuntimeRuleRow) (bool, error) {
	op := m.op
	if r.Isolation {
		return !op.Mapping || op.Origin != model.OriginImage, nil
	}
	if !rowActs(r, op) || !rowArguments(r, op) {
		return false, nil
	}
	switch op.Section {
	case model.SectionNetwork:
		matches := rowAsks(r, op) && rowReaches(r, op)
		if !matches || r.Peers == (snapshot.RulesetID{}) {
			return matches, nil
		}
		return m.isPeer(r.Peers)
	case model.SectionPrivileges:
		return rowPrivileges(r, op), nil
	case model.SectionFiles:
		if rowMoves(r, op) {
			return true, nil
		}
	}
	return rowAsks(r, op) && rowOwner(r, op) && rowOrigin(r, op) && rowObject(r, op.Path), nil
}

// isOutside reports whether the object has no path in the container.
func isOutside(op *model.Operation) bool {
	return op.Origin == model.OriginOutside && (op.Section == model.SectionExecutables || op.Section == model.SectionFiles)
}

// rowOrigin: without origins a rule is about all of them, but accepts nothing outside.
func rowOrigin(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	if r.Origins == 0 {
		return refuses(r) || !isOutside(op)
	}
	return r.Origins&uint8(op.Origin) != 0
}

func refuses(r *snapshot.RuntimeRuleRow) bool { return r.Action != snapshot.RuntimeAccept }

func rowAsks(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	return r.Operations == 0 || r.Operations&op.Bits != 0
}

// rowPrivileges: capabilities narrow one operation and leave the others alone.
func rowPrivileges(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	common := op.Bits
	if r.Operations != 0 {
		common &= r.Operations
	}
	if r.Capabilities != 0 && r.Capabilities&(1<<op.Capability) == 0 {
		common &^= uint32(model.PrivilegeCapability)
	}
	return common != 0
}

// rowActs reports whether the process is one that the row is about.
func rowActs(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	named := func(path string) bool { return slices.Contains(r.From, path) }
	switch {
	case len(r.From) == 0:
		return true
	case op.DeepAncestry:
		return refuses(r)
	case named(op.Executable):
		return true
	default:
		return r.FromDescendants && slices.ContainsFunc(op.Ancestry, named)
	}
}

// rowArguments compares arguments as the agent does, the first one left out,
// which is the program's own name.
func rowArguments(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	if len(r.Arguments) == 0 {
		return true
	}
	return len(op.Arguments) > 0 && slices.ContainsFunc(op.Arguments[1:], func(have string) bool {
		return slices.ContainsFunc(r.Arguments, func(want string) bool {
			prefix, suffix, glob := strings.Cut(want, "**")
			return have == want || glob && around(have, prefix, suffix)
		})
	})
}

// around reports whether text begins and ends as said, without overlap.
func around(text, prefix, suffix string) bool {
	rest, ok := strings.CutPrefix(text, prefix)
	return ok && strings.HasSuffix(rest, suffix)
}

func rowOwner(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	return r.Owner == snapshot.OwnerAny || (r.Owner == snapshot.OwnerOnly) == op.Owned
}

// rowObject reports whether a path is one of the row's objects.
func rowObject(r *snapshot.RuntimeRuleRow, path string) bool {
	if len(r.Paths)+len(r.Directories)+len(r.Globs) == 0 || slices.Contains(r.Paths, path) {
		return true
	}
	return slices.ContainsFunc(r.Directories, func(dir string) bool { return path == dir || below(path, dir) }) ||
		slices.ContainsFunc(r.Globs, func(g snapshot.RuntimeGlob) bool { return around(path, g.Prefix, g.Suffix) })
}

// below reports whether a path lies in a directory, however deep.
func below(path, dir string) bool {
	if dir == "/" {
		return len(path) > 1
	}
	return strings.HasPrefix(path, dir+"/")
}

// rowMoves reports whether a directory that is renamed holds what the row refuses
// to have touched.
func rowMoves(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	if !refuses(r) || !op.Directory || model.FileOperation(op.Bits)&model.FileRename == 0 {
		return false
	}
	above := func(path string) bool { return below(path, op.Path) }
	return slices.ContainsFunc(r.Paths, above) ||
		slices.ContainsFunc(r.Directories, func(dir string) bool { return dir == op.Path || above(dir) }) ||
		slices.ContainsFunc(r.Globs, func(g snapshot.RuntimeGlob) bool { return above(g.Prefix) })
}

// rowReaches reports whether address and port are among those that a row names.
func rowReaches(r *snapshot.RuntimeRuleRow, op *model.Operation) bool {
	inBlock := func(b snapshot.RuntimeBlock) bool {
		if !op.Address.IsValid() || !b.CIDR.Contains(op.Address) {
			return false
		}
		for _, e := range b.Except {
			if e.Contains(op.Address) {
				return false
			}
		}
		return true
	}
	inPorts := func(p snapshot.RuntimePort) bool {
		if p.Proto != 0 && model.Protocol(p.Proto) != op.Proto {
			return false
		}
		return !hasPorts(op.Proto) || p.Lo <= uint16(op.Port) && uint16(op.Port) <= p.Hi
	}
	return (len(r.Blocks) == 0 || slices.ContainsFunc(r.Blocks, inBlock)) &&
		(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, inPorts))
}

// hasPorts reports whether sockets of a protocol have ports.
func hasPorts(p model.Protocol) bool {
	return p == model.ProtoTCP || p == model.ProtoUDP || p == model.ProtoSCTP
}
