/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is remembered of a process: which executables it and its ancestors in the same
 * container, or on the node, have run, and whether it still is the container runtime's own.
 */
#ifndef PALISADE_RUNTIME_PROCESS_H
#define PALISADE_RUNTIME_PROCESS_H

#include "cgroup.h"

/*
 * The runtime's own: a process of the host put it here, and it has not run anything of
 * the container's yet. Only what it executes is judged. No process of a container can
 * bring this about.
 */
#define PROCESS_SETUP 1U

/* It ran before anybody watched: what its ancestors ran may still be found out. */
#define PROCESS_FOUND 2U

/* What it runs was told, so that its end is, too. */
#define PROCESS_TOLD 4U

/* What it executes was told, and with which arguments was not yet. */
#define PROCESS_EXECUTES 8U

/* It is the node's, and never was in a container. */
#define PROCESS_NODE 16U

/* It runs the agent's file, and is the node's: no rule of nodes is about it. */
#define PROCESS_AGENT 32U

struct process {
	struct rt_chain chain;
	__u64 host; /* of a process in setup: the mount namespace of who put it here, 0 of itself */
	__u32 flags;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
} processes SEC(".maps");

static __always_inline struct process *process_of(struct task_struct *task)
{
	struct process *p = bpf_task_storage_get(&processes, task, NULL, 0);
	if (p && !(p->flags & PROCESS_NODE))
		return p;
	/*
	 * The kernel's workers for a process, threads older than the agent, and those of the
	 * node: where a process goes, the tracepoint says of its leader alone.
	 */
	struct task_struct *leader = task->group_leader;
	struct process *all = leader ? bpf_task_storage_get(&processes, leader, NULL, 0) : NULL;
	return all ? all : p;
}

static __always_inline __u64 mounts_of(struct task_struct *task)
{
	return (__u64)BPF_CORE_READ(task, nsproxy, mnt_ns);
}

/* One: the file that the agent on this node runs. While it runs, no other file has this number. */
struct agent_file {
	__u64 number;
	__u32 device;
	__u32 generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_file);
} agent SEC(".maps");

static __always_inline struct agent_file file_of(struct inode *inode)
{
	return (struct agent_file){
		.number = BPF_CORE_READ(inode, i_ino),
		.device = BPF_CORE_READ(inode, i_sb, s_dev),
		.generation = BPF_CORE_READ(inode, i_generation),
	};
}

static __always_inline int runs_agent(struct inode *inode)
{
	__u32 zero = 0;
	struct agent_file *known = bpf_map_lookup_elem(&agent, &zero);
	if (!known || !known->number || !inode)
		return 0;
	struct agent_file this = file_of(inode);
	return this.number == known->number && this.device == known->device && this.generation == known->generation;
}

#define TASK_OF_KERNEL 0x00200000 /* PF_KTHREAD */

/*
 * A process that a host process is putting here just now: it is in the cgroup before the
 * tracepoint says so. Every other process of a container has a record, and either another
 * mount namespace than its parent or a parent in the container.
 */
static __always_inline int arrives(struct task_struct *task)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	return mounts_of(task) == mounts_of(parent) && !bound_to(cgroup_of(parent));
}

/*
 * Whether a process is the node's: it is in no pod's cgroup, or comes into one just now. The
 * container runtime's own stays so in the container until it leaves the mounts with which it
 * was put there.
 */
static __always_inline int is_nodes(struct task_struct *task, const struct bound *b, const struct process *p)
{
	if (!b)
		return 1;
	if (!p)
		return arrives(task);
	return p->flags & PROCESS_NODE || (p->flags & PROCESS_SETUP && p->host == mounts_of(task));
}

/* As many scripts as the kernel follows, each the interpreter of the one before. */
#define SCRIPTS 5

/* What leads to the program that a process is about to run. */
struct scripts {
	__u64 executable[SCRIPTS];
	__u32 count;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scripts);
} scripts SEC(".maps");

/*
 * An executable that is none of the container's, or whose path is not known: no rule's from
 * means it. A process that runs one must not go on as what it was before.
 */
#define EXECUTABLE_NOBODYS 1

/* Its executable comes first, then those of before and of its ancestors. */
__noinline int run(struct rt_chain *chain, __u64 executable)
{
	__u64 carry = executable;
	if (!chain || !executable)
		return 0;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < RT_CHAIN; i++) {
		if (i >= chain->count) {
			chain->executable[i] = carry;
			chain->count = i + 1;
			return 0;
		}
		__u64 was = chain->executable[i];
		chain->executable[i] = carry;
		if (was == executable)
			return 0;
		carry = was;
	}
	chain->flags |= RT_CHAIN_OVERFLOW;
	return 0;
}

#endif
