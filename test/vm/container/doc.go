// Package container makes pods and containers in a virtual machine as a node does:
// with the distribution's runc, an overlay as root, kubelet's names of cgroups and
// containerd's layout of bundles. Only the container runtime's own daemon is left out.
package container
