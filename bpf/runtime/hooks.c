// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the dispatchers call: one program for each hook, which says what is asked. */
#include "decide.h"
#include <bpf/bpf_tracing.h>

char palisade_license[] SEC("license") = "Dual BSD/GPL";

/* Of an exec: the script and the interpreter come one after the other. */
static __always_inline int exec(struct linux_binprm *bprm)
{
	int number = begin(RT_EXECUTABLES | BEGIN_EXEC);
	if (number < 0)
		return number == NO_ROOM ? -EPERM : 0;
	struct file *file = bprm->file;
	object(number, (__u64)file->f_path.mnt, (__u64)file->f_path.dentry, (__u64)file->f_inode);
	return settle(number);
}

SEC("lsm/bprm_check_security")
int BPF_PROG(palisade_bprm_check_security, struct linux_binprm *bprm)
{
	return exec(bprm);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(palisade_cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct bound b = {};
	__u32 zero = 0;
	__u64 id = cgroup->kn->id;
	if (cgroup->root->hierarchy_id != (int)hierarchy_id)
		return 0;
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s) {
		__u64 *missing = bpf_map_lookup_elem(&unbound, &zero);
		if (missing)
			__sync_fetch_and_add(missing, 1);
		return 0;
	}
	char *name = (char *)s->path.bytes;
	__builtin_memset(name, 0, CGROUP_NAME + 64);
	long length = bpf_probe_read_kernel_str(name, CGROUP_NAME, cgroup->kn->name);
	struct bound *parent = bound_to(above(cgroup));
	int told = 0;
	if (parent) {
		b.container = parent->container;
		b.root = parent->root;
		if (parent->container.name == RT_NAME_POD) {
			b.root = id;
			b.container.name = __sync_fetch_and_add(&parent->children, 1) ? RT_NAME_PENDING : RT_NAME_SANDBOX;
			told = 1;
		}
	} else if (pod_of(&b.container, name)) {
		b.root = id;
	} else {
		goto out;
	}
	if (bpf_map_update_elem(&containers, &id, &b, BPF_ANY)) {
		__u64 *missing = bpf_map_lookup_elem(&unbound, &zero);
		if (missing)
			__sync_fetch_and_add(missing, 1);
	}
	if (told) {
		s->event.kind = RT_EVENT_CGROUP;
		s->event.container = b.container;
		s->event.cgroup = id;
		s->event.time = bpf_ktime_get_ns();
		s->event.path_length = s->path.length = length > 0 ? (length - 1) & (CGROUP_NAME - 1) : 0;
		s->event.target_length = 0;
		send_event(s);
	}
out:
	give_scratch(s);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(palisade_cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	__u64 id = cgroup->kn->id;
	if (cgroup->root->hierarchy_id == (int)hierarchy_id)
		bpf_map_delete_elem(&containers, &id);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(palisade_cgroup_attach_task, struct cgroup *cgroup, const char *path, struct task_struct *task, bool threads)
{
	if (cgroup->root->hierarchy_id != (int)hierarchy_id || !bound_to(cgroup))
		return 0;
	struct task_struct *by = bpf_get_current_task_btf();
	if (bpf_task_storage_get(&processes, task, NULL, 0))
		return 0; /* it was in a container before */
	int inside = by != task && bound_to(cgroup_of(by));
	struct process *p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (p && !inside) {
		p->flags = PROCESS_SETUP;
		p->host = mounts_of(by);
	}
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(palisade_fork, struct task_struct *parent, struct task_struct *child)
{
	if (!bound_to(cgroup_of(child)))
		return 0;
	struct process *p = bpf_task_storage_get(&processes, parent, NULL, 0);
	struct process *c = bpf_task_storage_get(&processes, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c)
		return 0;
	if (p) {
		c->chain = p->chain;
		c->flags = p->flags;
		c->host = p->host;
	} else if (!bound_to(cgroup_of(parent))) {
		/* A process of the host made it right here. */
		c->flags = PROCESS_SETUP;
		c->host = mounts_of(parent);
	}
	return 0;
}

static __always_inline int executed(struct task_struct *task, struct linux_binprm *bprm)
{
	if (!bound_to(cgroup_of(task)))
		return 0;
	struct process *p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p || (p->flags & PROCESS_SETUP && p->host == mounts_of(task)))
		return 0;
	p->flags &= ~PROCESS_SETUP;
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s)
		return 0;
	struct file *file = bprm->file;
	if (!resolve_path(&s->path, &s->backwards, file->f_path.mnt, file->f_path.dentry))
		run(&p->chain, rt_fingerprint(&s->path));
	give_scratch(s);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(palisade_exec, struct task_struct *task, int old, struct linux_binprm *bprm)
{
	if (backend == RT_BACKEND_SIGNAL)
		exec(bprm);
	return executed(task, bprm);
}
