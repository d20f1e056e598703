package translate

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

func (t *runtimeTranslator) executables(at *field.Path, s *v1alpha1.ExecutableSection) model.RuntimeSection {
	var rules, exceptions []model.RuntimeRule
	for i := range s.Rules {
		r, where := &s.Rules[i], at.Child("rules").Index(i)
		out := t.common(where, &r.RuntimeRule)
		t.objects(where, &r.PathMatch, r.Origins, &out)
		out.Arguments = t.arguments(where.Child("arguments"), r.Arguments, out.Action)
		rules = append(rules, out)
	}
	for i := range s.Exceptions {
		e, where := &s.Exceptions[i], at.Child("exceptions").Index(i)
		out := t.exception(where, &e.RuntimeException)
		t.objects(where, &e.PathMatch, e.Origins, &out)
		t.narrow(where, "execution", "paths, directories, globs, origins or from", &out)
		exceptions = append(exceptions, out)
	}
	return t.section(at, model.SectionExecutables, t.isolates(at.Child("default"), s.Default), rules, exceptions)
}

// maxArgument is how many bytes an argument has at most.
const maxArgument = 1024 // the schema allows 256 characters

func (t *runtimeTranslator) arguments(at *field.Path, list []v1alpha1.Argument, action model.RuntimeAction) []string {
	var out []string
	for i, a := range list {
		switch {
		case a == "":
			t.add(at.Index(i), "remove it", "an argument is empty")
		case len(a) > maxArgument:
			t.add(at.Index(i), "keep the part that tells, with ** for the rest", "an argument of %d bytes is over %d", len(a), maxArgument)
		case strings.Count(string(a), "**") > 1:
			t.add(at.Index(i), "split it into two entries, or keep the part that tells", "an argument has at most one **")
		}
		out = append(out, string(a))
	}
	if len(list) > 0 && action != model.RuntimeAudit {
		t.add(at, "set action to Audit, or remove arguments", "arguments can only be observed, since a process can change them after they are checked")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// narrow refuses an exception that excepts everything.
func (t *runtimeTranslator) narrow(at *field.Path, what, with string, r *model.RuntimeRule) {
	if len(r.Paths)+len(r.Directories)+len(r.Globs)+len(r.From)+len(r.Peers)+len(r.Ports) == 0 && r.Origins == 0 && r.Operations == 0 {
		t.add(at, "narrow it with "+with+", or remove the rules instead", "the exception matches every %s", what)
	}
}

func (t *runtimeTranslator) files(at *field.Path, s *v1alpha1.FileSection) model.RuntimeSection {
	var rules, exceptions []model.RuntimeRule
	for i := range s.Rules {
		r, where := &s.Rules[i], at.Child("rules").Index(i)
		out := t.common(where, &r.RuntimeRule)
		t.objects(where, &r.PathMatch, r.Origins, &out)
		out.Operations = operations(t, where.Child("operations"), FileOperations, r.Operations)
		accepts := out.Action.Verdict() == model.Allow
		switch {
		case r.ReadOnly && len(r.Operations) > 0:
			t.add(where.Child("readOnly"), "remove operations, or readOnly", "readOnly already says which operations")
		case r.ReadOnly && accepts:
			out.Operations = uint32(model.FileRead)
		case r.ReadOnly:
			out.Operations = uint32(model.FileOperations &^ model.FileRead)
		}
		switch {
		case r.OwnerOnly && out.Operations == uint32(model.FileCreate):
			t.add(where.Child("ownerOnly"), "add operations, or remove ownerOnly", "it means nothing with Create alone, since whoever creates a file owns it")
		case r.OwnerOnly && accepts:
			out.Owner = model.OwnerOnly
		case r.OwnerOnly:
			out.Owner = model.OwnerNot
		}
		rules = append(rules, out)
	}
	for i := range s.Exceptions {
		e, where := &s.Exceptions[i], at.Child("exceptions").Index(i)
		out := t.exception(where, &e.RuntimeException)
		t.objects(where, &e.PathMatch, e.Origins, &out)
		t.narrow(where, "file", "paths, directories, globs, origins or from", &out)
		out.Operations = operations(t, where.Child("operations"), FileOperations, e.Operations)
		exceptions = append(exceptions, out)
	}
	return t.section(at, model.SectionFiles, t.isolates(at.Child("default"), s.Default), rules, exceptions)
}

func (t *runtimeTranslator) privileges(at *field.Path, s *v1alpha1.PrivilegeSection) model.RuntimeSection {
	var rules, exceptions []model.RuntimeRule
	for i := range s.Rules {
		r, where := &s.Rules[i], at.Child("rules").Index(i)
		out := t.common(where, &r.RuntimeRule)
		t.privilege(where, r.Operations, r.Capabilities, &out)
		rules = append(rules, out)
	}
	for i := range s.Exceptions {
		e, where := &s.Exceptions[i], at.Child("exceptions").Index(i)
		out := t.exception(where, &e.RuntimeException)
		t.privilege(where, e.Operations, e.Capabilities, &out)
		t.narrow(where, "privilege", "operations", &out)
		exceptions = append(exceptions, out)
	}
	return t.section(at, model.SectionPrivileges, t.isolates(at.Child("default"), s.Default), rules, exceptions)
}

func (t *runtimeTranslator) privilege(at *field.Path, ops []v1alpha1.PrivilegeOperation, capabilities []v1alpha1.Capability, out *model.RuntimeRule) {
	out.Operations = operations(t, at.Child("operations"), PrivilegeOperations, ops)
	for i, c := range capabilities {
		number := slices.Index(v1alpha1.Capabilities, c)
		if number < 0 {
			fix := "write a name of capabilities(7) without CAP_, for example NET_ADMIN"
			if short, ok := strings.CutPrefix(strings.ToUpper(string(c)), "CAP_"); ok && slices.Contains(v1alpha1.Capabilities, v1alpha1.Capability(short)) {
				fix = "write " + short
			}
			t.add(at.Child("capabilities").Index(i), fix, "%q is no capability", c)
			continue
		}
		out.Capabilities |= 1 << number
	}
	if len(capabilities) > 0 && out.Operations&uint32(model.PrivilegeCapability) == 0 {
		t.add(at.Child("capabilities"), "add Capability to operations, or remove capabilities", "capabilities belong to the operation Capability")
	}
}

// objects translates which files a rule is about.
func (t *runtimeTranslator) objects(at *field.Path, m *v1alpha1.PathMatch, origins []v1alpha1.Origin, out *model.RuntimeRule) {
	out.Paths = t.paths(at.Child("paths"), texts(m.Paths))
	out.Directories = t.paths(at.Child("directories"), texts(m.Directories))
	out.Globs = t.globs(at.Child("globs"), texts(m.Globs))
	for i, o := range origins {
		bit, ok := OriginBits[o]
		if !ok {
			t.add(at.Child("origins").Index(i), "write Image, Modified, Memory or Outside", "%q is no origin", o)
		}
		out.Origins |= bit
	}
}

// OriginBits are the origins by their names in the API.
var OriginBits = map[v1alpha1.Origin]model.Origin{
	v1alpha1.OriginImage: model.OriginImage, v1alpha1.OriginModified: model.OriginModified,
	v1alpha1.OriginMemory: model.OriginMemory, v1alpha1.OriginOutside: model.OriginOutside,
}

// FileOperations are the operations on files by their names in the API.
var FileOperations = map[v1alpha1.FileOperation]model.FileOperation{
	v1alpha1.FileRead: model.FileRead, v1alpha1.FileWrite: model.FileWrite, v1alpha1.FileCreate: model.FileCreate,
	v1alpha1.FileDelete: model.FileDelete, v1alpha1.FileRename: model.FileRename, v1alpha1.FileLink: model.FileLink,
	v1alpha1.FileAttributes: model.FileAttributes, v1alpha1.FileMapExecutable: model.FileMapExecutable,
}

// PrivilegeOperations are the privileges by their names in the API.
var PrivilegeOperations = map[v1alpha1.PrivilegeOperation]model.PrivilegeOperation{
	v1alpha1.PrivilegeCapability: model.PrivilegeCapability, v1alpha1.PrivilegeSetUser: model.PrivilegeSetUser,
	v1alpha1.PrivilegeSetGroup: model.PrivilegeSetGroup, v1alpha1.PrivilegeUserNamespace: model.PrivilegeUserNamespace,
	v1alpha1.PrivilegeJoinNamespace: model.PrivilegeJoinNamespace, v1alpha1.PrivilegePtrace: model.PrivilegePtrace,
	v1alpha1.PrivilegeMount: model.PrivilegeMount, v1alpha1.PrivilegeChroot: model.PrivilegeChroot,
	v1alpha1.PrivilegePivotRoot: model.PrivilegePivotRoot, v1alpha1.PrivilegeLoadModule: model.PrivilegeLoadModule,
	v1alpha1.PrivilegeLoadBPF: model.PrivilegeLoadBPF, v1alpha1.PrivilegeWriteExecMemory: model.PrivilegeWriteExecMemory,
	v1alpha1.PrivilegeIOUring: model.PrivilegeIOUring, v1alpha1.PrivilegeRawSocket: model.PrivilegeRawSocket,
	v1alpha1.PrivilegePacketSocket: model.PrivilegePacketSocket,
}

// SocketOperations are the operations on sockets by their names in the API.
var SocketOperations = map[v1alpha1.SocketOperation]model.SocketOperation{
	v1alpha1.SocketConnect: model.SocketConnect, v1alpha1.SocketBind: model.SocketBind,
	v1alpha1.SocketListen: model.SocketListen, v1alpha1.SocketSend: model.SocketSend,
}

// operations puts the bits of a section's operations together; none is all.
func operations[S ~string, B ~uint32](t *runtimeTranslator, at *field.Path, bits map[S]B, list []S) uint32 {
	var out B
	for i, name := range list {
		bit, ok := bits[name]
		if !ok {
			known := texts(slices.SortedFunc(maps.Keys(bits), func(a, b S) int { return int(bits[a]) - int(bits[b]) }))
			t.add(at.Index(i), "write one of "+strings.Join(known, ", "), "%q is no operation of this section", name)
		}
		out |= bit
	}
	return uint32(out)
}
