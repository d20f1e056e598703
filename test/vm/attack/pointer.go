package main

import "unsafe"

// pointer hands memory to the kernel.
func pointer[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// at sees memory that the kernel gave.
func at[T any](memory []byte, offset uint32) *T { return (*T)(unsafe.Pointer(&memory[offset])) }

// function makes code of memory callable: AX is the result.
func function(code *byte) func() int {
	entry := &code
	return *(*func() int)(unsafe.Pointer(&entry))
}
