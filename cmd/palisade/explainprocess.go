package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// processOptions ask about an operation of a process.
type processOptions struct {
	pod, node, workload, container string

	exec, mapped, file    string
	operations            []string
	privilege, capability string
	sockets               map[v1alpha1.SocketOperation]*string

	origin           string
	owned, directory bool
	ancestors        []string
}

// Flags that say what is asked about, of which one is given, and those that only
// go with some of them.
var (
	askFlags     = []string{"exec", "map", "file", "privilege", "capability", "connect", "bind", "listen", "send"}
	processFlags = append([]string{"pod", "node", "workload", "container", "operation", "origin", "owned", "directory", "ancestor"}, askFlags...)
	goesWith     = map[string][]string{
		"operation": {"file"}, "owned": {"file"}, "directory": {"file"}, "to": {"file"}, "origin": {"exec", "map", "file"}, "port": {},
	}
)

func (o *processOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.pod, "pod", "", "NAMESPACE/POD whose process it is")
	flags.StringVar(&o.node, "node", "", "the node whose own process it is, one of no pod")
	flags.StringVar(&o.workload, "workload", "", "the external workload NAMESPACE/NAME whose host's own process it is")
	flags.StringVar(&o.container, "container", "", "its container; pause is the sandbox (default: each of the pod's but that)")
	flags.StringVar(&o.exec, "exec", "", "it executes this file")
	flags.StringVar(&o.mapped, "map", "", "it maps this file as executable")
	flags.StringVar(&o.file, "file", "", "it does --operation to this file; a rename or link leads to --to")
	flags.StringSliceVar(&o.operations, "operation", nil, "what is done to --file: "+strings.Join(namesOf(translate.FileOperations), ", "))
	flags.StringVar(&o.privilege, "privilege", "", "it uses this privilege: "+strings.Join(namesOf(translate.PrivilegeOperations), ", "))
	flags.StringVar(&o.capability, "capability", "", "it uses this capability, such as NET_ADMIN")
	o.sockets = map[v1alpha1.SocketOperation]*string{}
	for name, about := range map[v1alpha1.SocketOperation]string{
		v1alpha1.SocketConnect: "it connects a socket to ADDRESS:PORT/PROTOCOL",
		v1alpha1.SocketBind:    "it binds a socket to ADDRESS:PORT/PROTOCOL",
		v1alpha1.SocketListen:  "it listens on ADDRESS:PORT/PROTOCOL",
		v1alpha1.SocketSend:    "it sends a message that carries the address ADDRESS:PORT/PROTOCOL",
	} {
		o.sockets[name] = flags.String(strings.ToLower(string(name)), "", about)
	}
	flags.StringVar(&o.origin, "origin", string(v1alpha1.OriginImage), "where the file comes from: "+strings.Join(namesOf(translate.OriginBits), ", "))
	flags.BoolVar(&o.owned, "owned", false, "the process owns --file")
	flags.BoolVar(&o.directory, "directory", false, "--file is a directory")
	flags.StringArrayVar(&o.ancestors, "ancestor", nil, "a file that the process, or one that it descends from, executed before; may be repeated")
}

// questions reads the flags: one operation, or several on a file, of which the kernel
// asks one after the other. From is what the process executes, to where a rename or
// link leads.
func (o *processOptions) questions(flags *pflag.FlagSet, from, to string) ([]processQuestion, error) {
	ask, err := theOne(flags)
	if err != nil {
		return nil, err
	}
	for _, f := range slices.Sorted(maps.Keys(goesWith)) {
		if flags.Changed(f) && !slices.Contains(goesWith[f], ask) {
			return nil, fmt.Errorf("--%s says nothing about --%s: remove it", f, ask)
		}
	}
	var asked model.Operation
	if err := o.process(&asked, from); err != nil {
		return nil, err
	}
	if ask == "file" {
		return o.fileQuestions(asked, to)
	}
	var q processQuestion
	switch ask {
	case "exec", "map":
		q, err = o.executable(ask, asked)
	case "privilege", "capability":
		q, err = o.privilegeQuestion(ask, asked)
	default:
		q, err = socketQuestion(ask, flags.Lookup(ask).Value.String(), asked)
	}
	return []processQuestion{q}, err
}

// theOne finds the flag that says what is asked about.
func theOne(flags *pflag.FlagSet) (string, error) {
	var given []string
	for _, f := range askFlags {
		if flags.Changed(f) {
			given = append(given, f)
		}
	}
	switch len(given) {
	case 0:
		return "", fmt.Errorf("explain: say what the process does: one of --%s", strings.Join(askFlags, ", --"))
	case 1:
		return given[0], nil
	}
	return "", fmt.Errorf("explain: --%s are several questions: give one", strings.Join(given, " and --"))
}

func (o *processOptions) executable(ask string, op model.Operation) (processQuestion, error) {
	q := processQuestion{operation: ask, object: o.exec, op: op}
	if q.op.Mapping = ask == "map"; q.op.Mapping {
		q.object = o.mapped
	}
	return q, errors.Join(pathOf(ask, q.object, &q.op), o.originOf(&q.op))
}

// fileQuestions are one for each operation and, where a rename or link makes a name,
// one for that.
func (o *processOptions) fileQuestions(op model.Operation, to string) ([]processQuestion, error) {
	op.Section, op.Owned, op.Directory = model.SectionFiles, o.owned, o.directory
	names := strings.Join(namesOf(translate.FileOperations), ", ")
	if len(o.operations) == 0 {
		return nil, fmt.Errorf("--file %q: say what is done to it by --operation: %s", o.file, names)
	}
	if err := errors.Join(pathOf("file", o.file, &op), o.originOf(&op)); err != nil {
		return nil, err
	}
	var out []processQuestion
	moves := false
	for _, name := range o.operations {
		bit, err := known("operation", name, translate.FileOperations)
		if err != nil {
			return nil, err
		}
		moves = moves || bit == model.FileRename || bit == model.FileLink
		op.Bits = uint32(bit)
		out = append(out, processQuestion{name, o.file, op})
	}
	if to == "" {
		return out, nil
	}
	if !moves {
		return nil, errors.New("--to says nothing about --operation " + strings.Join(o.operations, ",") + ": Rename and Link lead somewhere")
	}
	op.Bits = uint32(model.FileCreate)
	err := pathOf("to", to, &op)
	return append(out, processQuestion{string(v1alpha1.FileCreate), to, op}), err
}

func (o *processOptions) privilegeQuestion(ask string, op model.Operation) (processQuestion, error) {
	op.Section = model.SectionPrivileges
	q := processQuestion{operation: o.privilege, op: op}
	if ask == "capability" {
		number := slices.Index(v1alpha1.Capabilities, v1alpha1.Capability(o.capability))
		if number < 0 {
			return q, fmt.Errorf("--capability %q: no capability is called that: write it as in a securityContext, such as NET_ADMIN", o.capability)
		}
		q.operation, q.object = string(v1alpha1.PrivilegeCapability), o.capability
		q.op.Bits, q.op.Capability = uint32(model.PrivilegeCapability), uint8(number)
		return q, nil
	}
	bit, err := known("privilege", o.privilege, translate.PrivilegeOperations)
	if bit == model.PrivilegeCapability {
		err = errors.New("--privilege Capability: say which by --capability, such as --capability NET_ADMIN")
	}
	q.op.Bits = uint32(bit)
	return q, err
}

const socketForms = "write ADDRESS:PORT/tcp, /udp or /sctp, such as 10.0.0.1:443/tcp or [fd00::1]:53/udp, or ADDRESS/icmp or ADDRESS/icmpv6"

func socketQuestion(ask, text string, op model.Operation) (processQuestion, error) {
	name := strings.ToUpper(ask[:1]) + ask[1:]
	op.Section, op.Bits = model.SectionNetwork, uint32(translate.SocketOperations[v1alpha1.SocketOperation(name)])
	q := processQuestion{name, text, op}
	wrong := fmt.Errorf("--%s %q: %s", ask, text, socketForms)
	end, protocol, _ := strings.Cut(text, "/")
	switch q.op.Proto = protocolNumber(protocol); q.op.Proto {
	case model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP:
		a, err := netip.ParseAddrPort(end)
		if err != nil {
			return q, wrong
		}
		q.op.Address, q.op.Port = a.Addr().Unmap().WithZone(""), model.Port(a.Port())
	case model.ProtoICMP, model.ProtoICMPv6:
		a, err := netip.ParseAddr(end)
		if err != nil {
			return q, wrong
		}
		q.op.Address = a.Unmap().WithZone("")
	default:
		return q, wrong
	}
	return q, nil
}

// process says who acts.
func (o *processOptions) process(op *model.Operation, from string) error {
	op.Executable, op.Ancestry = from, o.ancestors
	var errs []error
	if from != "" {
		errs = append(errs, checkPath("from", from))
	}
	for _, a := range o.ancestors {
		errs = append(errs, checkPath("ancestor", a))
	}
	return errors.Join(errs...)
}

func (o *processOptions) originOf(op *model.Operation) error {
	var err error
	op.Origin, err = known("origin", o.origin, translate.OriginBits)
	return err
}

// longestPath is what the kernel resolves at most.
const longestPath = 4095

func pathOf(flag, text string, op *model.Operation) error {
	op.Path, op.Unresolvable = text, len(text) > longestPath
	return checkPath(flag, text)
}

// checkPath takes what the kernel can resolve a path to, and longer ones.
func checkPath(flag, text string) error {
	switch {
	case !strings.HasPrefix(text, "/"):
		return fmt.Errorf("--%s %q: it is not absolute: write it from the root of the container, such as /usr/bin/curl", flag, text)
	case path.Clean(text) != text:
		return fmt.Errorf("--%s %q: the kernel resolves no path to that: write %s", flag, text, path.Clean(text))
	}
	return nil
}

// known looks a name of the API up.
func known[S ~string, B ~uint8 | ~uint32](flag, name string, bits map[S]B) (B, error) {
	bit, ok := bits[S(name)]
	if !ok {
		return 0, fmt.Errorf("--%s %q: write one of %s", flag, name, strings.Join(namesOf(bits), ", "))
	}
	return bit, nil
}

// namesOf lists names of the API in their order there.
func namesOf[S ~string, B ~uint8 | ~uint32](bits map[S]B) []string {
	var out []string
	for _, name := range slices.SortedFunc(maps.Keys(bits), func(a, b S) int { return int(bits[a]) - int(bits[b]) }) {
		out = append(out, string(name))
	}
	return out
}
