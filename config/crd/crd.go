// Package crd carries the definitions of Palisade's kinds, so that programs can
// check objects where no API server does.
package crd

import "embed"

// Bases holds one CustomResourceDefinition per file of bases/.
//
//go:embed bases/*.yaml
var Bases embed.FS
