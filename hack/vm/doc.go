// Package vm runs programs in small virtual machines with kernels of the
// distribution: on what Palisade's own kernel cannot do or must not do.
//
// A machine is a kernel package that is only unpacked (kernel.sh), an initramfs
// made for each run, and QEMU without acceleration. Find gets a kernel, Machine.Run
// boots it, runs one program in it and returns the program's exit code. The script
// run beside this file does the same from a shell; README.md says what a guest has.
package vm
