package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
)

type uninstallOptions struct {
	local   local
	confDir string
	yes     bool
}

func newUninstall(e *env) *cobra.Command {
	var o uninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop enforcing on this host and remove all traces",
		Long: `Uninstall detaches Palisade's programs from this host's kernel, removes their pins,
the connection tracking that they needed, and what is kept on disk, and takes
palisade-cni out of the network configuration. All traffic that Palisade denied
is open afterwards. Stop the agent first: it would begin anew.`,
		Example: `  palisade uninstall --yes`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.local.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.confDir, "cni-conf-dir", "/etc/cni/net.d", "where palisade-cni may be chained")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do it: without this, uninstall only says what it would do")
	return cmd
}

func (o *uninstallOptions) run(_ context.Context, e *env) error {
	if !o.yes {
		fmt.Fprintf(e.stdout, "would detach the programs pinned in %s, and remove %s/*; traffic that is denied now would be open. Say --yes to do it.\n",
			o.local.host.PinDir, o.local.stateDir)
		return nil
	}
	unlock, err := nodeagent.LockState(o.local.stateDir)
	if err != nil {
		return err
	}
	defer unlock()
	return o.remove(e)
}

func (o *uninstallOptions) remove(e *env) error {
	if err := datapath.Remove(o.local.host.PinDir); err != nil {
		return err
	}
	if _, err := cni.Unchain(o.confDir); err != nil {
		fmt.Fprintf(e.stderr, "palisade: warning: %v\n", err)
	}
	if err := errors.Join(o.local.host.Untrack(), nodeagent.Forget(o.local.stateDir)); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "nothing is enforced on this host any more")
	return nil
}
