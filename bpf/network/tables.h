/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs read and write: README.md says what each field means. Every
 * table of a generation lives in one array of 64-byte lines, a "side"; there are
 * two sides, and `active` says which one judges. The Go mirror is bpf/layout.go.
 */
#ifndef PALISADE_TABLES_H
#define PALISADE_TABLES_H

#include "../include/kernel.h"

#define FORMAT 1

/* Bits of an address's value, of a range's value. */
#define PEER_LOCAL (1U << 31)	/* the number is a slot, else a class */
#define PEER_KNOWN (1U << 30)	/* set in every value: zero is no entry */
#define PEER_UNBOUND (1U << 29) /* of the node's pod ranges, and nobody has it */
#define PEER_GROUP (1U << 28)	/* multicast or broadcast */
#define PEER_NUMBER 0xffffffU

/* Bits of a word of an answer. */
#define WORD_DENY (1U << 31)
#define WORD_LOG (1U << 30)
#define WORD_RULE 0xffffffU

/* Rule slots of what no snapshot holds. Slots from RULE_FIRST on belong to rules. */
enum builtin {
	RULE_NONE = 0,	    /* nothing was judged: no tables yet */
	RULE_BROKEN = 1,    /* the tables are damaged: denied */
	RULE_NOBODY = 2,    /* this end is no endpoint of this node */
	RULE_SELF = 3,	    /* a pod reaches itself */
	RULE_OWN_NODE = 4,  /* a node reaches its pods */
	RULE_SPOOFED = 5,   /* the sender's address is not the interface's */
	RULE_UNBOUND = 6,   /* an address of the pod ranges that nobody has */
	RULE_GROUP = 7,	    /* multicast while a pod is isolated */
	RULE_DISCOVERY = 8, /* neighbour discovery, IGMP, MLD */
	RULE_MALFORMED = 9, /* no header where one must be */
	RULE_FIRST = 32,
};

/* Bits of header.flags. */
#define SIDE_DENY_UNBOUND_EGRESS 1U
#define SIDE_DENY_UNBOUND_INGRESS 2U
#define SIDE_DENY_GROUPS 4U

/* Bits of slot.owner: below the flag stands the endpoint's number. */
#define SLOT_HAS_INTERFACE (1U << 31)

/* Line 0: what every verdict needs. Bases are numbers of lines. */
struct header {
	__u64 counter;
	__u32 epoch;
	__u32 term;
	__u32 address4_base;
	__u32 address4_mask;
	__u32 address6_base;
	__u32 address6_mask;
	__u32 slot_base;
	__u32 cell_base;
	__u32 stride;
	__u32 record_base;
	__u32 segment_base;
	__u32 flags;
	__u32 seed;
	__u32 interface_base;
};

/* Line 1: what fewer need. */
struct edges {
	__u32 range4_base;
	__u32 range4_lines;
	__u32 range6_base;
	__u32 range6_lines;
	__u32 interface_mask;
	__u32 rule_base;
	__u32 rule_lines;
	__u32 pad;
	__u64 reserved[4];
};

/* Line 2: what only agents read. */
struct seal {
	__u32 format;
	__u32 dirty;
	__u32 lines;
	__u32 pad;
	__u64 sum;
	__u8 digest[32];
	__u64 reserved;
};

/* A line of the names of rule slots, likewise. */
struct rules {
	__u8 id[4][16];
};

struct entry4 {
	__u32 key;
	__u32 value;
};

/* A bucket of exact keys (addresses, interfaces), or eight sorted starts of ranges. */
struct bucket4 {
	struct entry4 entry[8];
};

struct key6 {
	__u64 high;
	__u64 low;
};

struct bucket6 {
	struct key6 key[3];
	__u32 value[3];
	__u32 pad;
};

struct slot {
	__u32 class;
	__u32 ingress;
	__u32 egress;
	__u32 owner;
};

struct slots {
	struct slot slot[4];
};

struct cells {
	__u16 record[32];
};

struct answer {
	__u32 enforced;
	__u32 staged;
};

struct segment {
	__u32 low;
	__u32 high;
	struct answer answer;
};

struct record {
	struct answer answer;
	__u32 segments;
	__u32 offset;
	struct segment segment[3];
};

struct segments {
	struct segment segment[4];
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct limit {
	__u64 window;
	__u32 sent;
	__u32 lost;
};

struct pair_key {
	__u32 rule; /* WORD_DENY: egress */
	__u32 slot;
	__u32 class;
};

struct pair {
	__u64 connections;
	__u64 last;
};

#define EVENT_REPLY 1
#define EVENT_NEW 2
#define EVENT_UNTRACKED 4

struct event {
	__u64 time;
	__u64 counter;
	__u32 epoch;
	__u32 term;
	struct key6 client;
	struct key6 server;
	struct answer egress;
	struct answer ingress;
	__u32 interface;
	__u32 length;
	__u16 client_port;
	__u16 server_port;
	__u8 protocol;
	__u8 family;
	__u8 hook;
	__u8 flags;
};

/* A question to judge(): addresses and port in host byte order. */
struct question {
	struct key6 client;
	struct key6 server;
	__u32 port; /* protocol << 16 | the server's port, or ICMP's type << 8 | code */
	__u8 family;
	__u8 own; /* OWN_CLIENT, OWN_SERVER: that end is this node itself */
	__u16 client_port;
};

#define OWN_CLIENT 1
#define OWN_SERVER 2

struct outcome {
	struct answer egress;
	struct answer ingress;
	__u64 counter;
	__u32 epoch;
	__u32 term;
	__u32 client; /* PEER_* of both ends */
	__u32 server;
};

struct side {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct side);
} sides SEC(".maps");

/* One entry: which side judges. The only word that a flip writes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct limit);
} limits SEC(".maps");

/* What came in, by interface: the low bits of its number, so that some share a cell. */
#define INTERFACE_CELLS 4096
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, INTERFACE_CELLS);
	__type(key, __u32);
	__type(value, struct counter);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct pair_key);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

#endif
