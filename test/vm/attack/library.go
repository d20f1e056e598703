package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// Attacks of which the argument is something else than a directory: a program, an
// address, a command.
func init() {
	add(map[string]func(string) error{
		"shell":        func(path string) error { return effect(exec.Command(path, "-c", "echo "+ran)) },
		"shell-script": shellScript,
		"shell-loader": func(path string) error {
			return effect(exec.Command("/lib64/ld-linux-x86-64.so.2", path, "-c", "echo "+ran))
		},
		"shell-copy": func(path string) error {
			if err := copyFile(path, "/tmp/innocent"); err != nil {
				return err
			}
			return effect(exec.Command("/tmp/innocent", "-c", "echo "+ran))
		},
		"run":         run,
		"run-copy":    func(path string) error { return copyRun(path, "/tmp/brought") },
		"preload":     preload,
		"dial":        dial,
		"dial-listen": dialListen,
		"as":          as,
	})
}

// shellScript executes a script of an interpreter.
func shellScript(interpreter string) error {
	const name = "/tmp/script"
	if err := os.WriteFile(name, []byte("#!"+interpreter+"\necho "+ran+"\n"), 0o755); err != nil {
		return err
	}
	return run(name)
}

func copyRun(from, to string) error {
	if err := copyFile(from, to); err != nil {
		return err
	}
	return run(to)
}

// preload names a library that every program would load.
func preload(path string) error {
	if err := os.WriteFile(path, []byte("/tmp/evil.so\n"), 0o644); err != nil {
		return err
	}
	return os.Remove(path)
}

// dial connects to an address, where somebody else is waiting.
func dial(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	return c.Close()
}

// dialListen waits at an address and connects to it.
func dialListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	defer l.Close()
	return dial(l.Addr().String())
}

// as runs an attack by a copy of this program: "PROGRAM NAME ARGUMENT".
func as(command string) error {
	words := strings.SplitN(command, " ", 3)
	if len(words) != 3 {
		return fmt.Errorf("%w: %q is no command", errNoEffect, command)
	}
	return by(words[0], words[1])(words[2])
}
