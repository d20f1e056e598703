// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Runs the verdict by test-run: the program of `datapath.Judge`, of the torn test
 * and of the benchmarks. Never attached.
 */
#include "judge.h"

char palisade_license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct outcome);
} outcomes SEC(".maps");

/* Questions for the benchmarks: how many of each, powers of two. */
const volatile __u32 client_mask = 0;
const volatile __u32 server_mask = 0;
const volatile __u32 row_mask = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u64);
} baseline SEC(".maps");

/* Puts every type of a line into BTF, for the comparison with Go's. */
struct {
	struct header header;
	struct edges edges;
	struct seal seal;
	struct rules rules;
	struct bucket4 bucket4;
	struct bucket6 bucket6;
	struct slots slots;
	struct cells cells;
	struct record record;
	struct segments segments;
	struct event event;
} mirror;

__u64 random_state = 88172645463325252ULL;
__u64 sink;

struct work {
	__u32 first;
};

/*
 * How many steps a verdict is held up after it has read who the ends are, and again
 * before it is judged the other way round: whatever the writer does in that time must
 * not be seen.
 */
const volatile __u32 hold_steps = 0;

static long step_on(__u64 i, __u64 *steps)
{
	*(volatile __u64 *)steps = i;
	return 0;
}

static __always_inline void hold_up(void)
{
	__u64 steps = 0;
	bpf_loop(hold_steps, step_on, &steps, 0);
}

__noinline int judge_held(const struct question *q, struct outcome *o, __u32 number)
{
	return judge_by(q, o, number, hold_up);
}

/* A bit of question.own: as a connection that conntrack met in the middle. */
#define PICKED_UP 4

static long judge_one(__u64 i, struct work *w)
{
	__u32 number = w->first + i;
	struct question *q = bpf_map_lookup_elem(&questions, &number);
	struct outcome *o = bpf_map_lookup_elem(&outcomes, &number);
	if (!q || !o)
		return 1;
	__u32 side = active_side();
	if (hold_steps)
		judge_held(q, o, side);
	else
		judge(q, o, side);
	if (q->own & PICKED_UP && denied(o)) {
		if (hold_steps)
			hold_up();
		allowed_reversed(q, o, side);
	}
	return 0;
}

/* Judges cb[1] questions from number cb[0] on, each by its own read of `active`. */
SEC("tc")
int palisade_judge_batch(struct __sk_buff *skb)
{
	struct work w = { .first = skb->cb[0] };
	return bpf_loop(skb->cb[1], judge_one, &w, 0);
}

static __always_inline __u64 next_random(void)
{
	__u64 x = random_state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return random_state = x;
}

/* One to one on 32 bits, so that numbers make addresses without duplicates. */
static __always_inline __u32 scatter(__u32 x)
{
	x *= 0x9e3779b1U;
	x ^= x >> 15;
	x *= 0x85ebca6bU;
	x ^= x >> 13;
	return x | 0;
}

SEC("netfilter")
int palisade_bench_empty(struct bpf_nf_ctx *ctx)
{
	return NF_ACCEPT;
}

SEC("netfilter")
int palisade_bench_random(struct bpf_nf_ctx *ctx)
{
	__u64 x = next_random();
	sink = scatter((__u32)x & client_mask) ^ scatter((__u32)(x >> 32) & server_mask);
	return NF_ACCEPT;
}

SEC("netfilter")
int palisade_bench_hash(struct bpf_nf_ctx *ctx)
{
	__u64 key = scatter((__u32)(next_random() >> 20) & row_mask);
	__u64 *value = bpf_map_lookup_elem(&baseline, &key);
	if (!value)
		return NF_DROP;
	sink += *value;
	return NF_ACCEPT;
}

static __always_inline int bench_verdict(__u8 family)
{
	__u64 x = next_random();
	struct outcome o = {};
	struct question q = {
		.client.low = scatter((__u32)x & client_mask),
		.server.low = scatter((__u32)(x >> 20) & server_mask),
		.port = PROTO_TCP << 16 | 443,
		.family = family,
	};
	if (family == FAMILY_IPV6)
		q.client.high = q.server.high = 0xfd00000000000000ULL;
	judge(&q, &o, active_side());
	count(&o, 64);
	return denied(&o) ? NF_DROP : NF_ACCEPT;
}

SEC("netfilter")
int palisade_bench_verdict(struct bpf_nf_ctx *ctx)
{
	return bench_verdict(FAMILY_IPV4);
}

SEC("netfilter")
int palisade_bench_verdict6(struct bpf_nf_ctx *ctx)
{
	return bench_verdict(FAMILY_IPV6);
}
