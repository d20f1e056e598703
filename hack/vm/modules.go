package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// defaultModules are what nodes have: pods' links, bridges that show their packets
// to netfilter, connection tracking with NAT, SCTP, containers' file systems, disks.
var defaultModules = []string{
	"virtio_pci", "virtio_blk", "veth", "bridge", "br_netfilter", "sctp", "overlay",
	"nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct", "nft_nat", "nft_chain_nat", "nft_masq",
	"nf_defrag_ipv6",
}

// softDependencies are used without symbols, so that no module names them.
var softDependencies = map[string][]string{
	"libcrc32c": {"crc32c_generic"},
	"sctp":      {"hmac", "sha1_generic"},
}

// modules lists the files to load for names, what each depends on before itself.
// What is built in needs no file.
func (k Kernel) modules(names []string) ([]string, error) {
	files, err := k.moduleFiles()
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(k.tree, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Release, err)
	}
	within := map[string]bool{}
	for line := range strings.Lines(string(builtin)) {
		within[moduleName(strings.TrimSpace(line))] = true
	}
	var order []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		if seen[name] || within[name] {
			return nil
		}
		seen[name] = true
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("kernel %s has no module %s", k.Release, name)
		}
		needs, err := dependencies(file)
		if err != nil {
			return err
		}
		for _, soft := range softDependencies[name] {
			if files[soft] != "" {
				needs = append(needs, soft)
			}
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return fmt.Errorf("module %s: %w", name, err)
			}
		}
		order = append(order, file)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func (k Kernel) moduleFiles() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".ko" {
			files[moduleName(path)] = path
		}
		return err
	})
	return files, err
}

// moduleName is what the kernel calls the module in a file.
func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// dependencies reads which modules a module's symbols come from.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("module %s: no section .modinfo", file)
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	for _, entry := range bytes.Split(data, []byte{0}) {
		if list, ok := strings.CutPrefix(string(entry), "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
