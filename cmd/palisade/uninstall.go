package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
)

type uninstallOptions struct {
	local     local
	root      string
	confDir   string
	binDir    string
	yes, stay bool
}

func newUninstall(e *env) *cobra.Command {
	var o uninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop enforcing on this host and remove all traces",
		Long: `Uninstall takes palisade-cni out of the network configuration, detaches Palisade's
programs from this host's kernel, removes their pins, the connection tracking that
they needed, what is kept on disk, and the unit ` + host.UnitName + `. All that
Palisade denied is open afterwards. Stop the agent first: it would begin anew.
config/uninstall does this on every node of a cluster.`,
		Example: `  palisade uninstall --yes`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.local.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.root, "root", "/", "the host's file system, where nodeagent install-boot may have put its unit")
	cmd.Flags().StringVar(&o.confDir, "cni-conf-dir", "/etc/cni/net.d", "where palisade-cni may be chained")
	cmd.Flags().StringVar(&o.binDir, "cni-bin-dir", "/opt/cni/bin", "where palisade-cni may have been copied to")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do it: without this, uninstall only says what it would do")
	cmd.Flags().BoolVar(&o.stay, "stay", false, "when all is done, wait to be stopped: for a DaemonSet")
	return cmd
}

func (o *uninstallOptions) run(ctx context.Context, e *env) error {
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
	if err := o.remove(); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "nothing is enforced on this host any more")
	if o.stay {
		<-ctx.Done()
	}
	return nil
}

// remove goes on after a failure, but for the first step: while the plugin is
// chained, no pod could start without an agent.
func (o *uninstallOptions) remove() error {
	if _, err := cni.Unchain(o.confDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Remove(filepath.Join(o.binDir, cni.PluginType))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, datapath.Remove(o.local.host.PinDir), o.local.host.Untrack(), host.RemoveBoot(o.root), nodeagent.Forget(o.local.stateDir))
}
