// Command attack runs, in a container of a virtual machine, one known way around a
// runtime policy, and tells by its effect whether it worked: the secret was read,
// the program really ran. It prints "attack=succeeded" or "attack=failed errno=EPERM".
//
//	attack NAME DIR       DIR has the files of container.Tree
//	attack serve          runs attacks as standard input says (see serve.go)
package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// attacks are the ways around, by name. Each gets the directory with its files.
var attacks = map[string]func(dir string) error{}

// add makes attacks known; two of one name would hide one.
func add(some map[string]func(dir string) error) {
	for name, f := range some {
		if attacks[name] != nil {
			panic("attack " + name + " is there twice")
		}
		attacks[name] = f
	}
}

// errKilled says that the process which tried was killed.
var errKilled = errors.New("killed")

// errNoEffect says that every call went well and nothing came of it.
var errNoEffect = errors.New("no effect")

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	switch name := os.Args[1]; {
	case name == "serve":
		serve(os.Stdin, os.Stdout)
	case name == "become" && len(os.Args) == 4:
		become(os.Args[2], os.Args[3])
	case name == "role" && len(os.Args) == 4:
		play(os.Args[2], os.Args[3])
	case attacks[name] != nil && len(os.Args) == 3:
		fmt.Println(outcome(attacks[name](os.Args[2])))
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "attack NAME DIR | attack serve")
	os.Exit(2)
}

// outcome is the one line that an attack prints.
func outcome(err error) string {
	if err == nil {
		return "attack=succeeded"
	}
	fmt.Fprintln(os.Stderr, "attack:", err)
	return "attack=failed errno=" + errnoOf(err)
}

func errnoOf(err error) string {
	var e unix.Errno
	switch {
	case errors.Is(err, errKilled):
		return "SIGKILL"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return "none"
}
