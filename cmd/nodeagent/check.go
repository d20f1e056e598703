package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/host"
)

// errCannot ends a command where the node cannot enforce.
var errCannot = errors.New("this node cannot enforce policies")

func hostFlags(cmd *cobra.Command, h *host.Host) {
	f := cmd.Flags()
	f.StringVar(&h.Proc, "host-proc", "/proc", "the host's /proc, writable")
	f.StringVar(&h.Sys, "host-sys", "/sys", "the host's /sys")
	f.StringVar(&h.PinDir, "pin-dir", "/sys/fs/bpf/palisade", "where programs and maps are pinned")
}

func newCheck() *cobra.Command {
	h := host.Host{ReadOnly: true}
	var stateDir, confDir string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Says what this node lacks, and how to mend it; changes nothing",
		Long: `check looks at privileges, kernel features, mounts, sysctls and connection
tracking, and at what protects pods after a reboot. A line says what lacks, where,
and how to mend it. Exit 0: all is there,
or the agent can set what lacks; 2: the agent cannot work here.`,
		Example: `  nodeagent check`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fs := h.Prepare()
			for _, f := range fs {
				fmt.Fprintln(cmd.OutOrStdout(), f)
			}
			p := nodeagent.Protection{Unit: host.UnitEnabled(h.Root())}
			p.Booted, _ = nodeagent.BootedInto(stateDir)
			p.Chained, _ = cni.Chained(confDir) // no network configured: no pods to wait
			fmt.Fprintf(cmd.OutOrStdout(), "reboot: %s\n", p)
			if len(fs) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "this node has all that Palisade needs")
			}
			if host.Worst(fs) == host.Fatal {
				return errCannot
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", defaultStateDir, "the agent's state directory")
	cmd.Flags().StringVar(&confDir, "cni-conf-dir", "/etc/cni/net.d", "where the runtime reads its network configuration")
	hostFlags(cmd, &h)
	return cmd
}
