package main

import "github.com/spf13/cobra"

// commands are all subcommands, each made by a function in the file of its name.
var commands = []func(*env) *cobra.Command{
	newApply,
	newCompile,
	newEvents,
	newExplain,
	newFlows,
	newHost,
	newPropose,
	newReach,
	newReplay,
	newStatus,
	newUninstall,
	newVersion,
}
