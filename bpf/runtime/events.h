/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the agent is told: operations that were judged, processes, new cgroups. */
#ifndef PALISADE_RUNTIME_EVENTS_H
#define PALISADE_RUNTIME_EVENTS_H

#include "process.h"
#include "path.h"

#define RT_ANCESTORS 8

enum rt_event_kind {
	RT_EVENT_JUDGED = 1, /* an operation of a section */
	RT_EVENT_EXIT = 2,
	RT_EVENT_CGROUP = 3, /* a container's cgroup appeared; the path is its name */
	RT_EVENT_EXEC = 4,   /* a program runs now: the path is its arguments, the target an rt_chain */
};

enum rt_backend {
	RT_BACKEND_NONE,
	RT_BACKEND_LSM,
	RT_BACKEND_FMOD_RET,
	RT_BACKEND_CGROUP,
	RT_BACKEND_SIGNAL,
};

struct rt_ancestor {
	__u64 started;
	__u32 pid;
	__u32 pad;
};

struct rt_event {
	__u64 time;
	__u64 counter;
	__u32 epoch;
	__u32 term;
	struct rt_answer answer;
	struct rt_query query;
	struct rt_container container;
	__u64 cgroup;
	__u64 started;
	__u64 effective;
	__u32 pid;
	__u32 uid;
	__u32 gid;
	__u32 exit_code;
	__u32 mount_namespace;
	__u32 process_namespace;
	__u32 network_namespace;
	__u32 user_namespace;
	__u8 kind;
	__u8 backend;
	__u8 pad[2];
	__u32 path_length;
	__u32 target_length;
	__u32 arguments; /* of RT_EVENT_EXEC: how many bytes there are of them */
	struct rt_ancestor ancestors[RT_ANCESTORS];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} runtime_events SEC(".maps");

/* What the agent asks for: bit n, everything judged in section n; RT_RECORD_*. */
#define RT_RECORD_EXEC 16U
#define RT_RECORD_EXIT 32U
#define RT_DENY_UNKNOWN 64U /* pods that the snapshot does not know execute nothing */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} settings SEC(".maps");

static __always_inline __u64 setting(void)
{
	__u32 zero = 0;
	__u64 *word = bpf_map_lookup_elem(&settings, &zero);
	return word ? *word : 0;
}

/* What was found allowed is remembered as long as the same generation judges. */
struct used_key {
	__u64 file;
	__u64 inode;
	__u64 pod;
	__u64 container;
	__u64 generation; /* 0: not to be remembered */
	__u64 operations;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct used_key);
	__type(value, __u64);
} used_files SEC(".maps");

/*
 * Where an operation is worked on. Programs can be preempted by others on the same
 * processor, so there are several, and each is taken while it is used.
 */
struct scratch {
	__u64 taken;
	__u32 unknown; /* a pod that the snapshot does not know, and which therefore does nothing */
	__u32 left; /* operations that are not judged yet */
	__u32 next; /* the rule set that judges next */
	__u32 executes; /* whether this is an exec */
	__u64 quiet; /* no record, whatever the answer */
	__u64 exempt; /* the agent's file, which starts on any node */
	/* The object at hand. Only numbers can be given to functions that are checked once. */
	__u64 mnt;
	__u64 dentry;
	__u64 inode;
	struct used_key used;
	struct rt_eval eval;
	struct rt_query asked;
	struct rt_answer answer;
	struct rt_subject subject;
	struct rt_chain chain;
	struct backwards backwards;
	/* What follows goes out as one record: event, then the path's bytes. */
	struct rt_event event;
	struct rt_path path;
	__u8 target[RT_PATH_BYTES];
};

#define SCRATCHES 4

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_at(__u32 number)
{
	return bpf_map_lookup_elem(&scratches, &number);
}

/* The number of a scratch that was free, or -1. */
static __always_inline int take_scratch(void)
{
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < SCRATCHES; i++) {
		struct scratch *s = scratch_at(i);
		if (s && __sync_val_compare_and_swap(&s->taken, 0, 1) == 0)
			return i;
	}
	return -1;
}

static __always_inline void give_scratch(struct scratch *s)
{
	__sync_lock_test_and_set(&s->taken, 0);
}

const volatile __u32 events_per_second = 50;

struct lineage {
	struct task_struct *task;
	struct rt_ancestor *ancestors;
};

static long ancestor_step(__u64 i, struct lineage *l)
{
	struct task_struct *task = l->task;
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
	if (!parent || parent == task)
		return 1;
	struct rt_ancestor *a = &l->ancestors[i & (RT_ANCESTORS - 1)];
	a->pid = BPF_CORE_READ(parent, tgid);
	a->started = BPF_CORE_READ(parent, start_boottime);
	l->task = parent;
	return a->pid == 1;
}

static __always_inline __u64 effective(const struct cred *cred)
{
	const struct kernel_cap_struct___words *words = (void *)((__u64)cred + bpf_core_field_offset(struct cred, cap_effective));
	__u64 set = 0;
	bpf_probe_read_kernel(&set, sizeof(set), words);
	return set;
}

/* Who acts, into an event. */
static __always_inline void describe(struct rt_event *e, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct nsproxy *namespaces = BPF_CORE_READ(task, nsproxy);
	e->time = bpf_ktime_get_ns();
	e->pid = BPF_CORE_READ(task, tgid);
	e->started = BPF_CORE_READ(task, group_leader, start_boottime);
	e->uid = BPF_CORE_READ(cred, uid.val);
	e->gid = BPF_CORE_READ(cred, gid.val);
	e->effective = effective(cred);
	e->user_namespace = BPF_CORE_READ(cred, user_ns, ns.inum);
	e->mount_namespace = BPF_CORE_READ(namespaces, mnt_ns, ns.inum);
	e->process_namespace = BPF_CORE_READ(namespaces, pid_ns_for_children, ns.inum);
	e->network_namespace = BPF_CORE_READ(namespaces, net_ns, ns.inum);
	struct cgroup *cgroup = cgroup_of(task);
	e->cgroup = BPF_CORE_READ(cgroup, kn, id);
	struct lineage l = { .task = task, .ancestors = e->ancestors };
	__builtin_memset(e->ancestors, 0, sizeof(e->ancestors));
	bpf_loop(RT_ANCESTORS, ancestor_step, &l, 0);
}

/* Events of a rule in this second: whether one more may go out. Counts the others. */
static __always_inline int may_report(__u32 slot, __u32 limit)
{
	struct limit *l = bpf_map_lookup_elem(&limits, &slot);
	if (!l)
		return 1;
	__u64 second = bpf_ktime_get_ns() / 1000000000ULL;
	if (l->window != second) {
		l->window = second;
		l->sent = 0;
	}
	if (l->sent >= limit) {
		__sync_fetch_and_add(&l->lost, 1);
		return 0;
	}
	__sync_fetch_and_add(&l->sent, 1);
	return 1;
}

static __always_inline void send_event(struct scratch *s)
{
	__u32 zero = 0;
	__u64 size = sizeof(struct rt_event) + __builtin_offsetof(struct rt_path, bytes) + (s->event.path_length & (RT_PATH_BYTES - 1)) + (s->event.target_length & (RT_PATH_BYTES - 1));
	if (bpf_ringbuf_output(&runtime_events, &s->event, size, 0) == 0)
		return;
	struct limit *l = bpf_map_lookup_elem(&limits, &zero);
	if (l)
		__sync_fetch_and_add(&l->lost, 1);
}

/*
 * What the process at hand was executed with, which stands in its memory now and nowhere
 * else soon, and the scratch's chain: what it and those above it had executed until then.
 */
__noinline int tell_arguments(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return -1;
	struct rt_event *e = &s->event;
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 start = BPF_CORE_READ(task, mm, arg_start), size = BPF_CORE_READ(task, mm, arg_end) - start;
	__u32 length = (size < RT_PATH_BYTES ? size : RT_PATH_BYTES - 1) & (RT_PATH_BYTES - 1);
	/* Nothing is waited for here: what is not in memory is not read. */
	if (bpf_probe_read_user(s->path.bytes, length, (void *)start))
		length = 0;
	bpf_probe_read_kernel(s->path.bytes + length, sizeof(s->chain), &s->chain);
	e->kind = RT_EVENT_EXEC;
	e->time = bpf_ktime_get_ns();
	e->pid = BPF_CORE_READ(task, tgid);
	e->started = BPF_CORE_READ(task, group_leader, start_boottime);
	e->arguments = size;
	e->path_length = length;
	e->target_length = sizeof(s->chain);
	send_event(s);
	return 0;
}

#endif
