/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hooks about connections: by the security framework, and by cgroup. */
#ifndef PALISADE_RUNTIME_NETWORK_H
#define PALISADE_RUNTIME_NETWORK_H

#include "decide.h"
#include <bpf/bpf_tracing.h>

#define PROTO_MPTCP 262
#define PROTO_SMC 256
#define FAMILY_SMC 43
#define MSG_FASTOPEN 0x20000000

/* An address of a socket as the kernel has it, for either family. */
struct socket_address {
	__u16 family;
	__be16 port;
	__be32 ipv4; /* IPv6: flow */
	__be64 ipv6[2];
};

/* IPv4 within IPv6 is IPv4. */
static __always_inline void set_ipv6(struct rt_query *q, __u64 high, __u64 low)
{
	q->family = FAMILY_IPV6;
	q->address.high = high;
	q->address.low = low;
	if (high == 0 && low >> 32 == 0xffff) {
		q->family = FAMILY_IPV4;
		q->address.low = (__u32)low;
	}
}

static __always_inline void set_ipv4(struct rt_query *q, __be32 address)
{
	q->family = FAMILY_IPV4;
	q->address.high = 0;
	q->address.low = bpf_ntohl(address);
}

/*
 * A socket of shared memory communication, which is TCP to whoever does not speak that: a
 * socket within, of which nobody is asked, binds, listens and connects.
 */
static __always_inline int is_smc(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_family) == FAMILY_SMC || BPF_CORE_READ(sk, sk_protocol) == PROTO_SMC;
}

static __always_inline __u8 protocol_of(struct sock *sk)
{
	__u16 protocol = BPF_CORE_READ(sk, sk_protocol);
	return protocol == PROTO_MPTCP || is_smc(sk) ? PROTO_TCP : protocol;
}

static __always_inline int is_internet(__u16 family)
{
	return family == FAMILY_IPV4 || family == FAMILY_IPV6;
}

/* 0 if the query holds the address now. */
static __always_inline int set_address(struct rt_query *q, __u16 family, const void *address)
{
	struct socket_address a = {};
	bpf_probe_read_kernel(&a, sizeof(a), address);
	if (a.family != 0)
		family = a.family; /* without one the socket's own is meant */
	if (!is_internet(family))
		return -1;
	q->port = bpf_ntohs(a.port);
	if (family == FAMILY_IPV4)
		set_ipv4(q, a.ipv4);
	else
		set_ipv6(q, bpf_be64_to_cpu(a.ipv6[0]), bpf_be64_to_cpu(a.ipv6[1]));
	return 0;
}

/* Where a socket is bound to. */
static __always_inline void set_own(struct rt_query *q, struct sock *sk)
{
	struct sock_common *c = &sk->__sk_common;
	q->port = BPF_CORE_READ(c, skc_num);
	if (BPF_CORE_READ(c, skc_family) == FAMILY_IPV4) {
		set_ipv4(q, BPF_CORE_READ(c, skc_rcv_saddr));
		return;
	}
	__be64 own[2] = {};
	bpf_core_read(own, sizeof(own), &c->skc_v6_rcv_saddr);
	set_ipv6(q, bpf_be64_to_cpu(own[0]), bpf_be64_to_cpu(own[1]));
}

/* address is NULL where the socket's own is meant; flags are RT_UNRESOLVABLE if there are more. */
static __always_inline long socket_operation_with(struct sock *sk, __u32 operation, const void *address, __u8 flags)
{
	if (!sk)
		return 0;
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family == FAMILY_SMC)
		family = FAMILY_IPV4; /* if the address does not say */
	if (!is_internet(family))
		return 0;
	int number = begin(RT_NETWORK);
	if (number < 0)
		return refuse(number == NO_ROOM);
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	struct rt_query *q = &s->event.query;
	q->operations = operation;
	q->protocol = protocol_of(sk);
	q->flags |= flags;
	if (!address && is_smc(sk)) {
		q->flags |= RT_UNRESOLVABLE; /* the socket within knows it */
	} else if (!address) {
		set_own(q, sk);
	} else if (set_address(q, family, address)) {
		give_scratch(s);
		return 0;
	}
	return refuse(settle(step_network, number));
}

static __always_inline long socket_operation(struct sock *sk, __u32 operation, const void *address)
{
	return socket_operation_with(sk, operation, address, 0);
}

SEC("lsm/socket_connect")
int BPF_PROG(palisade_socket_connect, struct socket *socket, void *address)
{
	__u16 family = 0;
	bpf_probe_read_kernel(&family, sizeof(family), address);
	return is_internet(family) ? socket_operation(socket->sk, RT_CONNECT, address) : 0;
}

SEC("lsm/socket_bind")
int BPF_PROG(palisade_socket_bind, struct socket *socket, void *address)
{
	return socket_operation(socket->sk, RT_BIND, address);
}

SEC("lsm/socket_listen")
int BPF_PROG(palisade_socket_listen, struct socket *socket)
{
	return socket_operation(socket->sk, RT_LISTEN, NULL);
}

/* What comes with a message besides its content. */
struct ancillary {
	__u64 at;
	__u64 left;
	__u32 found;
};

#define ANCILLARY_MOST 64
#define SCTP_LEVEL 132
#define SCTP_ADDRESS_4 7 /* SCTP_DSTADDRV4 */
#define SCTP_ADDRESS_6 8

static long ancillary_step(__u64 i, struct ancillary *a)
{
	struct {
		__u64 length;
		int level;
		int type;
	} head = {};
	if (a->left < sizeof(head) || bpf_probe_read_kernel(&head, sizeof(head), (void *)a->at))
		return 1;
	a->found = head.level == SCTP_LEVEL && (head.type == SCTP_ADDRESS_4 || head.type == SCTP_ADDRESS_6);
	__u64 next = (head.length + 7) & ~7ULL;
	if (a->found || next < sizeof(head) || next > a->left)
		return 1;
	a->at += next;
	a->left -= next;
	return 0;
}

/* Whether SCTP is told of further addresses of whom it connects to by sending. */
static __always_inline int more_addresses(struct msghdr *message)
{
	struct ancillary a = { .at = (__u64)BPF_CORE_READ(message, msg_control), .left = BPF_CORE_READ(message, msg_controllen) };
	/* 0 if there was an end to it. */
	return bpf_loop(ANCILLARY_MOST, ancillary_step, &a, 0) == ANCILLARY_MOST || a.found;
}

/* TCP that begins with data connects here, and SCTP to whom it never met. */
SEC("lsm/socket_sendmsg")
int BPF_PROG(palisade_socket_sendmsg, struct socket *socket, struct msghdr *message)
{
	void *address = BPF_CORE_READ(message, msg_name);
	if (!address)
		return 0; /* to whom the socket is connected: that was judged as Connect, or accepted */
	struct sock *sk = BPF_CORE_READ(socket, sk); /* it may be missing */
	__u32 operations = RT_SEND;
	__u8 flags = 0;
	if (protocol_of(sk) == PROTO_SCTP) {
		operations |= RT_CONNECT;
		flags = more_addresses(message) ? RT_UNRESOLVABLE : 0;
	} else if (BPF_CORE_READ(message, msg_flags) & MSG_FASTOPEN) {
		operations |= RT_CONNECT;
	}
	return socket_operation_with(sk, operations, address, flags);
}

/* What the other end asks for, which comes while any process runs. */
#define SCTP_PEER_ADDS bpf_htons(0xc001)
#define SCTP_PEER_PREFERS bpf_htons(0xc004)

#define SIZE_OF_ADDRESS_4 16
#define SIZE_OF_ADDRESS_6 28

/* SCTP has more than one address to bind and to connect to: all but the first count as any. */
SEC("lsm/sctp_bind_connect")
int BPF_PROG(palisade_sctp_bind_connect, struct sock *sk, int option, void *address, int length)
{
	if (option == SCTP_PEER_ADDS || option == SCTP_PEER_PREFERS)
		return 0;
	/* SCTP_PRIMARY_ADDR, SCTP_SET_PEER_PRIMARY_ADDR, SCTP_SOCKOPT_BINDX_ADD bind. */
	int binds = option == 6 || option == 5 || option == 100;
	__u16 family = 0;
	bpf_probe_read_kernel(&family, sizeof(family), address);
	int several = length > (family == FAMILY_IPV4 ? SIZE_OF_ADDRESS_4 : SIZE_OF_ADDRESS_6);
	return socket_operation_with(sk, binds ? RT_BIND : RT_CONNECT, address, several ? RT_UNRESOLVABLE : 0);
}

/* Where the security framework cannot be had: what cgroups offer. 1 lets go on. */
static __always_inline int by_cgroup(struct bpf_sock_addr *ctx, __u32 operation, int v6)
{
	int number = begin(RT_NETWORK);
	if (number < 0)
		return number != NO_ROOM;
	struct scratch *s = scratch_at(number);
	if (!s)
		return 0;
	struct rt_query *q = &s->event.query;
	q->operations = operation;
	q->protocol = ctx->protocol == PROTO_MPTCP ? PROTO_TCP : ctx->protocol;
	q->port = bpf_ntohs(ctx->user_port);
	if (v6)
		set_ipv6(q, (__u64)bpf_ntohl(ctx->user_ip6[0]) << 32 | bpf_ntohl(ctx->user_ip6[1]), (__u64)bpf_ntohl(ctx->user_ip6[2]) << 32 | bpf_ntohl(ctx->user_ip6[3]));
	else
		set_ipv4(q, ctx->user_ip4);
	return settle(step_network, number) == 0;
}

SEC("cgroup/connect4")
int palisade_connect4(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_CONNECT, 0);
}

SEC("cgroup/connect6")
int palisade_connect6(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_CONNECT, 1);
}

SEC("cgroup/sendmsg4")
int palisade_sendmsg4(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_SEND, 0);
}

SEC("cgroup/sendmsg6")
int palisade_sendmsg6(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_SEND, 1);
}

SEC("cgroup/bind4")
int palisade_bind4(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_BIND, 0);
}

SEC("cgroup/bind6")
int palisade_bind6(struct bpf_sock_addr *ctx)
{
	return by_cgroup(ctx, RT_BIND, 1);
}

#endif
