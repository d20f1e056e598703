/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a packet at a hook to a question: conntrack's tuples first, headers without them. */
#ifndef PALISADE_PACKET_H
#define PALISADE_PACKET_H

#include "tables.h"

/* What the hook knows beyond the question. */
struct passage {
	struct question question;
	const struct nf_conn *conn; /* NULL: untracked, invalid */
	__u32 interface;	    /* by which the packet came in; 0: it starts here */
	__u8 reply;
	__u8 fresh;	/* the first packet of a connection, or none is known */
	__u8 discovery; /* passes, whatever policies say */
	__u8 malformed;
};

static __always_inline int has_ports(__u8 protocol)
{
	return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP || protocol == PROTO_UDPLITE ||
	       protocol == PROTO_DCCP;
}

static __always_inline int is_icmp(__u8 protocol)
{
	return protocol == PROTO_ICMP || protocol == PROTO_ICMPV6;
}

/*
 * What keeps a link working and passes whatever policies say, as long as it stays on
 * the link: an address for all hosts (IGMP), a hop limit that no router leaves alone
 * (neighbour discovery), one that ends here (MLD). Otherwise it would be a tunnel.
 */
static __always_inline int is_discovery(const struct question *q, __u8 protocol, __u8 type, __u8 hops)
{
	if (protocol == PROTO_IGMP)
		return q->family == FAMILY_IPV4 && q->server.low >> 28 == 0xe;
	if (protocol != PROTO_ICMPV6)
		return 0;
	if (type >= 133 && type <= 137)
		return hops == 255;
	return ((type >= 130 && type <= 132) || type == 143) && hops == 1;
}

/* A source that names nobody beyond the link: none yet, or fe80::/10. */
static __always_inline int is_link_source(const struct question *q)
{
	if (!(q->client.high | q->client.low))
		return 1;
	return q->family != FAMILY_IPV4 && q->client.high >> 54 == 0xfe80 >> 6;
}

static __always_inline void key_of(struct key6 *key, const union nf_inet_addr *a, __u8 family)
{
	if (family == FAMILY_IPV4) {
		key->high = 0;
		key->low = bpf_ntohl(a->all[0]);
		return;
	}
	key->high = (__u64)bpf_ntohl(a->all[0]) << 32 | bpf_ntohl(a->all[1]);
	key->low = (__u64)bpf_ntohl(a->all[2]) << 32 | bpf_ntohl(a->all[3]);
}

/*
 * The client is the original source, the server and its port the source of replies:
 * for a Service the original destination is the ClusterIP, which no policy knows.
 */
static __always_inline void from_conntrack(struct passage *p, const struct nf_conn *conn, __u8 family)
{
	struct question *q = &p->question;
	__u8 protocol = conn->tuplehash[0].tuple.dst.protonum;
	__u16 port = 0;

	key_of(&q->client, &conn->tuplehash[0].tuple.src.u3, family);
	key_of(&q->server, &conn->tuplehash[1].tuple.src.u3, family);
	if (has_ports(protocol)) {
		port = bpf_ntohs(conn->tuplehash[1].tuple.src.u.all);
		q->client_port = bpf_ntohs(conn->tuplehash[0].tuple.src.u.all);
	} else if (is_icmp(protocol)) {
		port = bpf_ntohs(conn->tuplehash[0].tuple.dst.u.all);
	}
	q->port = (__u32)protocol << 16 | port;
	p->discovery = is_discovery(q, protocol, 0, 0);
}

struct ipv4_header {
	__u8 version_length;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6_header {
	__be32 version_flow;
	__be16 length;
	__u8 next;
	__u8 hops;
	__be32 source[4];
	__be32 destination[4];
};

struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
};

#define EXTENSIONS 8

struct extensions {
	struct sk_buff *skb;
	__u32 offset;
	int next;
};

static __always_inline int is_extension(int protocol)
{
	return protocol == PROTO_HOPOPTS || protocol == PROTO_ROUTING || protocol == PROTO_DSTOPTS || protocol == PROTO_AH ||
	       protocol == PROTO_FRAGMENT;
}

/* One header on; -1 where there is none to read. */
static long skip_extension(__u64 i, struct extensions *x)
{
	struct bpf_dynptr packet;
	struct extension buffer, *e;

	if (!is_extension(x->next))
		return 1;
	if (bpf_dynptr_from_skb((struct __sk_buff *)x->skb, 0, &packet))
		return 1;
	e = bpf_dynptr_slice(&packet, x->offset, &buffer, sizeof(buffer));
	/* Defragmentation is on: a later fragment alone is nobody's packet. */
	if (!e || (x->next == PROTO_FRAGMENT && bpf_ntohs(e->fragment) & 0xfff8)) {
		x->next = -1;
		return 1;
	}
	x->offset += x->next == PROTO_FRAGMENT ? 8 : x->next == PROTO_AH ? (e->length + 2) * 4 : (e->length + 1) * 8;
	x->next = e->next;
	return 0;
}

/* The protocol after IPv6's extension headers; *offset moves to its header. */
static __always_inline int skip_extensions(struct sk_buff *skb, int next, __u32 *offset)
{
	struct extensions x = { .skb = skb, .offset = *offset, .next = next };
	if (!is_extension(next))
		return next;
	bpf_loop(EXTENSIONS, skip_extension, &x, 0);
	*offset = x.offset;
	return is_extension(x.next) ? -1 : x.next;
}

/* Addresses and protocol of a packet without a connection; 0 if they are there. */
static __always_inline int parse_addresses(struct sk_buff *skb, struct bpf_dynptr *packet, struct question *q, __u8 family, __u32 *offset)
{
	if (family == FAMILY_IPV4) {
		struct ipv4_header buffer, *ip = bpf_dynptr_slice(packet, 0, &buffer, sizeof(buffer));
		if (!ip)
			return -1;
		q->client.high = q->server.high = 0;
		q->client.low = bpf_ntohl(ip->source);
		q->server.low = bpf_ntohl(ip->destination);
		if (bpf_ntohs(ip->fragment) & 0x1fff)
			return -1;
		*offset = (ip->version_length & 15) * 4;
		return ip->protocol;
	}
	struct ipv6_header buffer, *ip = bpf_dynptr_slice(packet, 0, &buffer, sizeof(buffer));
	if (!ip)
		return -1;
	q->client.high = (__u64)bpf_ntohl(ip->source[0]) << 32 | bpf_ntohl(ip->source[1]);
	q->client.low = (__u64)bpf_ntohl(ip->source[2]) << 32 | bpf_ntohl(ip->source[3]);
	q->server.high = (__u64)bpf_ntohl(ip->destination[0]) << 32 | bpf_ntohl(ip->destination[1]);
	q->server.low = (__u64)bpf_ntohl(ip->destination[2]) << 32 | bpf_ntohl(ip->destination[3]);
	*offset = sizeof(buffer);
	return skip_extensions(skb, ip->next, offset);
}

/* A packet without a connection is judged as the first of one, by its headers. */
static __noinline int from_headers(struct sk_buff *skb, struct passage *p, __u8 family)
{
	struct question *q = &p->question;
	struct bpf_dynptr packet;
	__u32 offset = 0;

	if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &packet))
		return -1;
	int protocol = parse_addresses(skb, &packet, q, family, &offset);
	if (protocol < 0)
		return -1;
	q->port = (__u32)protocol << 16;
	if (has_ports(protocol)) {
		__be16 buffer[2], *ports = bpf_dynptr_slice(&packet, offset, buffer, sizeof(buffer));
		if (!ports)
			return -1;
		q->client_port = bpf_ntohs(ports[0]);
		q->port |= bpf_ntohs(ports[1]);
	} else if (is_icmp(protocol)) {
		__u8 buffer[2], *type = bpf_dynptr_slice(&packet, offset, buffer, sizeof(buffer));
		if (!type)
			return -1;
		q->port |= (__u32)type[0] << 8 | type[1];
		/* The hop limit of IPv6; of IPv4 nobody asks. */
		__u8 hop, *hops = bpf_dynptr_slice(&packet, 7, &hop, sizeof(hop));
		p->discovery = hops && is_discovery(q, protocol, type[0], *hops);
	} else {
		p->discovery = is_discovery(q, protocol, 0, 0);
	}
	return 0;
}

static __always_inline int came_by_bridge(const struct sk_buff *skb)
{
	/* No such constant, no bridge netfilter: then the bit means something else. */
	if (!bpf_core_enum_value_exists(enum skb_ext_id, SKB_EXT_BRIDGE_NF))
		return 0;
	return (skb->active_extensions >> bpf_core_enum_value(enum skb_ext_id, SKB_EXT_BRIDGE_NF)) & 1;
}

/* The bridge's port by which a bridged packet came in. */
static __always_inline __u32 bridge_port(const struct sk_buff *skb)
{
	struct skb_ext *extensions = skb->extensions;
	__u8 chunk = 0;

	bpf_core_read(&chunk, 1, &extensions->offset[bpf_core_enum_value(enum skb_ext_id, SKB_EXT_BRIDGE_NF)]);
	void *info = (void *)extensions + (__u32)chunk * 8;
	if (bpf_core_field_exists(struct nf_bridge_info, physinif)) {
		__u32 port = 0;
		bpf_core_read(&port, sizeof(port), &((struct nf_bridge_info *)info)->physinif);
		return port;
	}
	struct net_device *device = NULL;
	__u32 port = 0;
	bpf_core_read(&device, sizeof(device), &((struct nf_bridge_info___pointer *)info)->physindev);
	bpf_core_read(&port, sizeof(port), &device->ifindex);
	return port;
}

/* The connection of a packet, if conntrack has one. */
static __always_inline const struct nf_conn *connection(const struct sk_buff *skb, __u32 *state)
{
	unsigned long word = skb->_nfct;
	*state = word & 7;
	if (!(word & ~7UL))
		return NULL;
	const struct nf_conn *conn = bpf_rdonly_cast((void *)(word & ~7UL), bpf_core_type_id_kernel(struct nf_conn));
	return conn->status & CT_STATUS_TEMPLATE ? NULL : conn;
}

static __always_inline void passage_of(struct bpf_nf_ctx *ctx, struct passage *p)
{
	struct sk_buff *skb = ctx->skb;
	const struct nf_hook_state *hook = ctx->state;
	__u32 state;

	p->question.family = hook->pf;
	p->conn = connection(skb, &state);
	if (p->conn) {
		from_conntrack(p, p->conn, p->question.family);
		/* A reply is one only with an entry: 7, untracked, would look like one. */
		p->reply = state == CT_REPLY || state == CT_RELATED_REPLY;
		p->fresh = state == CT_NEW;
	} else {
		p->malformed = from_headers(skb, p, p->question.family) != 0;
		p->fresh = 1;
	}

	int here = 0; /* the end at this host: 1 the sender, 2 the receiver */
	if (hook->hook == HOOK_LOCAL_IN)
		here = 2;
	else if (!hook->in && skb->sk && !came_by_bridge(skb))
		here = 1;
	if (here)
		p->question.own = (here == 1) == !p->reply ? OWN_CLIENT : OWN_SERVER;
}

#endif
