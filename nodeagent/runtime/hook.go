package runtime

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/snapshot"
)

// hook is a place where the kernel calls a program: one of the security hooks, or a
// tracepoint by which facts are kept.
type hook struct {
	name string
	// sections are those whose rules are judged here; none for facts.
	sections []Section
	// security is the function's name where it is not "security_" and the hook's.
	security string
	// cgroup is how a program for the sockets of a cgroup is attached.
	cgroup ebpf.AttachType
	// unjudged are operations of its first section that cannot be judged, or not in every
	// case, where the kernel has no such hook; none: other hooks see them there too.
	unjudged []string
	// sctp: these are operations of SCTP alone.
	sctp bool
	// variant is what the program's name ends with, where there are several.
	variant string
}

// program is its program's name in bpf.Hooks.
func (h hook) program() string { return bpf.HookPrefix + h.name + h.variant }

// facts are what is attached whatever the backend is.
var facts = []hook{
	{name: "cgroup_mkdir"},
	{name: "cgroup_rmdir"},
	{name: "cgroup_attach_task"},
	{name: "sched_process_fork"},
	{name: "sched_process_exec"},
	{name: "sched_process_exit"},
}

// security are the hooks of the backends lsm and fmod_ret.
var security = []hook{
	{name: "bprm_check_security", security: "security_bprm_check", sections: []Section{Executables}},

	{name: "file_open", sections: []Section{Files}},
	{name: "file_receive", sections: []Section{Files}},
	{name: "file_permission", sections: []Section{Files}},
	{name: "mmap_file", sections: []Section{Files, Executables, Privileges}},
	{name: "file_mprotect", sections: []Section{Files, Executables, Privileges}},
	{name: "path_unlink", sections: []Section{Files}},
	{name: "path_rmdir", sections: []Section{Files}},
	{name: "path_mkdir", sections: []Section{Files}},
	{name: "path_mknod", sections: []Section{Files}},
	{name: "path_symlink", sections: []Section{Files}},
	{name: "path_link", sections: []Section{Files, Executables}},
	{name: "path_rename", sections: []Section{Files, Executables}},
	{name: "path_truncate", sections: []Section{Files}},
	{name: "file_truncate", sections: []Section{Files}},
	{name: "path_chmod", sections: []Section{Files}},
	{name: "path_chown", sections: []Section{Files}},
	{name: "inode_setattr", sections: []Section{Files}},
	{name: "inode_setxattr", sections: []Section{Files}},
	{name: "inode_removexattr", sections: []Section{Files}},
	{name: "inode_set_acl", sections: []Section{Files}},
	{name: "inode_remove_acl", sections: []Section{Files}},
	{name: "inode_file_setattr", sections: []Section{Files}},
	{name: "file_ioctl", sections: []Section{Files}},
	{name: "file_ioctl_compat", sections: []Section{Files}},

	{name: "capable", sections: []Section{Privileges}},
	{name: "task_fix_setuid", sections: []Section{Privileges}},
	{name: "task_fix_setgid", sections: []Section{Privileges}},
	{name: "task_fix_setgroups", sections: []Section{Privileges}, unjudged: []string{"SetGroup"}},
	{name: "bprm_creds_from_file", sections: []Section{Privileges}},
	{name: "userns_create", sections: []Section{Privileges}, security: "security_create_user_ns", unjudged: []string{"UserNamespace"}},
	{name: "ptrace_access_check", sections: []Section{Privileges}},
	{name: "ptrace_traceme", sections: []Section{Privileges}},
	{name: "sb_mount", sections: []Section{Privileges}},
	{name: "sb_umount", sections: []Section{Privileges}},
	{name: "sb_remount", sections: []Section{Privileges}},
	{name: "sb_kern_mount", sections: []Section{Privileges}},
	{name: "move_mount", sections: []Section{Privileges}},
	{name: "sb_pivotroot", sections: []Section{Privileges}},
	{name: "path_chroot", sections: []Section{Privileges}},
	{name: "kernel_module_request", sections: []Section{Privileges}},
	{name: "kernel_load_data", sections: []Section{Privileges}},
	{name: "kernel_read_file", sections: []Section{Privileges}},
	{name: "bpf", sections: []Section{Privileges}},
	{name: "inode_init_security_anon", sections: []Section{Privileges}, unjudged: []string{"IOUring"}},
	{name: "socket_create", sections: []Section{Privileges}},

	{name: "socket_connect", sections: []Section{Network}},
	{name: "socket_bind", sections: []Section{Network}},
	{name: "socket_listen", sections: []Section{Network}},
	{name: "socket_sendmsg", sections: []Section{Network}},
	{name: "sctp_bind_connect", sections: []Section{Network}, unjudged: []string{"Connect", "Bind"}, sctp: true},
}

// sockets are the places of the backend cgroup.
var sockets = []hook{
	{name: "connect4", sections: []Section{Network}, cgroup: ebpf.AttachCGroupInet4Connect},
	{name: "connect6", sections: []Section{Network}, cgroup: ebpf.AttachCGroupInet6Connect},
	{name: "sendmsg4", sections: []Section{Network}, cgroup: ebpf.AttachCGroupUDP4Sendmsg},
	{name: "sendmsg6", sections: []Section{Network}, cgroup: ebpf.AttachCGroupUDP6Sendmsg},
	{name: "bind4", sections: []Section{Network}, cgroup: ebpf.AttachCGroupInet4Bind},
	{name: "bind6", sections: []Section{Network}, cgroup: ebpf.AttachCGroupInet6Bind},
}

// lacking are the bits of what cannot be judged where the kernel has no such hook.
func (h hook) lacking() uint32 {
	operations := bitsOf(h.sections[0], h.unjudged...)
	if h.sctp {
		return snapshot.OverSCTP(operations)
	}
	return operations
}

// make turns a specification into one for a hook of the kernel's security framework.
func (h hook) make(spec *ebpf.ProgramSpec, means events.Backend) {
	spec.Type, spec.AttachType, spec.AttachTo = ebpf.LSM, ebpf.AttachLSMMac, h.name
	if means == events.FmodRet {
		spec.Type, spec.AttachType, spec.AttachTo = ebpf.Tracing, ebpf.AttachModifyReturn, h.function()
	}
}

// function is the kernel's function that calls the hook.
func (h hook) function() string {
	if h.security != "" {
		return h.security
	}
	return "security_" + h.name
}

// exists reports whether this kernel has the hook, and chooses the program that fits the
// hook's arguments.
func (h *hook) exists(means events.Backend, kernel *btf.Spec) (bool, error) {
	name := "bpf_lsm_" + h.name
	if means == events.FmodRet {
		name = h.function()
	}
	var f *btf.Func
	err := kernel.TypeByName(name, &f)
	if errors.Is(err, btf.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if proto, ok := f.Type.(*btf.FuncProto); ok && h.name == "inode_setattr" && len(proto.Params) == 2 {
		h.variant = "_unmapped"
	}
	if h.name == "mmap_file" && means == events.FmodRet {
		h.variant = "_direct"
	}
	return true, nil
}

// wanted are the hooks to attach for the backends that were found, and those that this
// kernel lacks.
func wanted(backends map[Section]Backend) (present, absent []hook, err error) {
	if backends[Network].Means == events.Cgroup {
		present = append(present, sockets...)
	}
	means := backends[Executables].Means
	if means != events.LSM && means != events.FmodRet {
		return present, nil, nil
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, nil, err
	}
	for _, h := range security {
		ok, err := h.exists(means, kernel)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			present = append(present, h)
		} else {
			absent = append(absent, h)
		}
	}
	return present, absent, nil
}
