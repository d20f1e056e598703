package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent/cni"
)

// chain says how the plugin is put into the network's configuration.
type chain struct {
	confDir  string
	socket   string
	timeout  time.Duration
	failOpen bool
}

func (c *chain) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.confDir, "cni-conf-dir", "/etc/cni/net.d", "where the runtime reads its network configuration")
	f.StringVar(&c.socket, "cni-socket", cni.DefaultSocket, "where the plugin finds the agent, as a path of the host")
	f.DurationVar(&c.timeout, "cni-timeout", 20*time.Second, "how long a starting pod waits for the agent")
	f.BoolVar(&c.failOpen, "cni-fail-open", false, "let pods start without enforcement when the agent does not answer")
}

func (c *chain) install() (path string, changed bool, err error) {
	return cni.Chain(c.confDir, map[string]any{"socket": c.socket, "timeout": c.timeout.String(), "failOpen": c.failOpen})
}

func newInstallCNI() *cobra.Command {
	var c chain
	var plugin, binDir string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "install-cni",
		Short: "Copies the CNI plugin to the host and chains it",
		Long: `install-cni copies palisade-cni into the runtime's plugin directory and puts it at
the end of the network configuration in use, so that no pod starts before this
node enforces for it. It changes nothing where that is so already.`,
		Example: `  nodeagent install-cni --cni-bin-dir /host/opt/cni/bin --cni-conf-dir /host/etc/cni/net.d`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cni.InstallBinary(plugin, binDir); err != nil {
				return err
			}
			path, changed, err := installWhenThere(cmd.Context(), &c, wait)
			if err != nil {
				return err
			}
			word := "has it already"
			if changed {
				word = "changed"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s installed in %s; %s: %s\n", cni.PluginType, binDir, path, word)
			return nil
		},
	}
	c.addFlags(cmd)
	cmd.Flags().StringVar(&plugin, "plugin", "/palisade-cni", "the plugin to copy")
	cmd.Flags().StringVar(&binDir, "cni-bin-dir", "/opt/cni/bin", "where the runtime looks for plugins")
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for a network to be configured")
	return cmd
}

// installWhenThere waits for the network's own installer, which may be a pod that
// starts beside this one.
func installWhenThere(ctx context.Context, c *chain, wait time.Duration) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		path, changed, err := c.install()
		if !errors.Is(err, cni.ErrNoNetwork) {
			return path, changed, err
		}
		select {
		case <-ctx.Done():
			return "", false, fmt.Errorf("%w; install a network plugin first, or wait longer (--wait)", err)
		case <-t.C:
		}
	}
}

func newUninstallCNI() *cobra.Command {
	var confDir string
	cmd := &cobra.Command{
		Use:     "uninstall-cni",
		Short:   "Takes the CNI plugin out of the network configuration",
		Example: `  nodeagent uninstall-cni --cni-conf-dir /host/etc/cni/net.d`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed, err := cni.Unchain(confDir)
			for _, path := range changed {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: changed\n", path)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&confDir, "cni-conf-dir", "/etc/cni/net.d", "where the runtime reads its network configuration")
	return cmd
}
