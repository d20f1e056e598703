// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Judges operations by test-run: the program of the tests, of the torn test and of the
 * benchmarks. The match code is the one that the hooks have. Never attached.
 */
#include "match.h"

char palisade_license[] SEC("license") = "Dual BSD/GPL";

struct rt_question {
	struct rt_container container;
	struct rt_chain chain;
	struct rt_query query;
	struct rt_path path; /* length 0: none */
};

struct rt_outcome {
	struct rt_answer answer;
	__u64 counter; /* of the generation */
	__u64 fingerprint;
	__u32 needs;
	__s32 subject;	     /* what rt_subject said */
	struct rt_eval eval; /* 6.1 counts frames in steps of 32 bytes: no room on the stack */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rt_question);
} rt_questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rt_outcome);
} rt_outcomes SEC(".maps");

/* Paths for the benchmarks, as many as a power of two. */
#define RT_BENCH_BYTES 120

struct rt_sample {
	__u32 length;
	__u32 container; /* the low half of its pod's UID */
	__u8 bytes[RT_BENCH_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_sample);
} rt_samples SEC(".maps");

struct rt_room {
	struct rt_path path;
	struct rt_eval eval;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rt_room);
} rt_scratch SEC(".maps");

const volatile __u32 sample_mask = 0;
const volatile __u64 sample_name = 0;
const volatile __u32 sample_operations = 1;
const volatile __u8 sample_section = RT_FILES;

/* Puts every type of a line into BTF, for the comparison with Go's. */
struct {
	struct rt_header header;
	struct rt_keys keys;
	struct rt_filter filter;
	struct rt_ruleset ruleset;
	struct rt_slots slots;
	struct rt_lengths lengths;
	struct rt_kind_line kind;
	struct rt_list list;
	struct rt_clause clause;
	struct rt_peer_clause peer_clause;
	struct rt_blocks blocks;
	struct rt_ports ports;
} rt_mirror;

__u64 random_state = 88172645463325252ULL;
__u64 sink;
__u64 rt_denied;

struct rt_work {
	__u32 first;
};

static long rt_judge_one(__u64 i, struct rt_work *w)
{
	__u32 number = w->first + i;
	struct rt_question *q = bpf_map_lookup_elem(&rt_questions, &number);
	struct rt_outcome *o = bpf_map_lookup_elem(&rt_outcomes, &number);
	if (!q || !o)
		return 1;
	struct rt_subject s;
	struct rt_answer a = {};
	__u32 active = active_side();
	o->subject = rt_subject_on(&s, &q->container, active);
	/* Hooks go by this word first, and then ask nothing. */
	if (rt_is_node(&q->container) && !rt_node_has_rules(active))
		o->subject = -1;
	o->needs = s.needs;
	void *side = side_of(s.side);
	if (!side)
		return 1;
	o->counter = ((const struct header *)side)->counter;
	if (rt_judge_in(&o->eval, &s, &q->query, q->path.length ? &q->path : NULL, &q->chain, &a))
		return 1;
	o->answer = a;
	o->fingerprint = q->path.length ? rt_fingerprint(&q->path) : 0;
	return 0;
}

/* Judges cb[1] questions from number cb[0] on, each by its own read of `active`. */
SEC("tc")
int palisade_runtime_batch(struct __sk_buff *skb)
{
	struct rt_work w = { .first = skb->cb[0] };
	return bpf_loop(skb->cb[1], rt_judge_one, &w, 0);
}

static __always_inline __u64 next_random(void)
{
	__u64 x = random_state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return random_state = x;
}

/* A path chosen by chance, where a hook would have put it. */
static __always_inline struct rt_room *rt_draw(struct rt_container *c)
{
	__u32 zero = 0, number = (__u32)(next_random() >> 20) & sample_mask;
	struct rt_room *room = bpf_map_lookup_elem(&rt_scratch, &zero);
	const struct rt_sample *sample = bpf_map_lookup_elem(&rt_samples, &number);
	if (!room || !sample)
		return NULL;
	room->path.length = sample->length;
	__builtin_memcpy(room->path.bytes, sample->bytes, RT_BENCH_BYTES);
	*c = (struct rt_container){ .uid_low = sample->container, .name = sample_name };
	return room;
}

SEC("tc")
int palisade_runtime_bench_empty(struct __sk_buff *skb)
{
	return 0;
}

SEC("tc")
int palisade_runtime_bench_draw(struct __sk_buff *skb)
{
	struct rt_container c;
	struct rt_room *room = rt_draw(&c);
	if (room)
		sink += room->path.length + c.uid_low;
	return 0;
}

SEC("tc")
int palisade_runtime_bench_subject(struct __sk_buff *skb)
{
	struct rt_container c;
	struct rt_subject s;
	if (rt_draw(&c) && rt_subject(&s, &c) == 1)
		sink += s.needs;
	return 0;
}

SEC("tc")
int palisade_runtime_bench_judge(struct __sk_buff *skb)
{
	struct rt_container c;
	struct rt_subject s;
	struct rt_answer a = {};
	struct rt_query q = { .operations = sample_operations, .section = sample_section, .origin = RT_IMAGE };
	struct rt_room *room = rt_draw(&c);
	if (!room || rt_subject(&s, &c) != 1 || rt_judge_in(&room->eval, &s, &q, &room->path, NULL, &a))
		return 0;
	if (a.enforced >> 32 & RT_DENY)
		rt_denied++;
	sink += a.staged;
	return 0;
}
