/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flow events: a ring buffer, so many a second for each rule, losses counted. */
#ifndef PALISADE_EVENTS_H
#define PALISADE_EVENTS_H

#include "packet.h"

const volatile __u32 events_per_second = 50;

#define SECOND 1000000000ULL

/* Whether the rule may report once more in this second. */
static __always_inline int may_report(__u32 rule, __u64 now)
{
	struct limit *l = bpf_map_lookup_elem(&limits, &rule);
	if (!l)
		return 0;
	if (now - l->window >= SECOND) {
		l->window = now;
		l->sent = 0;
	}
	if (l->sent < events_per_second) {
		__sync_fetch_and_add(&l->sent, 1);
		return 1;
	}
	__sync_fetch_and_add(&l->lost, 1);
	return 0;
}

/* Events that found the ring full are counted at RULE_NONE. */
static __always_inline void ring_full(void)
{
	__u32 none = RULE_NONE;
	struct limit *l = bpf_map_lookup_elem(&limits, &none);
	if (l)
		__sync_fetch_and_add(&l->lost, 1);
}

__noinline int report(const struct passage *p, const struct outcome *o, __u32 rule, __u32 length_hook)
{
	__u64 now = bpf_ktime_get_ns();
	if (!p || !o || !may_report(rule & WORD_RULE, now))
		return 0;
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		ring_full();
		return 0;
	}
	e->time = now;
	e->counter = o->counter;
	e->epoch = o->epoch;
	e->term = o->term;
	e->client = p->question.client;
	e->server = p->question.server;
	e->egress = o->egress;
	e->ingress = o->ingress;
	e->interface = p->interface;
	e->length = length_hook >> 8;
	e->client_port = p->question.client_port;
	e->server_port = p->question.port;
	e->protocol = p->question.port >> 16;
	e->family = p->question.family;
	e->hook = length_hook & 255;
	e->flags = (p->reply ? EVENT_REPLY : 0) | (p->fresh ? EVENT_NEW : 0) | (p->conn ? 0 : EVENT_UNTRACKED);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/* The word to report under: the one that denies, else the one that asks for a record. */
static __always_inline __u32 reason(const struct outcome *o)
{
	if (o->egress.enforced & WORD_DENY)
		return o->egress.enforced;
	if (o->ingress.enforced & WORD_DENY)
		return o->ingress.enforced;
	if (o->egress.enforced & WORD_LOG)
		return o->egress.enforced;
	if (o->ingress.enforced & WORD_LOG)
		return o->ingress.enforced;
	if ((o->egress.enforced ^ o->egress.staged) & WORD_DENY || o->egress.staged & WORD_LOG)
		return o->egress.staged | WORD_LOG;
	if ((o->ingress.enforced ^ o->ingress.staged) & WORD_DENY || o->ingress.staged & WORD_LOG)
		return o->ingress.staged | WORD_LOG;
	return 0;
}

static __always_inline void note_pair(const struct answer *a, __u32 egress, __u32 slot, __u32 class, __u64 now)
{
	struct pair_key key = {
		.rule = (a->enforced & WORD_RULE) | egress,
		.slot = slot & PEER_NUMBER,
		.class = class,
	};
	struct pair *known = bpf_map_lookup_elem(&pairs, &key);
	if (known) {
		__sync_fetch_and_add(&known->connections, 1);
		known->last = now;
		return;
	}
	struct pair first = { .connections = 1, .last = now };
	bpf_map_update_elem(&pairs, &key, &first, BPF_ANY);
}

/* Counts a new connection by subject, peer and rule, where the subject is local. */
__noinline int note_pairs(const struct outcome *o)
{
	__u64 now = bpf_ktime_get_ns();
	if (!o)
		return 0;
	if (o->client & PEER_LOCAL)
		note_pair(&o->egress, WORD_DENY, o->client, o->server, now);
	if (o->server & PEER_LOCAL)
		note_pair(&o->ingress, 0, o->server, o->client, now);
	return 0;
}

#endif
