/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is remembered of a process in a container: which executables it and its ancestors
 * there have run, and whether it still is the container runtime's own.
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
	if (p)
		return p;
	/* The kernel's workers for a process, and threads older than the agent. */
	struct task_struct *leader = task->group_leader;
	return leader ? bpf_task_storage_get(&processes, leader, NULL, 0) : NULL;
}

static __always_inline __u64 mounts_of(struct task_struct *task)
{
	return (__u64)BPF_CORE_READ(task, nsproxy, mnt_ns);
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
