package datapath

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// CutDenied deletes the connections, as conntrack knows them, whose original
// direction is denied now, and returns how many. The next packet makes an entry of
// its own: a stale orientation, of UDP between equal ports say, would stay denied
// for ever. A TCP connection that would be allowed the other way round is left: it
// may have been picked up in the middle.
//
// It looks at the network namespace of the calling thread.
func (d *Datapath) CutDenied(ctx context.Context) (int, error) {
	if d.networkLacks != nil {
		return 0, nil // nobody is denied a connection here
	}
	here, err := ownAddresses()
	if err != nil {
		return 0, err
	}
	cut := 0
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if err := ctx.Err(); err != nil {
			return cut, err
		}
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			return cut, fmt.Errorf("conntrack entries: %w", err)
		}
		denied, err := d.deniedFlows(flows, here)
		if err != nil || len(denied) == 0 {
			if err != nil {
				return cut, err
			}
			continue
		}
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, denied)
		cut += int(n)
		if err != nil {
			return cut, fmt.Errorf("conntrack entries: %w", err)
		}
	}
	return cut, nil
}

// flowKey tells a connection from all others.
type flowKey struct {
	client, server netip.AddrPort
	original       netip.AddrPort
	protocol       uint8
}

// flowSet is a filter: the connections to delete.
type flowSet map[flowKey]struct{}

// MatchConntrackFlow reports whether a connection is in the set.
func (s flowSet) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	_, ok := s[keyOfFlow(f)]
	return ok
}

func keyOfFlow(f *netlink.ConntrackFlow) flowKey {
	return flowKey{
		client:   netip.AddrPortFrom(toAddr(f.Forward.SrcIP), f.Forward.SrcPort),
		server:   netip.AddrPortFrom(toAddr(f.Reverse.SrcIP), f.Reverse.SrcPort),
		original: netip.AddrPortFrom(toAddr(f.Forward.DstIP), f.Forward.DstPort),
		protocol: f.Forward.Protocol,
	}
}

func toAddr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// deniedFlows asks the verdict about connections and keeps those that are denied.
// Only protocols whose port conntrack's listing tells are asked about.
func (d *Datapath) deniedFlows(flows []*netlink.ConntrackFlow, here map[netip.Addr]bool) (flowSet, error) {
	var keys []flowKey
	var questions []bpf.Question
	for _, f := range flows {
		k := keyOfFlow(f)
		if !k.client.Addr().IsValid() || !k.server.Addr().IsValid() {
			continue
		}
		switch k.protocol {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE:
		default:
			continue
		}
		keys = append(keys, k)
		questions = append(questions, flowQuestion(k.client, k.server, k.protocol, here), flowQuestion(k.server, k.client, k.protocol, here))
	}
	d.mu.Lock()
	outcomes, err := d.ask(questions)
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	denied := flowSet{}
	for i, k := range keys {
		if !isDenied(outcomes[2*i]) {
			continue
		}
		if k.protocol == unix.IPPROTO_TCP && !isDenied(outcomes[2*i+1]) {
			continue
		}
		denied[k] = struct{}{}
	}
	return denied, nil
}

func flowQuestion(client, server netip.AddrPort, protocol uint8, here map[netip.Addr]bool) bpf.Question {
	q := bpf.Question{
		Client: layout.KeyOf(client.Addr()), Server: layout.KeyOf(server.Addr()),
		Port: uint32(protocol)<<16 | uint32(server.Port()), Family: bpf.FamilyIPv4, ClientPort: client.Port(),
	}
	if client.Addr().Is6() {
		q.Family = bpf.FamilyIPv6
	}
	switch {
	case here[client.Addr()]:
		q.Own = bpf.OwnClient
	case here[server.Addr()]:
		q.Own = bpf.OwnServer
	}
	return q
}

func isDenied(o bpf.Outcome) bool {
	return (o.Egress.Enforced|o.Ingress.Enforced)&bpf.WordDeny != 0
}

// ownAddresses are those of this network namespace's interfaces.
func ownAddresses() (map[netip.Addr]bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	here := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		here[toAddr(a.IP)] = true
	}
	return here, nil
}
