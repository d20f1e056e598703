/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hooks about privileges. */
#ifndef PALISADE_RUNTIME_PRIVILEGES_H
#define PALISADE_RUNTIME_PRIVILEGES_H

#include "decide.h"
#include <bpf/bpf_tracing.h>

static __always_inline long privilege(__u32 operation)
{
	return ask(begin(RT_PRIVILEGES), operation);
}

#define CAPABLE_QUIETLY 2 /* nobody asked for it: the kernel looks */

/* System calls that have no hook of their own, but need a capability; those on mounts have the same numbers everywhere. */
#define CALL_SETNS 308
#define CALL_SETNS_32 346 /* no 64-bit call has this number */
#define CALL_OPEN_TREE 428 /* needs it to copy mounts */
#define CALL_MOUNT_SETATTR 442
#define CALL_OPEN_TREE_ATTR 467
#define CALL_X32 0x40000000

/* What the system call that goes on does, by the number by which the kernel runs it. */
static __always_inline __u32 operation_of_call(struct task_struct *task)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	switch (BPF_CORE_READ(regs, orig_ax) & ~CALL_X32) {
	case CALL_SETNS:
	case CALL_SETNS_32:
		return RT_JOIN_NAMESPACE;
	case CALL_OPEN_TREE:
	case CALL_MOUNT_SETATTR:
	case CALL_OPEN_TREE_ATTR:
		return RT_MOUNT;
	}
	return 0;
}

#define CAPABILITY_ADMIN 21

#define TASK_IO_WORKER 0x10 /* PF_IO_WORKER */

/*
 * Whether the kernel acts in the process's place with credentials that are its own: overlayfs,
 * which was asked as the process is, makes directories and copies files as whoever mounted
 * it, and needs capabilities for that in its layers.
 *
 * Other credentials than its own, for a moment, a process can choose by io_uring alone (its
 * personalities): by a worker, which has a flag, or in itself on the way out of any system
 * call, if it has used io_uring, which the task remembers until it executes. Both are judged
 * as ever, so that directories are not made on an overlay by those who use it. faccessat(2)
 * changes credentials too, to learn what is allowed, and gains nothing else.
 */
static __always_inline int in_its_place(struct task_struct *task)
{
	return task->cred != task->real_cred && !(task->flags & TASK_IO_WORKER) && bpf_core_field_exists(task->io_uring) && !task->io_uring;
}

/* Hot: no path, no work for who has no rules about it. */
SEC("lsm/capable")
int BPF_PROG(palisade_capable, struct cred *cred, struct user_namespace *user, int capability, unsigned int options)
{
	struct task_struct *task = bpf_get_current_task_btf();
	if (in_its_place(task))
		return 0;
	int number = begin(RT_PRIVILEGES);
	if (number < 0)
		return refuse(number == NO_ROOM);
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	s->event.query.operations = RT_CAPABILITY;
	s->event.query.capabilities = 1ULL << (capability & 63);
	s->quiet = options & CAPABLE_QUIETLY;
	if (capability == CAPABILITY_ADMIN)
		s->event.query.operations |= operation_of_call(task);
	return refuse(settle(step_privilege, number));
}

SEC("lsm/task_fix_setuid")
int BPF_PROG(palisade_task_fix_setuid, struct cred *new, struct cred *old)
{
	if (new->uid.val == old->uid.val && new->euid.val == old->euid.val && new->suid.val == old->suid.val && new->fsuid.val == old->fsuid.val)
		return 0;
	return privilege(RT_SET_USER);
}

SEC("lsm/task_fix_setgid")
int BPF_PROG(palisade_task_fix_setgid, struct cred *new, struct cred *old)
{
	if (new->gid.val == old->gid.val && new->egid.val == old->egid.val && new->sgid.val == old->sgid.val && new->fsgid.val == old->fsgid.val)
		return 0;
	return privilege(RT_SET_GROUP);
}

SEC("lsm/task_fix_setgroups")
int BPF_PROG(palisade_task_fix_setgroups, struct cred *new, struct cred *old)
{
	return privilege(RT_SET_GROUP);
}

/* A program with another owner's bit. */
SEC("lsm/bprm_creds_from_file")
int BPF_PROG(palisade_bprm_creds_from_file, struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 operations = 0;
	if (bprm->cred->euid.val != task->cred->euid.val)
		operations |= RT_SET_USER;
	if (bprm->cred->egid.val != task->cred->egid.val)
		operations |= RT_SET_GROUP;
	return operations ? privilege(operations) : 0;
}

SEC("lsm/userns_create")
int BPF_PROG(palisade_userns_create, struct cred *cred)
{
	return privilege(RT_USER_NAMESPACE);
}

#define PTRACE_ATTACHES 2

/*
 * Whether the container runtime's own process, which is judged as nobody's, would come into
 * the hands of one that is judged.
 */
static __always_inline int takes_over(struct task_struct *task, struct task_struct *child)
{
	struct process *theirs = process_of(child), *own = process_of(task);
	struct bound *b = bound_to(cgroup_of(task));
	if (!b || !theirs || !(theirs->flags & PROCESS_SETUP) || (own && own->flags & PROCESS_SETUP))
		return 0;
	struct rt_container container = b->container;
	struct rt_subject subject;
	rt_subject_on(&subject, &container, active_side());
	return subject.needs != 0;
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(palisade_ptrace_access_check, struct task_struct *child, unsigned int mode)
{
	struct task_struct *task = bpf_get_current_task_btf();
	if (!(mode & PTRACE_ATTACHES) || child->tgid == task->tgid)
		return 0;
	if (takes_over(task, child))
		return refuse(1);
	return privilege(RT_PTRACE);
}

SEC("lsm/ptrace_traceme")
int BPF_PROG(palisade_ptrace_traceme, struct task_struct *parent)
{
	return privilege(RT_PTRACE);
}

SEC("lsm/sb_mount")
int BPF_PROG(palisade_sb_mount)
{
	return privilege(RT_MOUNT);
}

SEC("lsm/sb_umount")
int BPF_PROG(palisade_sb_umount)
{
	return privilege(RT_MOUNT);
}

SEC("lsm/move_mount")
int BPF_PROG(palisade_move_mount)
{
	return privilege(RT_MOUNT);
}

/* Of mounts that are made by descriptors. */
SEC("lsm/sb_kern_mount")
int BPF_PROG(palisade_sb_kern_mount)
{
	return privilege(RT_MOUNT);
}

SEC("lsm/sb_remount")
int BPF_PROG(palisade_sb_remount)
{
	return privilege(RT_MOUNT);
}

SEC("lsm/sb_pivotroot")
int BPF_PROG(palisade_sb_pivotroot)
{
	return privilege(RT_PIVOT_ROOT);
}

SEC("lsm/path_chroot")
int BPF_PROG(palisade_path_chroot)
{
	return privilege(RT_CHROOT);
}

SEC("lsm/kernel_module_request")
int BPF_PROG(palisade_kernel_module_request)
{
	return privilege(RT_LOAD_MODULE);
}

/* New code for the kernel: a module, an image to be started, a compressed module. */
static __always_inline int is_kernel_code(int id)
{
	return id == 2 || id == 3 || id == 7;
}

SEC("lsm/kernel_load_data")
int BPF_PROG(palisade_kernel_load_data, int id)
{
	return is_kernel_code(id) ? privilege(RT_LOAD_MODULE) : 0;
}

SEC("lsm/kernel_read_file")
int BPF_PROG(palisade_kernel_read_file, struct file *file, int id)
{
	return is_kernel_code(id) ? privilege(RT_LOAD_MODULE) : 0;
}

SEC("lsm/bpf")
int BPF_PROG(palisade_bpf)
{
	return privilege(RT_LOAD_BPF);
}

/* Where a ring is made; there is no hook of its own for that in older kernels. */
SEC("lsm/inode_init_security_anon")
int BPF_PROG(palisade_inode_init_security_anon, struct inode *inode, struct qstr *name)
{
	char text[16] = {};
	bpf_probe_read_kernel_str(text, sizeof(text), BPF_CORE_READ(name, name));
	if (*(__u64 *)text != 0x6e6972755f6f695bULL) /* "[io_urin" */
		return 0;
	return privilege(RT_IO_URING);
}

#define SOCKET_RAW 3
#define SOCKET_TYPE 15
#define FAMILY_PACKET 17

SEC("lsm/socket_create")
int BPF_PROG(palisade_socket_create, int family, int type, int protocol, int kernel)
{
	if (kernel)
		return 0;
	if (family == FAMILY_PACKET)
		return privilege(RT_PACKET_SOCKET);
	if ((type & SOCKET_TYPE) == SOCKET_RAW && (family == FAMILY_IPV4 || family == FAMILY_IPV6))
		return privilege(RT_RAW_SOCKET);
	return 0;
}

#endif
