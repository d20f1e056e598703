/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which container a process is in: by its cgroup, in the one hierarchy in which kubelet
 * makes a pod's. A cgroup is bound when it is made, in the kernel, so that no process
 * can be in it before.
 */
#ifndef PALISADE_RUNTIME_CGROUP_H
#define PALISADE_RUNTIME_CGROUP_H

#include "../include/task.h"
#include "match.h"

#define HIERARCHY_UNIFIED 0xffffffffU

/* The hierarchy: its number, and which controller's it is in version 1. */
const volatile __u32 hierarchy_id = 0;
const volatile __u32 hierarchy_controller = HIERARCHY_UNIFIED;

/* Bits of bound.flags. */
#define BOUND_NAMED 1U /* by the agent */

struct bound {
	struct rt_container container;
	__u64 root;	/* the cgroup whose name this one has: itself, or the container's */
	__u32 children; /* of a pod: how many containers it had; of a container: how many are bound below */
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct bound);
} containers SEC(".maps");

/* One word: how many cgroups are not in `containers` and belong to one above them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} unbound SEC(".maps");

/* One word: how often a pod's or a container's own cgroup found no room in `containers`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} unplaced SEC(".maps");

/*
 * As many cgroups below a container's are bound by themselves: the container makes them,
 * and there must be room for others.
 */
#define NESTED 64

/* Steps upwards. Whoever makes cgroups in cgroups must not get below what is looked at. */
#define CGROUP_DEPTH (1 << 20)

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	if (hierarchy_controller == HIERARCHY_UNIFIED)
		return BPF_CORE_READ(set, dfl_cgrp);
	struct cgroup_subsys_state *css = NULL;
	__u64 at = (__u64)set + bpf_core_field_offset(struct css_set, subsys) + 8 * hierarchy_controller;
	bpf_probe_read_kernel(&css, sizeof(css), (void *)at);
	return BPF_CORE_READ(css, cgroup);
}

static __always_inline struct cgroup *above(struct cgroup *cgroup)
{
	/* A cgroup begins with its own state, on all kernels. */
	return (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
}

struct climb {
	struct cgroup *cgroup;
	struct bound *found;
};

static long climb_step(__u64 i, struct climb *c)
{
	struct cgroup *cgroup = above(c->cgroup);
	if (!cgroup)
		return 1;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	c->cgroup = cgroup;
	c->found = bpf_map_lookup_elem(&containers, &id);
	return c->found ? 1 : 0;
}

/* What a cgroup is bound to, by itself or, if it is not in the map, by an ancestor. */
static __always_inline struct bound *bound_to(struct cgroup *cgroup)
{
	__u32 zero = 0;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct bound *b = bpf_map_lookup_elem(&containers, &id);
	if (!b) {
		__u64 *missing = bpf_map_lookup_elem(&unbound, &zero);
		if (!missing || !*missing)
			return NULL;
		struct climb c = { .cgroup = cgroup };
		bpf_loop(CGROUP_DEPTH, climb_step, &c, 0);
		b = c.found;
		if (!b)
			return NULL;
		id = 0;
	}
	if (b->root == id)
		return b;
	__u64 root = b->root;
	struct bound *container = bpf_map_lookup_elem(&containers, &root);
	return container ? container : b;
}

#define CGROUP_NAME 128

struct uid_text {
	const char *name;
	__u64 high;
	__u64 low;
	__u64 other; /* of a text that is no UUID */
	__u32 digits;
	__u32 state;
};

/* FNV-1a over texts that are no UUID; systemd writes an underscore for a hyphen. */
#define FNV_START 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

static long uid_step(__u64 i, struct uid_text *u)
{
	__u8 c = u->name[i & (CGROUP_NAME - 1)];
	if (c == 0 || c == '.')
		return 1;
	if (c == '_')
		c = '-';
	u->other = (u->other ^ c) * FNV_PRIME;
	if (c == '-')
		return 0;
	__u32 digit = c - '0';
	if (c >= 'a' && c <= 'f')
		digit = c - 'a' + 10;
	else if (digit > 9)
		digit = 255;
	if (digit == 255 || u->digits >= 32) {
		u->digits = 255;
		return 0;
	}
	u->high = u->high << 4 | u->low >> 60;
	u->low = u->low << 4 | digit;
	u->digits++;
	return 0;
}

/* Where in a cgroup's name a pod's UID begins; 0 if it is none of a pod. */
static __always_inline __u32 uid_begins(const char *name)
{
	if (name[0] == 'p' && name[1] == 'o' && name[2] == 'd')
		return 3;
	if (name[0] != 'k' || name[1] != 'u' || name[2] != 'b' || name[3] != 'e' || name[4] != 'p' || name[5] != 'o' || name[6] != 'd' || name[7] != 's')
		return 0;
	/* kubepods-pod…, kubepods-burstable-pod…, kubepods-besteffort-pod… */
	__u32 at[3] = { 8, 18, 19 };
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		if (name[at[i]] == '-' && name[at[i] + 1] == 'p' && name[at[i] + 2] == 'o' && name[at[i] + 3] == 'd')
			return at[i] + 4;
	return 0;
}

/* Of a name of its own, "pod" and the UID, which is that of 36 or of 32 bytes. Others have such names too. */
static __always_inline int names_pod(const char *name, long length)
{
	__u32 begin = uid_begins(name);
	return begin == 3 ? length == 3 + 36 + 1 || length == 3 + 32 + 1 : begin;
}

/* A cgroup's name, and room for a UID that begins late in it. */
struct cgroup_name {
	char text[2 * CGROUP_NAME];
};

/* Reads a pod's UID from a cgroup's name as layout.PodKey has it. */
__noinline int pod_of(struct rt_container *c, const struct cgroup_name *name)
{
	if (!c || !name)
		return 0;
	/* Through memory, of which the verifier knows nothing: it would try each place in turn. */
	c->uid_low = uid_begins(name->text);
	__u32 begin = *(volatile __u64 *)&c->uid_low & 31;
	if (!begin)
		return 0;
	struct uid_text u = { .name = name->text + begin, .other = FNV_START };
	bpf_loop(CGROUP_NAME - 24, uid_step, &u, 0);
	if (u.other == FNV_START)
		return 0;
	c->uid_high = u.digits == 32 ? u.high : u.other;
	c->uid_low = u.digits == 32 ? u.low : u.other * FNV_PRIME; /* a zero byte more */
	c->name = RT_NAME_POD;
	return 1;
}

/* Where a cgroup stands that was made before anybody watched. */
struct ascent {
	struct cgroup *cgroup;
	struct cgroup *pod;	  /* the topmost that is named as a pod's */
	struct cgroup *container; /* what stands below that on our way */
	struct cgroup *below;
};

static long ascent_step(__u64 i, struct ascent *a)
{
	struct cgroup *cgroup = a->cgroup;
	char name[48] = {};
	long length = bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgroup, kn, name));
	if (names_pod(name, length)) {
		a->pod = cgroup;
		a->container = a->below;
	}
	a->below = cgroup;
	a->cgroup = above(cgroup);
	return !a->cgroup;
}

static __always_inline void tally(void *words)
{
	__u32 zero = 0;
	__u64 *word = bpf_map_lookup_elem(words, &zero);
	if (word)
		__sync_fetch_and_add(word, 1);
}

/* 1 if it was not bound and is now. */
static __always_inline int bind(__u64 id, const struct bound *b)
{
	long err = bpf_map_update_elem(&containers, &id, b, BPF_NOEXIST);
	if (err && err != -17 /* EEXIST */) {
		tally(&unbound);
		if (b->root == id)
			tally(&unplaced);
	}
	return !err;
}

/* Binds what is below a container's cgroup. */
static __always_inline void bind_below(__u64 id, const struct bound *b)
{
	struct bound *container = bpf_map_lookup_elem(&containers, &b->root);
	if (!container || __sync_fetch_and_add(&container->children, 1) >= NESTED) {
		if (container)
			__sync_fetch_and_add(&container->children, -1);
		tally(&unbound);
		return;
	}
	bind(id, b);
}

/* Forgets a cgroup that is no more. */
static __always_inline void unbind(__u64 id)
{
	struct bound *b = bpf_map_lookup_elem(&containers, &id);
	if (!b)
		return;
	__u64 root = b->root;
	struct bound *container = root == id ? NULL : bpf_map_lookup_elem(&containers, &root);
	if (container && container->children)
		__sync_fetch_and_add(&container->children, -1);
	bpf_map_delete_elem(&containers, &id);
}

/*
 * Binds a cgroup and what is above it, if it is of a pod. Returns the container's cgroup
 * if that was not bound before, else NULL.
 */
static __always_inline struct cgroup *bind_upwards(struct cgroup *cgroup, char *name, struct bound *b)
{
	struct ascent a = { .cgroup = cgroup };
	bpf_loop(CGROUP_DEPTH, ascent_step, &a, 0);
	struct cgroup *pod = a.pod, *container = a.container; /* or they would be relocated */
	if (!pod)
		return NULL;
	bpf_probe_read_kernel_str(name, CGROUP_NAME, BPF_CORE_READ(pod, kn, name));
	if (!pod_of(&b->container, (const struct cgroup_name *)name))
		return NULL;
	__u64 id = BPF_CORE_READ(cgroup, kn, id), at = BPF_CORE_READ(pod, kn, id);
	b->root = at;
	b->children = container ? 1 : 0; /* which one came first is not known */
	bind(at, b);
	if (!container)
		return NULL;
	b->root = BPF_CORE_READ(container, kn, id);
	b->children = 0;
	b->container.name = RT_NAME_PENDING;
	int fresh = bind(b->root, b);
	if (id != b->root)
		bind_below(id, b);
	return fresh ? container : NULL;
}

#endif
