package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"map-executable":            mapExecutable,
		"protect-executable":        protectExecutable,
		"protect-image":             protectImage,
		"write-execute":             writeExecute,
		"write-then-execute":        func(string) error { return writeThenExecute(unix.MAP_PRIVATE) },
		"write-then-execute-shared": func(string) error { return writeThenExecute(unix.MAP_SHARED) },
		"patch-memory":              patchMemory,
	})
}

// answer is what code does: mov eax, 42; ret.
const answer = 42

var code = []byte{0xb8, answer, 0, 0, 0, 0xc3}

// calls runs code and reports whether it answers.
func calls(memory []byte) error {
	if got := function(&memory[0])(); got != answer {
		return fmt.Errorf("%w: the code answers %d", errNoEffect, got)
	}
	return nil
}

// mapExecutable runs code from a file without executing it. The file "code" begins
// with those bytes.
func mapExecutable(dir string) error {
	fd, err := unix.Open(dir+"/code", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, len(code), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return calls(m)
}

// protectExecutable makes a mapping executable that was not when it was made.
func protectExecutable(dir string) error {
	fd, err := unix.Open(dir+"/code", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, len(code), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if err := unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return err
	}
	return calls(m)
}

// protectImage maps a file of the image, whose layer the kernel maps in its place, and
// makes that executable.
func protectImage(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m, err := unix.Mmap(fd, 0, 1, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	return errors.Join(unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC), unix.Munmap(m))
}

func anonymous(protection, sharing int) ([]byte, error) {
	return unix.Mmap(-1, 0, 4096, protection, sharing|unix.MAP_ANONYMOUS)
}

func writeExecute(string) error {
	m, err := anonymous(unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	copy(m, code)
	return calls(m)
}

func writeThenExecute(sharing int) error {
	m, err := anonymous(unix.PROT_READ|unix.PROT_WRITE, sharing)
	if err != nil {
		return err
	}
	copy(m, code)
	if err := unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return err
	}
	return calls(m)
}

// original is replaced while the program runs. The switch keeps it longer than code.
//
//go:noinline
func original(n int) int {
	for i := range n {
		if i%7 == 3 {
			return i
		}
	}
	return n
}

// patchMemory changes this program's own code, which no page allows, through /proc.
func patchMemory(string) error {
	f, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	runtime.LockOSThread()
	if _, err := f.WriteAt(code, int64(reflect.ValueOf(original).Pointer())); err != nil {
		return err
	}
	if got := original(1); got != answer {
		return fmt.Errorf("%w: the code answers %d", errNoEffect, got)
	}
	return nil
}
