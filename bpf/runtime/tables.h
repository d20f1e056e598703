/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The lines of runtime rules, which stand in the same side as the network's: README.md
 * says what each field means. The Go mirror is bpf/runtime.go.
 */
#ifndef PALISADE_RUNTIME_TABLES_H
#define PALISADE_RUNTIME_TABLES_H

#include "../network/tables.h"

#define RT_PATH_BYTES 4096 /* a path has at most one byte less */
#define RT_CHAIN 16

/* Sections of rules. */
enum rt_section {
	RT_EXECUTABLES,
	RT_FILES,
	RT_PRIVILEGES,
	RT_NETWORK,
};

/* Operations of the section files. */
enum rt_file_operation {
	RT_READ = 1,
	RT_WRITE = 2,
	RT_CREATE = 4,
	RT_DELETE = 8,
	RT_RENAME = 16,
	RT_LINK = 32,
	RT_ATTRIBUTES = 64,
	RT_MAP_EXECUTABLE = 128,
};

/* Operations of the section privileges. */
enum rt_privilege_operation {
	RT_CAPABILITY = 1,
	RT_SET_USER = 2,
	RT_SET_GROUP = 4,
	RT_USER_NAMESPACE = 8,
	RT_JOIN_NAMESPACE = 16,
	RT_PTRACE = 32,
	RT_MOUNT = 64,
	RT_CHROOT = 128,
	RT_PIVOT_ROOT = 256,
	RT_LOAD_MODULE = 512,
	RT_LOAD_BPF = 1024,
	RT_WRITE_EXEC_MEMORY = 2048,
	RT_IO_URING = 4096,
	RT_RAW_SOCKET = 8192,
	RT_PACKET_SOCKET = 16384,
};

/* Operations of the section network. */
enum rt_network_operation {
	RT_CONNECT = 1,
	RT_BIND = 2,
	RT_LISTEN = 4,
	RT_SEND = 8,
};

/* Where an object comes from, and whose it is. */
enum rt_origin {
	RT_IMAGE = 1,
	RT_MODIFIED = 2,
	RT_MEMORY = 4,
	RT_OUTSIDE = 8,
};

enum rt_owner {
	RT_OWNER = 1,
	RT_NOT_OWNER = 2,
};

/* Bits of rt_query.flags. */
#define RT_MAPPING 1U	   /* an executable mapping: isolation only if not of the image */
#define RT_UNRESOLVABLE 2U /* the object's path is not known */
#define RT_DIRECTORY 4U	   /* the object is a directory, whose contents go where it goes */

/* Bits of rt_chain.flags. */
#define RT_CHAIN_OVERFLOW 1U /* there were more executables than the chain holds */

/* A word of an answer: rank << 40 | flags << 32 | slot of the rule. */
#define RT_DENY 1U
#define RT_KILL 2U
#define RT_LOG 4U
#define RT_NOTHING (~0ULL)
#define RT_RANK_DEFAULT (0xffffffULL << 40)

/* Bits of rt_ruleset.needs and rt_subject.needs: what a hook must find out. */
#define RT_NEEDS_SECTION(section) (1U << (section)) /* some rule of the section */
#define RT_NEEDS_FROM 16U			    /* the chain of executables */
#define RT_NEEDS_ORIGIN 32U
#define RT_NEEDS_OWNER 64U
#define RT_NEEDS_MOVES 128U	/* renames of directories above protected objects */
#define RT_NEEDS_ARGUMENTS 256U /* the agent wants to see command lines */

/* Bits of rt_ruleset.flags. */
#define RT_HAS_EXACT(section) (1U << (section)) /* rows of whole paths: executables, files */
#define RT_HAS_PREFIXES(section) (4U << (section))
#define RT_HAS_SUFFIXES(section) (16U << (section))
#define RT_DENIES(section) (256U << (section))		/* a Deny or Kill in force, in any section */
#define RT_DENIES_STAGED(section) (4096U << (section))	/* likewise in the staged world */

/* What a key of a row is made of, besides its text. */
enum rt_kind {
	RT_KIND_NODE,	   /* a path by itself, as in chains of executables */
	RT_KIND_EXACT,	   /* a whole path */
	RT_KIND_DIRECTORY, /* a directory, itself or above */
	RT_KIND_PREFIX,	   /* the first bytes of a path */
	RT_KIND_SUFFIX,	   /* the last bytes */
	RT_KIND_ANCESTOR,  /* a directory above what a denial is about */
	RT_KIND_FROM,	   /* an executable that rules ask for */
	RT_KIND_POD,	   /* a pod's UID */
	RT_KIND_CONTAINER, /* a container's name, in pods of a kind */
};

/* Where tables are, in the line that edges.reserved[0] names. */
struct rt_header {
	__u32 key_base;	     /* RT_KEY_LINES lines */
	__u32 filter_base;   /* eight words a line */
	__u32 filter_mask;   /* words, less one */
	__u32 row_base;	     /* bucket6 */
	__u32 row_mask;
	__u32 ruleset_base;  /* RT_RULESET_LINES each */
	__u32 subject_base;  /* one line each */
	__u32 heap_base;     /* runs of lines */
	__u32 slot_default;
	__u32 slot_unresolvable;
	__u32 rules;	     /* how many rule sets there are; 0: nothing to judge */
	__u32 rate_base;     /* by slot, events a second; 0: there are none */
	__u32 node;	     /* the number of the node's own kind plus one; 0: it has no rules */
	__u32 pad;
	__u64 reserved;
};

/*
 * Keys: for each 64 bytes of a text a line for the first lane and one for the second,
 * each of eight words; then a line with the words for what a key is about.
 */
#define RT_KEY_BLOCKS (RT_PATH_BYTES / 64)
#define RT_KEY_LINES (2 * RT_KEY_BLOCKS + 1)

struct rt_keys {
	__u64 word[8];
};

struct rt_filter {
	__u64 word[8];
};

/* One of a rule set's lines; four of lengths follow. Row values, 0 for none. */
struct rt_ruleset {
	__u64 depths[2]; /* executables, files: depths of directories that have rows */
	__u32 any[4];	 /* by section: clauses about any object */
	__u32 needs;
	__u32 flags;
	__u32 network;	 /* the heap's line of the first clause about peers */
	__u32 network_count;
	__u32 slots; /* the heap's line of the slots of simple rows, by rank */
	__u32 pad;
	__u64 reserved;
};

struct rt_slots {
	__u32 slot[16];
};

struct rt_rates {
	__u32 rate[16]; /* 0: as the agent has it */
};

#define RT_RULESET_LINES 5
#define RT_LENGTHS 32

/* Lengths in bytes, sorted, then zeros: prefixes and suffixes of executables, then of files. */
struct rt_lengths {
	__u16 length[RT_LENGTHS];
};

/* What pods of a kind have: numbers of rule sets plus one, 0 for none. */
struct rt_kind_line {
	__u32 fallback; /* containers without a row of their own */
	__u32 pause;
	__u32 list;	/* the heap's line of the numbers of all rule sets but the sandbox's */
	__u32 count;
	__u32 needs;	/* of them all */
	__u32 pause_needs;
	__u32 containers; /* rows of containers */
	__u32 pad;
	__u64 reserved[4];
};

#define RT_RULESETS 256 /* different ones in one pod */

struct rt_list {
	__u32 ruleset[16];
};

/*
 * The value of a row about an object: the heap's line of its first clause, plus one.
 * That clause says how many there are.
 */
#define RT_ROW_LINE(value) ((value)-1)

/*
 * Or all that one rule says without conditions but operations: most rows are such, and
 * need no line of the heap then. Bits 0 to 7 are the operations; below is the rest.
 */
#define RT_ROW_SIMPLE (1U << 31)
#define RT_SIMPLE_RANK(value) ((value) >> 17 & 0x3fff) /* less one */
#define RT_SIMPLE_ACTION(value) ((value) >> 15 & 3)	  /* RT_DENY, RT_KILL */
#define RT_SIMPLE_ENFORCED (1U << 14)
#define RT_SIMPLE_STAGED (1U << 13)

/* The value of a row about an executable that rules ask for. */
#define RT_FROM_SELF (1U << 8)	/* bits 0 to 7 number a bit for the process itself */
#define RT_FROM_ABOVE (1U << 24) /* bits 16 to 23 number one for descendants too */

/* Bits of rt_clause.flags. */
#define RT_CLAUSE_ISOLATION 1U
#define RT_CLAUSE_DENIES 2U
#define RT_CLAUSE_PREFIX 4U /* the path must also begin with the other half of a glob */
#define RT_CLAUSE_SUFFIX 8U /* likewise end */

/* One rule's say about one object. */
struct rt_clause {
	__u64 enforced;
	__u64 staged;
	__u64 from;	    /* 0: anybody */
	__u64 capabilities; /* 0: any */
	__u32 operations;
	__u8 origins; /* 0x80: any */
	__u8 owner;   /* 0: any */
	__u8 flags;
	__u8 pad;
	__u16 half_length; /* 0: there is no other half */
	__u16 glob_length; /* of both halves: they must not overlap */
	__u32 count;	   /* in the first of a row: how many there are */
	struct key6 half;
};

/* Likewise about peers: the same beginning, then lists. */
struct rt_peer_clause {
	__u64 enforced;
	__u64 staged;
	__u64 from;
	__u64 capabilities;
	__u32 operations;
	__u8 origins;
	__u8 owner;
	__u8 flags;
	__u8 pad;
	__u32 blocks; /* the heap's line */
	__u32 block_count;
	__u32 ports;
	__u32 port_count;
	__u32 peers; /* the row of the matrix plus one; 0: anybody */
	__u32 pad2;
};

struct rt_block {
	struct key6 address;
	__u32 bits; /* of 128: 96 more for IPv4 */
	__u32 family;
	__u32 except; /* of the block before */
	__u32 pad;
};

struct rt_blocks {
	struct rt_block block[2];
};

struct rt_port {
	__u16 low;
	__u16 high;
	__u32 protocol; /* 0: any */
};

struct rt_ports {
	struct rt_port port[8];
};

/*
 * A path as seen in the container: at least 16 zero bytes follow it. Whoever judges may
 * write to the scratch, so that no two processes may have the same at a time.
 */
struct rt_path {
	__u32 length;
	__u32 pad;
	__u32 scratch[8];
	__u8 bytes[RT_PATH_BYTES + 64];
};

/* Who acts: fingerprints of the executables of a process and of those above it. */
struct rt_chain {
	__u32 count;
	__u32 flags;
	__u64 executable[RT_CHAIN]; /* its own first */
};

/* Which container a cgroup is; all zero is the node itself, outside of pods. */
struct rt_container {
	__u64 uid_high;
	__u64 uid_low;
	__u64 name; /* RT_NAME_*, or the container's name as layout.ContainerName has it */
};

#define RT_NAME_PENDING 0 /* of some container of the pod */
#define RT_NAME_SANDBOX 1
#define RT_NAME_POD 2 /* of the pod's own cgroup: judged as pending */

struct rt_query {
	__u64 capabilities; /* one bit, or none */
	struct key6 address; /* host byte order */
	__u32 operations; /* one or more: a rule matches if it has any of them; 0 in executables */
	__u16 port;
	__u8 protocol;
	__u8 family; /* FAMILY_* */
	__u8 section;
	__u8 origin; /* one bit; 0: not known */
	__u8 owner;
	__u8 flags;
	__u32 pad;
};

struct rt_answer {
	__u64 enforced;
	__u64 staged;
};

/* The rule sets of a container, on one side. Only count and needs are for hooks. */
struct rt_subject {
	__u32 side;
	__u32 header; /* its line */
	__u32 ruleset;
	__u32 list;
	__u32 count;
	__u32 needs;
};

#endif
