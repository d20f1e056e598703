/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict: plain arguments in, plain outcome out. The same code judges IPv4 and
 * IPv6, egress and ingress, packets at the hooks and questions in test-run.
 */
#ifndef PALISADE_JUDGE_H
#define PALISADE_JUDGE_H

#include "lookup.h"

/* The number of the side that judges, read once; every look-up of one verdict uses it. */
static __always_inline __u32 active_side(void)
{
	__u32 zero = 0;
	volatile __u64 *word = bpf_map_lookup_elem(&active, &zero);
	return word ? *word & 1 : 0;
}

/* The rules of the end that is no local endpoint: unbound and group addresses. */
static __always_inline struct answer unprotected(const struct header *h, __u32 value, int own, int own_peer, __u32 deny_unbound, __u32 deny_group)
{
	if (!own && !own_peer) {
		if (value & PEER_UNBOUND && h->flags & deny_unbound)
			return certain(RULE_UNBOUND | WORD_DENY);
		if (value & PEER_GROUP && h->flags & deny_group)
			return certain(RULE_GROUP | WORD_DENY);
	}
	return certain(RULE_NOBODY);
}

/*
 * midway is called when the ends are known and the answers are not: programs that
 * packets meet do nothing there, the torn test takes its time.
 */
static __always_inline void judge_on(__u32 number, void *side, const struct header *h, const struct question *q, struct outcome *o, void (*midway)(void))
{
	__u32 client = peer(number, side, h, &q->client, q->family);
	__u32 server = peer(number, side, h, &q->server, q->family);
	o->client = client;
	o->server = server;
	o->counter = h->counter;
	o->epoch = h->epoch;
	o->term = h->term;
	if (!client || !server) {
		o->egress = o->ingress = certain(RULE_BROKEN | WORD_DENY);
		return;
	}
	const struct slot *c = NULL, *s = NULL;
	if (client & PEER_LOCAL) {
		c = slot_of(side, h, client);
		if (!c) {
			o->egress = o->ingress = certain(RULE_BROKEN | WORD_DENY);
			return;
		}
	}
	if (server & PEER_LOCAL) {
		s = slot_of(side, h, server);
		if (!s) {
			o->egress = o->ingress = certain(RULE_BROKEN | WORD_DENY);
			return;
		}
	}

	/* An endpoint has a slot for each of its addresses, and one number. */
	if (c && s && !((c->owner ^ s->owner) & PEER_NUMBER)) {
		o->egress = o->ingress = certain(RULE_SELF);
		return;
	}
	midway();
	if (c)
		o->egress = answer_of(number, side, h, c->egress, s ? s->class : server & PEER_NUMBER, q->port);
	else
		o->egress = unprotected(h, client, q->own & OWN_CLIENT, q->own & OWN_SERVER, SIDE_DENY_UNBOUND_EGRESS, 0);

	if (!s)
		o->ingress = unprotected(h, server, q->own & OWN_SERVER, q->own & OWN_CLIENT, SIDE_DENY_UNBOUND_INGRESS, SIDE_DENY_GROUPS);
	else if (q->own & OWN_CLIENT)
		o->ingress = certain(RULE_OWN_NODE);
	else
		o->ingress = answer_of(number, side, h, s->ingress, c ? c->class : client & PEER_NUMBER, q->port);
}

/* Without tables nothing is judged: programs are attached only once there are some. */
static __always_inline int judge_by(const struct question *q, struct outcome *o, __u32 number, void (*midway)(void))
{
	if (!q || !o)
		return 0;
	void *side = side_of(number);
	struct header *h = side ? line(side, 0) : NULL;
	if (h)
		judge_on(number, side, h, q, o, midway);
	else
		__builtin_memset(o, 0, sizeof(*o));
	return 0;
}

static __always_inline void at_once(void)
{
}

__noinline int judge(const struct question *q, struct outcome *o, __u32 number)
{
	return judge_by(q, o, number, at_once);
}

static __always_inline int denied(const struct outcome *o)
{
	return ((o->egress.enforced | o->ingress.enforced) & WORD_DENY) != 0;
}

/*
 * The other way round: client and server of a connection of which that is a guess.
 * The side is the one that denied it, never another reading of the active word.
 */
static __always_inline int allowed_reversed(const struct question *q, struct outcome *o, __u32 side)
{
	struct outcome reversed = {};
	struct question back = {
		.client = q->server,
		.server = q->client,
		.port = PROTO_TCP << 16 | q->client_port,
		.client_port = q->port,
		.family = q->family,
		.own = (q->own & OWN_CLIENT ? OWN_SERVER : 0) | (q->own & OWN_SERVER ? OWN_CLIENT : 0),
	};
	judge(&back, &reversed, side);
	if (denied(&reversed))
		return 0;
	*o = reversed;
	return 1;
}

static __always_inline void count_word(__u32 word, __u32 bytes)
{
	__u32 rule = word & WORD_RULE;
	struct counter *c = bpf_map_lookup_elem(&counters, &rule);
	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

static __always_inline void count(const struct outcome *o, __u32 bytes)
{
	count_word(o->egress.enforced, bytes);
	count_word(o->ingress.enforced, bytes);
}

#endif
