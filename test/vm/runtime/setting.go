package runtime

// What the host puts into the guest, besides the programs of test/vm/inside.
const (
	Attack  = "/bin/attack"
	Busybox = "/bin/busybox"
	Echo    = "/usr/bin/echo" // a dynamic program, with its libraries
	Dash    = "/usr/bin/dash" // a shell with libraries
	Runc    = "/usr/sbin/runc"
	Loader  = "/lib64/ld-linux-x86-64.so.2"
	CLI     = "/bin/palisade" // where a test needs it
	LibC    = "/lib/x86_64-linux-gnu/libc.so.6"
	// Module is a kernel module that no test needs otherwise.
	Module = "/modules/nft_masq.ko"
	// FullVariable asks for full counts.
	FullVariable = "PALISADE_FULL"
	// BackendVariable is by which means an agent begins: see nodeagent run --runtime-backend.
	BackendVariable = "PALISADE_RUNTIME_BACKEND"
)
