package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
)

// bootFlags are the flags of nodeagent boot.
type bootFlags struct {
	node, stateDir, unbound string
	host                    host.Host
}

func newBoot() *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "boot",
		Short: "Brings the last snapshot on disk into force, and ends",
		Long: `boot is for the time before pods run: it loads the last snapshot that this node had
into the kernel, pins it there, and ends. The kernel enforces it until the agent
goes on from there. It asks nobody: neither the controller nor the API server.

Which pod has which address is not known then, but for what the snapshot says of the
time before. Addresses of the node's pod ranges that nobody is known to have are
denied (--unbound-address) until the agent runs.

Exit code: 0, also on a node that never had a snapshot; 2 where what is on disk is
damaged, where the node cannot enforce, and where an agent runs already.`,
		Example: `  nodeagent boot
  nodeagent install-boot   # have systemd do it at every boot, before kubelet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.node, "node", "", "this node's name (default: that of the snapshot on disk)")
	fl.StringVar(&f.stateDir, "state-dir", defaultStateDir, "where the last snapshot is")
	fl.StringVar(&f.unbound, "unbound-address", "deny", "addresses of the node's pod ranges that no pod is known to have: auto, deny or allow")
	hostFlags(cmd, &f.host)
	return cmd
}

const defaultStateDir = "/var/lib/palisade"

func (f *bootFlags) run(cmd *cobra.Command) error {
	var unbound layout.Unbound
	if err := unbound.UnmarshalText([]byte(f.unbound)); err != nil {
		return fmt.Errorf("--unbound-address %q: %w", f.unbound, err)
	}
	log, flush := logger(false)
	defer flush()
	f.host.WithoutPackets = true
	commit, err := nodeagent.Boot(cmd.Context(), nodeagent.Config{
		Node: f.node, Log: log, StateDir: f.stateDir, Host: f.host,
		Open: func() (nodeagent.Datapath, error) {
			return nodeagent.OpenWithRuntime(datapath.Config{PinDir: f.host.PinDir, Layout: layout.Options{Unbound: unbound}},
				runtime.Config{Proc: f.host.Proc}, logr.Discard())
		},
	})
	switch {
	case errors.Is(err, nodeagent.ErrNothingOnDisk):
		fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing was brought into force\n", err)
		return nil
	case err != nil:
		return fmt.Errorf("the last snapshot in %s was not brought into force: %w", f.stateDir, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "in force on node %s: generation %s, digest %s\n", commit.Node, commit.Generation, commit.Digest)
	return nil
}

func newInstallBoot() *cobra.Command {
	var root, program string
	var show bool
	cmd := &cobra.Command{
		Use:   "install-boot",
		Short: "Has the host bring the last snapshot into force at boot, before kubelet",
		Long: `install-boot copies this program to the host and enables a systemd unit,
` + host.UnitName + `, that runs nodeagent boot before kubelet starts. systemd finds it at
the next boot. It changes nothing where that is so already.`,
		Example: `  nodeagent install-boot
  nodeagent install-boot --print                # only show the unit
  nodeagent install-boot --root /host           # from a container that sees the host there`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			unit := host.Unit(host.BootProgram, "boot")
			if show {
				fmt.Fprint(cmd.OutOrStdout(), unit)
				return nil
			}
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(host.BootProgram)), 0o755); err != nil {
				return fmt.Errorf("program: %w", err)
			}
			if err := cni.InstallProgram(program, filepath.Join(root, host.BootProgram)); err != nil {
				return err
			}
			if err := host.InstallUnit(root, unit); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is enabled; it runs %s\n", host.UnitName, host.BootProgram)
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "/", "the host's file system")
	cmd.Flags().StringVar(&program, "program", "/proc/self/exe", "the program to copy: this one")
	cmd.Flags().BoolVar(&show, "print", false, "print the unit and change nothing")
	return cmd
}

func newUninstallBoot() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:     "uninstall-boot",
		Short:   "Takes the unit and its program off the host again",
		Example: `  nodeagent uninstall-boot --root /host`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return host.RemoveBoot(root) },
	}
	cmd.Flags().StringVar(&root, "root", "/", "the host's file system")
	return cmd
}
