/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types that the programs read. Only the named fields matter: the
 * loader moves every access to where the running kernel has the field (CO-RE), so
 * that no vmlinux.h is needed to build and one object runs on all kernels.
 */
#ifndef PALISADE_KERNEL_H
#define PALISADE_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net_device {
	int ifindex;
};

struct skb_ext {
	__u8 offset[1];
};

struct sk_buff {
	unsigned int len;
	unsigned long _nfct;
	struct sock *sk;
	__u8 active_extensions;
	struct skb_ext *extensions;
};

struct nf_bridge_info {
	int physinif;
};

/* Before 6.8 the bridge port was kept as a pointer. */
struct nf_bridge_info___pointer {
	struct net_device *physindev;
};

struct nf_hook_state {
	__u8 hook;
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
};

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct ip_ct_tcp_state {
	__u8 flags;
};

struct ip_ct_tcp {
	struct ip_ct_tcp_state seen[2];
};

union nf_conntrack_proto {
	struct ip_ct_tcp tcp;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
	union nf_conntrack_proto proto;
};

#pragma clang attribute pop

enum skb_ext_id {
	SKB_EXT_BRIDGE_NF,
};

/* The context is no kernel object: the verifier rewrites its two loads. */
struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr__uninit) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer__opt, __u32 buffer__szk) __ksym;

/* Numbers of the kernel's interface to user space. */
enum {
	NF_DROP = 0,
	NF_ACCEPT = 1,

	HOOK_PRE_ROUTING = 0,
	HOOK_LOCAL_IN = 1,
	HOOK_POST_ROUTING = 4,

	FAMILY_IPV4 = 2,
	FAMILY_IPV6 = 10,

	PROTO_HOPOPTS = 0,
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_DSTOPTS = 60,
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136,

	CT_NEW = 2,
	CT_RELATED = 1,
	CT_REPLY = 3, /* 3 and 4 are the replies of established and related */
	CT_RELATED_REPLY = 4,
	CT_STATUS_TEMPLATE = 1 << 11,
	CT_TCP_LIBERAL = 8,
};

#endif
