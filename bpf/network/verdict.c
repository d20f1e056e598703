// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The programs behind the dispatcher: who may talk to whom, and who may say who he is. */
#include "judge.h"
#include "events.h"

char palisade_license[] SEC("license") = "Dual BSD/GPL";

struct tcp_flags {
	__u8 offset;
	__u8 flags;
};

#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* Flags of the packet's TCP header; none if it is an ICMP error; -1 if unreadable. */
static __noinline int tcp_flags(struct sk_buff *skb, __u8 family)
{
	struct bpf_dynptr packet;
	struct question scratch = {};
	__u32 offset = 0;

	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &packet))
		return -1;
	int protocol = parse_addresses(skb, &packet, &scratch, family, &offset);
	if (protocol != PROTO_TCP)
		return protocol < 0 ? -1 : 0;
	struct tcp_flags buffer, *tcp = bpf_dynptr_slice(&packet, offset + 12, &buffer, sizeof(buffer));
	return tcp ? tcp->flags : -1;
}

/*
 * Conntrack met this TCP connection in the middle: who opened it is a guess, and
 * the guess may be the wrong way round. It marks such entries liberal on both sides.
 * A SYN leaves no doubt, and must not profit: the entry could be made for it.
 */
static __always_inline int picked_up(struct bpf_nf_ctx *ctx, const struct passage *p)
{
	if (!p->conn || p->question.port >> 16 != PROTO_TCP)
		return 0;
	if (!(p->conn->proto.tcp.seen[0].flags & p->conn->proto.tcp.seen[1].flags & CT_TCP_LIBERAL))
		return 0;
	int flags = tcp_flags(ctx->skb, p->question.family);
	return flags >= 0 && !(flags & TCP_SYN);
}

static __always_inline int verdict(struct bpf_nf_ctx *ctx)
{
	struct passage p = {};
	struct outcome o = {};
	/* Read once: a packet is judged by one side, also where it is judged twice. */
	__u32 side = active_side();

	passage_of(ctx, &p);
	if (p.discovery) {
		count_word(RULE_DISCOVERY, ctx->skb->len);
		return NF_ACCEPT;
	}
	judge(&p.question, &o, side);
	/* What cannot be read cannot be accepted, where it is anybody's business here. */
	if (p.malformed && (o.client | o.server) & (PEER_LOCAL | PEER_UNBOUND | PEER_GROUP))
		o.egress = o.ingress = certain(RULE_MALFORMED | WORD_DENY);
	int deny = denied(&o);
	if (deny && picked_up(ctx, &p) && allowed_reversed(&p.question, &o, side))
		deny = 0;
	count(&o, ctx->skb->len);
	if (deny || p.fresh) {
		__u32 why = reason(&o);
		if (p.fresh)
			note_pairs(&o);
		if (why) {
			if (came_by_bridge(ctx->skb))
				p.interface = bridge_port(ctx->skb);
			else if (ctx->state->in)
				p.interface = ctx->state->in->ifindex;
			report(&p, &o, why, ctx->skb->len << 8 | ctx->state->hook);
		}
	}
	return deny ? NF_DROP : NF_ACCEPT;
}

SEC("netfilter")
int palisade_verdict(struct bpf_nf_ctx *ctx)
{
	return verdict(ctx);
}

/* The senders that a side knows: whether the packet's source fits where it came in. */
static __always_inline int honest(void *side, const struct header *h, const struct passage *p)
{
	struct edges *e = line(side, 1);
	if (!e)
		return 0;
	__u32 owner = find4(side, h->interface_base, e->interface_mask, h->seed, p->interface);
	__u32 value = known(side, h, &p->question.client, p->question.family);
	if (!(value & PEER_LOCAL))
		return !owner;
	const struct slot *s = slot_of(side, h, value);
	if (!s)
		return 0;
	if (owner)
		return (s->owner & PEER_NUMBER) == (owner & PEER_NUMBER);
	return !(s->owner & SLOT_HAS_INTERFACE);
}

/*
 * Everything that an interface brings is counted, before anything is found out about
 * it: what the interface itself counts beyond that goes around the hooks.
 */
static __always_inline void note_interface(__u32 interface, __u32 bytes)
{
	__u32 cell = interface & (INTERFACE_CELLS - 1);
	struct counter *c = bpf_map_lookup_elem(&interfaces, &cell);
	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/*
 * Before conntrack, where a bridged packet still carries its port: a packet from a
 * pod's interface carries one of the pod's addresses, and nobody else's packet does.
 */
static __always_inline int guard(struct bpf_nf_ctx *ctx)
{
	struct passage p = {};
	struct outcome o = {};
	const struct nf_hook_state *hook = ctx->state;

	if (came_by_bridge(ctx->skb))
		p.interface = bridge_port(ctx->skb);
	else if (hook->in)
		p.interface = hook->in->ifindex;
	else
		return NF_ACCEPT;
	note_interface(p.interface, ctx->skb->len);
	void *side = side_of(active_side());
	struct header *h = side ? line(side, 0) : NULL;
	if (!h)
		return NF_ACCEPT;
	p.question.family = hook->pf;
	/* Only the source matters here; the verdict sees to the rest. */
	from_headers(ctx->skb, &p, p.question.family);
	if ((p.discovery && is_link_source(&p.question)) || honest(side, h, &p))
		return NF_ACCEPT;
	p.fresh = 1;
	o.egress = o.ingress = certain(RULE_SPOOFED | WORD_DENY);
	o.counter = h->counter;
	o.epoch = h->epoch;
	o.term = h->term;
	count_word(o.egress.enforced, ctx->skb->len);
	report(&p, &o, o.egress.enforced, ctx->skb->len << 8 | hook->hook);
	return NF_DROP;
}

SEC("netfilter")
int palisade_guard(struct bpf_nf_ctx *ctx)
{
	return guard(ctx);
}
