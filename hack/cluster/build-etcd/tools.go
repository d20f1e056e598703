//go:build tools

// Package buildetcd names the etcd server, which cannot share a module with Kubernetes: the two ask
// for different versions of the same libraries. It is never compiled.
package buildetcd

import _ "go.etcd.io/etcd/server/v3"
