// Command boot runs a program in a virtual machine and exits as the program does;
// 125 if the machine did not get that far. The script hack/vm/run calls it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"palisade.dev/palisade/hack/vm"
)

const usage = `hack/vm/run [FLAGS] KERNEL PROGRAM [ARGS...]

Boots KERNEL (for example 6.12, the newest that apt offers) and runs PROGRAM, a
static program of this machine, in it as root. The exit code is the program's.

`

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var files, modules, tools, env list
	m := vm.Machine{Console: os.Stdout, Files: map[string]string{}}
	flag.Var(&files, "file", "`SRC:DST`: put a file or folder of this machine into the guest (repeatable)")
	flag.Var(&tools, "tool", "`PATH` of a program to put into the guest with its libraries (repeatable)")
	flag.Var(&modules, "module", "`NAME` of a kernel module to load, besides the usual ones (repeatable)")
	flag.Var(&env, "env", "`NAME=VALUE` for the program (repeatable)")
	flag.StringVar(&m.Disk, "disk", "", "`IMAGE` of a disk that outlives the run, made if missing; /disk in the guest")
	flag.IntVar(&m.Memory, "memory", 1024, "`MIB` of memory")
	flag.StringVar(&m.Append, "append", "", "`WORDS` for the kernel's command line")
	flag.DurationVar(&m.Timeout, "timeout", 5*time.Minute, "after which the machine is stopped")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	m.Modules, m.Tools, m.Env = modules, tools, env
	code, err := run(m, files, vm.Version(flag.Arg(0)), flag.Arg(1), flag.Args()[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func run(m vm.Machine, files []string, version vm.Version, program string, args []string) (int, error) {
	for _, f := range files {
		source, target, ok := strings.Cut(f, ":")
		if !ok || !path.IsAbs(target) {
			return 0, fmt.Errorf("--file %s: want SRC:DST with an absolute DST", f)
		}
		m.Files[target] = source
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kernel, err := vm.Find(ctx, version)
	if err != nil {
		return 0, err
	}
	m.Kernel = kernel
	inside := path.Join("/bin", filepath.Base(program))
	m.Files[inside] = program
	return m.Run(ctx, inside, args...)
}
