// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Frozen. A netfilter link cannot be given another program, and a second program
 * cannot be attached at the same priority: so these stay attached for good, and what
 * they call is replaced by one write to `programs`. Changing this file means that an
 * upgrade must detach, and so open traffic for a moment.
 */
#include "../include/kernel.h"

char palisade_license[] SEC("license") = "Dual BSD/GPL";

#define PROGRAM_VERDICT 0
#define PROGRAM_GUARD 1

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

SEC("netfilter")
int palisade_call_verdict(struct bpf_nf_ctx *ctx)
{
	bpf_tail_call(ctx, &programs, PROGRAM_VERDICT);
	return NF_ACCEPT;
}

SEC("netfilter")
int palisade_call_guard(struct bpf_nf_ctx *ctx)
{
	bpf_tail_call(ctx, &programs, PROGRAM_GUARD);
	return NF_ACCEPT;
}
