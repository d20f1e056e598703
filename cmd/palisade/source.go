package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/cmd/palisade/manifests"
)

// source is where a command takes its cluster from: files or a live cluster.
type source struct {
	files         []string
	ignoreUnknown bool
	at            string
	live          live
}

func (s *source) addFlags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&s.files, "filename", "f", nil, "directory of manifests, one file, or - for standard input; may be repeated (without it: the cluster of KUBECONFIG)")
	flags.BoolVar(&s.ignoreUnknown, "ignore-unknown-kinds", false, "leave out objects of kinds that policy does not read, instead of refusing them")
	flags.StringVar(&s.at, "at", "", "judge as at this time, for policies that expire (RFC 3339; default: now)")
	s.live.addFlags(flags)
	flags.StringVar(&s.live.system, "system-namespace", "palisade-system", "namespace of the controller, which keeps there what it has accepted")
}

// world reads the source.
func (s *source) world(ctx context.Context, e *env) (*manifests.World, error) {
	now := e.now()
	if s.at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, s.at); err != nil {
			return nil, fmt.Errorf("--at %q: write a time such as 2027-01-31T00:00:00Z", s.at)
		}
	}
	objects, err := s.objects(ctx, e)
	if err != nil {
		return nil, err
	}
	return objects.World(now)
}

func (s *source) objects(ctx context.Context, e *env) (*manifests.Objects, error) {
	if len(s.files) == 0 {
		return s.live.objects(ctx, e.stderr)
	}
	return manifests.Read(ctx, s.files, manifests.Options{IgnoreUnknownKinds: s.ignoreUnknown, Stdin: e.stdin})
}
