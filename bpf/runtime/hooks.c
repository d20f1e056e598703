// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the dispatchers call: one program for each hook, which says what is asked. */
#include "files.h"
#include "network.h"
#include "privileges.h"

char palisade_license[] SEC("license") = "Dual BSD/GPL";

/* Of an exec: the script and the interpreter come one after the other. */
static __always_inline long exec(struct linux_binprm *bprm)
{
	int number = begin(RT_EXECUTABLES | BEGIN_EXEC);
	if (number < 0)
		return refuse(number == NO_ROOM);
	struct file *file = bprm->file;
	object(number, file->f_path.mnt, file->f_path.dentry, file->f_inode);
	return settled(number);
}

/* What rules' from knows the object of a scratch by: its path, if that is one in the container. */
__noinline __u64 fingerprint(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return EXECUTABLE_NOBODYS;
	__u64 mnt = s->mnt, inode = s->inode;
	if (resolve_path(&s->path, &s->backwards, (void *)mnt, (void *)s->dentry))
		return EXECUTABLE_NOBODYS;
	void *ours = (void *)mounts_of(bpf_get_current_task_btf());
	if (origin_of(&s->path, (void *)mnt, (void *)inode, ours) == RT_OUTSIDE)
		return EXECUTABLE_NOBODYS;
	return rt_fingerprint(&s->path);
}

static __always_inline void program_of(struct scratch *s, struct linux_binprm *bprm)
{
	struct file *file = bprm->file;
	s->mnt = (__u64)file->f_path.mnt;
	s->dentry = (__u64)file->f_path.dentry;
	s->inode = (__u64)file->f_inode;
}

/*
 * Remembers a script until the process runs its interpreter, which is all that is known of
 * it then: the kernel lets go of the script's file before.
 */
static __always_inline void note_script(struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scripts *known = bpf_task_storage_get(&scripts, task, NULL, 0);
	if (known && bprm->interp == bprm->filename)
		known->count = 0; /* of an execution that came to nothing */
	if (bprm->buf[0] != '#' || bprm->buf[1] != '!')
		return;
	if (!known)
		known = bpf_task_storage_get(&scripts, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	__u32 at = known ? known->count : SCRIPTS;
	if (!known || at >= SCRIPTS)
		return;
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	__u64 executable = EXECUTABLE_NOBODYS;
	if (s) {
		program_of(s, bprm);
		executable = fingerprint(number);
		give_scratch(s);
	}
	known->executable[at] = executable;
	known->count = at + 1;
}

/* A thread that executes becomes its process, of which the leader's record speaks until then. */
static __always_inline void take_record(struct task_struct *task)
{
	if (task->pid == task->tgid)
		return;
	struct process *own = bpf_task_storage_get(&processes, task, NULL, 0);
	if (own && !(own->flags & PROCESS_NODE))
		return;
	struct task_struct *leader = task->group_leader;
	struct process *p = leader ? bpf_task_storage_get(&processes, leader, NULL, 0) : NULL;
	if (!p || (!own && !(p->flags & PROCESS_NODE)))
		return;
	if (!own)
		own = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (own)
		*own = *p;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(palisade_bprm_check_security, struct linux_binprm *bprm)
{
	take_record(bpf_get_current_task_btf());
	note_script(bprm);
	return exec(bprm);
}

/* Tells that a container's cgroup was bound, NULL if none was. */
static __always_inline void tell_cgroup(struct scratch *s, const struct bound *b, struct cgroup *container)
{
	if (!container)
		return;
	__u64 id = BPF_CORE_READ(container, kn, id);
	long length = bpf_probe_read_kernel_str(s->path.bytes, CGROUP_NAME, BPF_CORE_READ(container, kn, name));
	s->event.kind = RT_EVENT_CGROUP;
	s->event.container = b->container;
	s->event.cgroup = id;
	s->event.time = bpf_ktime_get_ns();
	s->event.path_length = length > 0 ? (length - 1) & (CGROUP_NAME - 1) : 0;
	s->event.target_length = 0;
	send_event(s);
}

static __always_inline int begins_with(const char *name, const char *text, __u32 length)
{
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < length; i++)
		if (name[i] != text[i])
			return 0;
	return 1;
}

#define BEGINS_WITH(name, text) begins_with(name, text, sizeof(text) - 1)

/* The monitor of a container, which stands beside it, is the runtime's own. */
static __always_inline int is_monitor(const char *name)
{
	return BEGINS_WITH(name, "crio-conmon-");
}

/* A pod's first container is its sandbox, but for CRI-O, which does without one mostly. */
static __always_inline int may_be_sandbox(const char *name)
{
	return !BEGINS_WITH(name, "crio-");
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(palisade_cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct bound b = {};
	__u64 id = cgroup->kn->id;
	if (cgroup->root->hierarchy_id != (int)hierarchy_id)
		return 0;
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s) {
		tally(&unbound);
		return 0;
	}
	char *name = (char *)s->path.bytes;
	__builtin_memset(name, 0, 2 * CGROUP_NAME);
	bpf_probe_read_kernel_str(name, CGROUP_NAME, cgroup->kn->name);
	struct bound *parent = bound_to(above(cgroup));
	if (!parent) {
		tell_cgroup(s, &b, bind_upwards(cgroup, name, &b));
		goto out;
	}
	b.container = parent->container;
	b.root = parent->root;
	if (parent->container.name != RT_NAME_POD) {
		bind_below(id, &b);
		goto out;
	}
	if (is_monitor(name))
		goto out;
	b.root = id;
	int first = !__sync_fetch_and_add(&parent->children, 1);
	b.container.name = first && may_be_sandbox(name) ? RT_NAME_SANDBOX : RT_NAME_PENDING;
	bind(id, &b);
	tell_cgroup(s, &b, cgroup);
out:
	give_scratch(s);
	return 0;
}

/* Who asks for all processes is the agent. In a pod it is no process of the node. */
static __always_inline void note_agent(void)
{
	__u32 zero = 0;
	struct task_struct *task = bpf_get_current_task_btf();
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	struct agent_file *known = bpf_map_lookup_elem(&agent, &zero);
	if (!known)
		return;
	if (inode && !bound_to(cgroup_of(task)))
		*known = file_of(inode);
	else
		known->number = 0;
}

/* Whether what was found is the node's, and the agent's. */
static __always_inline void note_place(struct process *p, int node, struct file *file)
{
	if (!node) {
		if (p->flags & PROCESS_NODE)
			p->flags = PROCESS_FOUND; /* its cgroup had found no room */
		return;
	}
	if (!p->flags && !p->chain.count)
		p->flags = PROCESS_NODE;
	if (file && p->flags & PROCESS_NODE && runs_agent(BPF_CORE_READ(file, f_inode)))
		p->flags |= PROCESS_AGENT;
}

/* Cgroups and processes that were there before anybody watched. */
SEC("iter/task")
int palisade_existing(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	if (!task || task->flags & TASK_OF_KERNEL)
		return 0;
	note_agent();
	struct cgroup *cgroup = cgroup_of(task);
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s)
		return 0;
	struct bound *b = bound_to(cgroup);
	if (!b) {
		struct bound fresh = {};
		char *name = (char *)s->path.bytes;
		__builtin_memset(name, 0, 2 * CGROUP_NAME);
		tell_cgroup(s, &fresh, bind_upwards(cgroup, name, &fresh));
		b = bound_to(cgroup);
	}
	if (!b && task->pid != task->tgid)
		goto out; /* its leader's record speaks of it */
	struct process *p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p)
		goto out;
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	note_place(p, !b || (p->flags & PROCESS_NODE && arrives(task)), file);
	if (p->flags & PROCESS_SETUP || (p->chain.count && !(p->flags & PROCESS_FOUND)))
		goto out;
	p->flags |= PROCESS_FOUND;
	struct rt_chain *chain = &s->chain;
	__builtin_memset(chain, 0, sizeof(*chain));
	struct task_struct *parent = task->real_parent;
	struct process *above = parent ? bpf_task_storage_get(&processes, parent, NULL, 0) : NULL;
	if (above && !((above->flags ^ p->flags) & PROCESS_NODE))
		*chain = above->chain;
	if (file && !resolve_path(&s->path, &s->backwards, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry)))
		run(chain, rt_fingerprint(&s->path));
	p->chain = *chain;
out:
	give_scratch(s);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(palisade_cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	__u64 id = cgroup->kn->id;
	if (cgroup->root->hierarchy_id == (int)hierarchy_id)
		unbind(id);
	return 0;
}

/*
 * Binds a cgroup that is older than the programs, and empty until now: nobody found it.
 * 1 if it is bound now.
 */
__noinline int bind_late(__u64 at)
{
	struct cgroup *cgroup = (void *)at;
	struct bound fresh = {};
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s)
		return 0;
	char *name = (char *)s->path.bytes;
	__builtin_memset(name, 0, 2 * CGROUP_NAME);
	struct cgroup *container = bind_upwards(cgroup, name, &fresh);
	tell_cgroup(s, &fresh, container);
	give_scratch(s);
	return bound_to(cgroup) != NULL;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(palisade_cgroup_attach_task, struct cgroup *cgroup, const char *path, struct task_struct *task, int threads)
{
	if (cgroup->root->hierarchy_id != (int)hierarchy_id)
		return 0;
	struct cgroup *here = cgroup_of(task);
	if (!bound_to(here) && !bind_late((__u64)here))
		return 0;
	struct task_struct *by = bpf_get_current_task_btf();
	struct process *p = bpf_task_storage_get(&processes, task, NULL, 0);
	if (p && !(p->flags & PROCESS_NODE))
		return 0; /* it was in a container before */
	int inside = by != task && bound_to(cgroup_of(by));
	if (!p)
		p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (p && inside) {
		p->flags = 0;
		__builtin_memset(&p->chain, 0, sizeof(p->chain));
	} else if (p) {
		p->flags = PROCESS_SETUP;
		/* Who comes by itself may have left the host's namespace before: all that it executes is judged. */
		p->host = by == task ? 0 : mounts_of(by);
	}
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(palisade_sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	if (child->flags & TASK_OF_KERNEL)
		return 0;
	struct cgroup *here = cgroup_of(child), *there = cgroup_of(parent);
	int inside = bound_to(here) || (here != there && bind_late((__u64)here));
	struct process *p = process_of(parent);
	if (p && !(p->flags & PROCESS_NODE))
		p = bpf_task_storage_get(&processes, parent, NULL, 0); /* in a container threads have their own */
	if (child->tgid == parent->tgid && (p ? p->flags & PROCESS_NODE : !bound_to(there)))
		return 0;
	struct process *c = bpf_task_storage_get(&processes, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c)
		return 0;
	if (p) {
		c->chain = p->chain;
		/* What its parent is found to have run, it is said to have run here. */
		c->flags = p->chain.count ? p->flags & ~PROCESS_FOUND : p->flags;
		c->host = p->host;
	} else if (!bound_to(there)) {
		c->flags = PROCESS_NODE;
	}
	if (inside && c->flags & PROCESS_NODE) {
		/* A process of the host made it right here. */
		c->flags = PROCESS_SETUP;
		c->host = mounts_of(parent);
	}
	return 0;
}

/* Remembers what the process at hand runs: scripts, and then the object of a scratch. */
__noinline int remember(__u32 number)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct process *p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p)
		return 0;
	struct scripts *by = bpf_task_storage_get(&scripts, task, NULL, 0);
	if (by) {
#pragma clang loop unroll(full)
		for (__u32 i = 0; i < SCRIPTS; i++)
			if (i < by->count)
				run(&p->chain, by->executable[i]);
		by->count = 0;
	}
	run(&p->chain, fingerprint(number));
	return 0;
}

static __always_inline int executed(struct task_struct *task, struct linux_binprm *bprm)
{
	struct bound *b = bound_to(cgroup_of(task));
	struct process *p = bpf_task_storage_get(&processes, task, NULL, 0);
	int node = is_nodes(task, b, p);
	if (!p) {
		p = bpf_task_storage_get(&processes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!p)
			return 0;
		/* The tracepoint will say of one that arrives that this is the runtime. */
		p->flags = node ? PROCESS_NODE : 0;
		p->chain.flags = node ? RT_CHAIN_OVERFLOW : 0; /* nobody knows what it ran before */
	}
	p->flags &= ~PROCESS_AGENT;
	if (p->flags & PROCESS_NODE && runs_agent(bprm->file->f_inode))
		p->flags |= PROCESS_AGENT;
	if (!node && p->flags & PROCESS_SETUP) {
		p->flags &= ~PROCESS_SETUP;
		__builtin_memset(&p->chain, 0, sizeof(p->chain));
	}
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s) {
		run(&p->chain, EXECUTABLE_NOBODYS);
		return 0;
	}
	if (p->flags & PROCESS_EXECUTES) {
		p->flags &= ~PROCESS_EXECUTES;
		s->chain = p->chain;
		tell_arguments(number);
	}
	program_of(s, bprm);
	remember(number);
	give_scratch(s);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(palisade_sched_process_exec, struct task_struct *task, int old, struct linux_binprm *bprm)
{
	if (backends[RT_EXECUTABLES] == RT_BACKEND_SIGNAL)
		exec(bprm);
	return executed(task, bprm);
}

/* The end of a process whose execution was told. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(palisade_sched_process_exit, struct task_struct *task)
{
	if (task->pid != task->tgid || !(setting() & RT_RECORD_EXIT))
		return 0;
	struct process *p = bpf_task_storage_get(&processes, task, NULL, 0);
	if (!p || !(p->flags & PROCESS_TOLD))
		return 0;
	struct bound *b = bound_to(cgroup_of(task));
	int number = take_scratch();
	struct scratch *s = number < 0 ? NULL : scratch_at(number);
	if (!s)
		return 0;
	struct rt_event *e = &s->event;
	__builtin_memset(&e->query, 0, sizeof(e->query));
	e->answer.enforced = e->answer.staged = RULE_NONE;
	__builtin_memset(&e->container, 0, sizeof(e->container));
	if (b)
		e->container = b->container;
	e->kind = RT_EVENT_EXIT;
	e->backend = backends[RT_EXECUTABLES];
	e->exit_code = task->exit_code;
	e->path_length = e->target_length = 0;
	describe(e, task);
	send_event(s);
	give_scratch(s);
	return 0;
}
