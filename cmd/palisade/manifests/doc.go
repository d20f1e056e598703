// Package manifests reads a directory of ordinary Kubernetes manifests, or a
// live cluster, into the objects that policy is computed from.
//
// Files are read strictly, since no API server stands behind them: an unknown
// kind or field, a value that the schema refuses, or the same object twice is a
// Problem, which names file, line and object. All problems of a directory are
// found in one go, and a directory with problems gives nothing.
package manifests
