package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// defaultBundles are where containerd and CRI-O keep the description of a container that
// runs, below the host's root; the asterisk stands for the container's id. It is written
// before the container's cgroup is made.
var defaultBundles = []string{
	"run/containerd/io.containerd.runtime.v2.task/k8s.io/*/config.json",
	"run/containers/storage/overlay-containers/*/userdata/config.json",
	"var/run/containers/storage/overlay-containers/*/userdata/config.json",
}

// Container is what is known of a container from its bundle.
type Container struct {
	ID      string
	Name    string
	Image   string
	Sandbox bool
	// Pod is the UID of its pod; empty if the bundle does not say.
	Pod string
}

// name is how the kernel names it.
func (c Container) name() uint64 {
	if c.Sandbox {
		return bpf.ContainerSandbox
	}
	return layout.ContainerName(c.Name)
}

// isOf reports whether a bundle can be that of a container in a pod's cgroup: a cgroup can
// be called like another pod's container.
func (c Container) isOf(pod bpf.Key6) bool { return c.Pod == "" || layout.PodKey(c.Pod) == pod }

// errOtherPod says that a cgroup is called like a container of another pod.
var errOtherPod = errors.New("the bundle is that of a container of another pod")

// errNoBundle says that no description of a container was found.
var errNoBundle = errors.New("no bundle of this container")

// containerID takes a container's id from the name of its cgroup: the id itself, or
// RUNTIME-ID.scope.
func containerID(cgroup string) string {
	id := strings.TrimSuffix(cgroup, ".scope")
	if id != cgroup {
		id = id[strings.LastIndexByte(id, '-')+1:]
	}
	return id
}

// plainID keeps what a container could call its cgroup from becoming a path.
func plainID(id string) bool {
	return id != "" && !strings.ContainsAny(id, "/*?[\\") && id != "." && id != ".."
}

// describe reads a container's bundle.
func (c Config) describe(id string) (Container, error) {
	if !plainID(id) {
		return Container{}, fmt.Errorf("container %q: %w", id, errNoBundle)
	}
	why := errNoBundle
	for _, pattern := range c.Bundles {
		if dir := bundleDir(c.bundleRoots(), pattern); dir != "" {
			b, err := os.ReadFile(filepath.Join(dir, strings.Replace(pattern, "*", id, 1)))
			if err == nil {
				return readBundle(id, b)
			}
			if !errors.Is(err, os.ErrNotExist) {
				why = fmt.Errorf("%w: %w", errNoBundle, err)
			}
		}
	}
	return Container{}, fmt.Errorf("container %s: %w", id, why)
}

// bundleRoots are the places to look for bundles in: the agent's own mounts first. What it
// opens by way of the host's first process is Outside for policies about files, of which
// the agent's pod may be a subject.
func (c Config) bundleRoots() []string {
	roots := hostRoots(c.Proc)
	slices.Reverse(roots)
	return roots
}

// bundleDir is the first root that has the directory of the bundles, whichever they are;
// empty if none has.
func bundleDir(roots []string, pattern string) string {
	above, _, _ := strings.Cut(pattern, "*")
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, above)); err == nil {
			return root
		}
	}
	return ""
}

// readBundle finds what it is in the annotations of an OCI bundle's config.json.
func readBundle(id string, b []byte) (Container, error) {
	var config struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return Container{}, fmt.Errorf("container %s: bundle: %w", id, err)
	}
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := config.Annotations[k]; v != "" {
				return v
			}
		}
		return ""
	}
	c := Container{
		ID:      id,
		Name:    first("io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
		Image:   first("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"),
		Sandbox: first("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType") == "sandbox",
		Pod:     first("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
	}
	if c.Name == "" && !c.Sandbox {
		return c, fmt.Errorf("container %s: %w: it has no name", id, errNoBundle)
	}
	return c, nil
}

// name writes what a container is called to its cgroup.
func (r *Runtime) name(cgroup uint64, c Container) error {
	var b bpf.Bound
	err := r.maps[bpf.MapContainers].Lookup(cgroup, &b)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil // it is gone already
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", c.ID, err)
	}
	b.Container.Name = c.name()
	b.Flags |= bpf.BoundNamed
	if err := r.maps[bpf.MapContainers].Update(cgroup, b, ebpf.UpdateExist); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("container %s: %w", c.ID, err)
	}
	return nil
}
