package cni

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/internal/accept"
)

// Server answers the plugin out of a fact store.
type Server struct {
	Facts *facts.Store
	Log   logr.Logger
	// Ready says why pods cannot be taken yet, if so.
	Ready func() error
	// Exempt is a namespace whose pods start even so: the controller must, or no
	// agent would ever get a first snapshot.
	Exempt string
	// Known waits, within bounds of its own, until the snapshot knows the pod.
	// A pod that stays unknown is not refused: the rule for unbound addresses
	// judges it until the snapshot has it.
	Known func(context.Context, facts.Pod)
}

// Listen makes the socket, replacing one that a former agent left.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// Serve answers until ctx ends; it then closes l and waits for those it serves.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return accept.Serve(ctx, l, s.serve)
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxMessage)).ReadBytes('\n')
	if err != nil {
		return // a health check that only connects, or a caller that went away
	}
	var resp Response
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		resp.Error = "request: " + err.Error()
	} else if err := s.do(ctx, r); err != nil {
		resp.Error = err.Error()
		s.Log.Info("CNI request refused", "op", r.Op, "pod", r.Pod.String(), "reason", err.Error())
	}
	if err := json.NewEncoder(conn).Encode(resp); err != nil {
		s.Log.V(1).Info("CNI answer not delivered", "op", r.Op, "pod", r.Pod.String(), "reason", err.Error())
	}
}

func (s *Server) do(ctx context.Context, r Request) error {
	if r.Version != protocolVersion {
		return fmt.Errorf("plugin speaks protocol %d, this agent %d: install the plugin of this agent's version", r.Version, protocolVersion)
	}
	ctx, cancel := context.WithTimeout(ctx, max(0, min(r.Timeout, time.Minute)))
	defer cancel()
	switch r.Op {
	case OpAdd:
		return s.add(ctx, r)
	case OpDel:
		// Not waited for: until the kernel forgets it, the address only stays with
		// a pod that is gone, behind an interface that is gone.
		_, err := s.Facts.Keep(func(a facts.Attachment) bool { return !ended(a, r) })
		return err
	case OpCheck:
		return s.check(ctx, r)
	case OpGC:
		return s.collect(r)
	case OpStatus:
		return s.Ready()
	default:
		return fmt.Errorf("unknown operation %q", r.Op)
	}
}

func (s *Server) add(ctx context.Context, r Request) error {
	if err := validate(r); err != nil {
		return err
	}
	notReady := s.Ready()
	exempt := s.Exempt != "" && r.Pod.Namespace == s.Exempt
	if notReady != nil && !exempt {
		return notReady
	}
	if notReady == nil {
		s.Known(ctx, r.Pod)
	}
	rev, err := s.Facts.Bind(facts.Attachment{
		AttachmentID: r.Attachment, Pod: r.Pod, Addrs: r.Addrs, Host: r.Host, Source: facts.FromCNI,
	})
	if err != nil {
		return err
	}
	if notReady != nil {
		s.Log.Info("pod starts before there is a snapshot", "pod", r.Pod.String())
		return nil
	}
	if err := s.Facts.Wait(ctx, rev); err != nil {
		return fmt.Errorf("pod %s: %w", r.Pod, err)
	}
	s.Log.V(1).Info("pod bound", "pod", r.Pod.String(), "addrs", r.Addrs, "interface", r.Host.Name)
	return nil
}

func validate(r Request) error {
	switch {
	case r.Attachment.Container == "" || r.Attachment.IfName == "":
		return errors.New("attachment without container or interface name")
	case r.Pod.UID == "":
		return errors.New("pod without UID: CNI_ARGS lacks K8S_POD_UID")
	case len(r.Addrs) == 0:
		return fmt.Errorf("pod %s has no address: chain palisade-cni after the plugin that assigns one", r.Pod)
	}
	for _, a := range r.Addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("pod %s: address %q is not a plain IPv4 or IPv6 address", r.Pod, a)
		}
	}
	return nil
}

// ended reports whether a DEL is about an attachment: CNI's own key names it, or it
// was found by looking, under a name that CNI does not know.
func ended(a facts.Attachment, r Request) bool {
	return a.AttachmentID == r.Attachment ||
		a.Source == facts.FromDiscovery && r.Pod.UID != "" && a.Pod.UID == r.Pod.UID && a.IfName == r.Attachment.IfName
}

func (s *Server) check(ctx context.Context, r Request) error {
	a, ok := s.Facts.Get(r.Attachment)
	if !ok || a.Host != r.Host || !sameAddrs(a.Addrs, r.Addrs) {
		return fmt.Errorf("pod %s is not bound as its network says", r.Pod)
	}
	_, rev := s.Facts.Attachments()
	return s.Facts.Wait(ctx, rev)
}

func sameAddrs(a, b []netip.Addr) bool {
	set := map[netip.Addr]bool{}
	for _, x := range a {
		set[x] = true
	}
	for _, x := range b {
		if !set[x] {
			return false
		}
	}
	return len(a) == len(b)
}

func (s *Server) collect(r Request) error {
	valid := map[facts.AttachmentID]bool{}
	for _, id := range r.Valid {
		valid[id] = true
	}
	_, err := s.Facts.Keep(func(a facts.Attachment) bool { return a.Source != facts.FromCNI || valid[a.AttachmentID] })
	return err
}
