package host

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// The nftables table that makes the kernel track connections. Its chain is not
// hooked anywhere, so that no packet passes it: that a rule with a ct expression
// exists is what switches tracking on in a network namespace. It stays when the
// agent goes, because the pinned programs need it.
const (
	trackingTable = "palisade"
	trackingChain = "tracking"
)

func (h Host) tracking() []Finding {
	err := h.track()
	if err == nil {
		return nil
	}
	mend := "enable nf_conntrack and nf_tables, and let the agent have CAP_NET_ADMIN"
	if errors.Is(err, errNotTried) {
		mend = setByItself + "; if it stays: " + mend
	}
	return []Finding{{
		ReasonKernel, Bypass,
		"connections are not tracked, so replies cannot be told from new connections: " + err.Error(),
		"nftables table inet " + trackingTable, mend,
	}}
}

func (h Host) track() error {
	c := &nftables.Conn{}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: trackingTable}
	chain := &nftables.Chain{Name: trackingChain, Table: table}
	if rules, err := c.GetRules(table, chain); err == nil && len(rules) > 0 {
		return nil
	}
	if h.ReadOnly {
		return fmt.Errorf("table %s is %w", trackingTable, errNotTried)
	}
	c.AddTable(table)
	c.AddChain(chain)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("table %s: %w", trackingTable, err)
	}
	return nil
}

// Untrack removes what tracking made; for uninstalling only.
func (h Host) Untrack() error {
	c := &nftables.Conn{}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("nftables tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == trackingTable {
			c.DelTable(t)
			if err := c.Flush(); err != nil {
				return fmt.Errorf("nftables table %s: %w", trackingTable, err)
			}
		}
	}
	return nil
}

// flowtables reports flowtables with devices: the packets of an offloaded flow
// never reach the hooks again, so that a later change does not cut it.
func (h Host) flowtables() []Finding {
	c := &nftables.Conn{}
	tables, err := c.ListTables()
	if err != nil {
		return nil // what lacks nf_tables has no flowtables; tracking reports it
	}
	var out []Finding
	for _, t := range tables {
		fts, err := c.ListFlowtables(t)
		if err != nil {
			continue
		}
		for _, ft := range fts {
			devices := "no device"
			if len(ft.Devices) > 0 {
				devices = strings.Join(ft.Devices, ", ")
			}
			out = append(out, Finding{
				ReasonBypassed, Bypass, "a flowtable takes established connections past the hooks",
				fmt.Sprintf("nftables table %s, flowtable %s (%s)", t.Name, ft.Name, devices),
				"remove the flowtable, or the software that makes it",
			})
		}
	}
	return out
}
