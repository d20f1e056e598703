/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the rules of a container say about an operation: reads of one side, for programs
 * of any type. README.md says how a path is looked up.
 *
 * A hook finds the rule sets (rt_subject), asks (rt_judge), and obeys. It reads the
 * word `active` once, in rt_subject: all that follows is of that side.
 *
 * What is not static is checked once by the verifier, for any arguments, and not again
 * on every path that leads to it: without that a program would exceed its limit. Such
 * functions take no pointer to a side, only its number. A hook's own frames and these
 * must fit into eight: rt_judge needs five.
 */
#ifndef PALISADE_RUNTIME_MATCH_H
#define PALISADE_RUNTIME_MATCH_H

#include "../network/judge.h"
#include "tables.h"

/* A sum of each lane. */
struct rt_sum {
	__u64 a;
	__u64 b;
};

/* What is known and what was found while one rule set judges. */
struct rt_eval {
	__u64 enforced;
	__u64 staged;
	__u64 from;
	__u64 depths;
	struct rt_sum sum; /* of what was read so far of a text */
	__u32 side;
	__u32 header;
	__u32 ruleset;
	__u32 length;	/* of the path */
	__u32 depth;	/* slashes so far */
	__u32 overflow; /* of the chain */
	__u32 start;	/* of a text, in the path */
	__u32 end;
};

/* Where to look: on the stack of rt_judge_ruleset, for all that it calls. */
struct rt_pass {
	void *side;
	struct rt_eval *e;
	const struct rt_query *query;
	struct rt_path *path;
	__u32 first;   /* a line of clauses */
	__u32 lengths; /* a line */
	__u32 kind;    /* of rows by such lengths */
};

static __always_inline const struct rt_header *rt_header_of(void *side, const struct rt_eval *e)
{
	return line(side, e->header);
}

/* One product of a lane: the halves of a word, each with its own key. */
static __always_inline __u64 rt_product(__u64 word, __u64 key)
{
	__u32 low = (__u32)word + (__u32)key;
	__u32 high = (__u32)(word >> 32) + (__u32)(key >> 32);
	return (__u64)low * high;
}

static __always_inline const struct rt_keys *rt_keys_of(void *side, const struct rt_header *h, __u32 number)
{
	return line(side, h->key_base + number);
}

/* The key of a row: what it is about, added to the sum of its text, then spread. */
static __always_inline struct key6 rt_key(void *side, const struct rt_header *h, struct rt_sum sum, __u32 number, __u32 section, __u32 kind, __u32 length)
{
	const struct rt_keys *k = rt_keys_of(side, h, 2 * RT_KEY_BLOCKS);
	__u64 about = (__u64)(section << 16 | length) << 32 | number << 4 | kind;
	__u64 a = sum.a + rt_product(about, k->word[0]);
	__u64 b = sum.b + rt_product(about, k->word[1]);
	a *= 0x9e3779b97f4a7c15ULL;
	b *= 0xd6e8feb86659fd93ULL;
	return (struct key6){ .low = a ^ (a >> 32), .high = b ^ (b >> 32) };
}

/* The value of a row, 0 if there is none. Most of what is asked for does not exist:
 * one word of the filter says so. */
static __always_inline __u32 rt_find(void *side, const struct rt_header *h, const struct key6 *key)
{
	__u64 x = key->high;
	__u32 word = (__u32)x & h->filter_mask;
	const struct rt_filter *f = line(side, h->filter_base + word / 8);
	__u64 want = 1ULL << (x >> 58) | 1ULL << (x >> 52 & 63) | 1ULL << (x >> 46 & 63);
	if ((f->word[word % 8] & want) != want)
		return 0;
	const struct bucket6 *b = line(side, h->row_base + ((__u32)key->low & h->row_mask));
	__u32 value = match6(b, key);
	if (value)
		return value;
	b = line(side, h->row_base + ((__u32)(key->low >> 32) & h->row_mask));
	return match6(b, key);
}

/* Adds up to 64 bytes of a text, whose last word is cut where the text ends. */
static long rt_add_block(__u64 i, struct rt_pass *p)
{
	const struct rt_header *h = rt_header_of(p->side, p->e);
	__u32 block = i & (RT_KEY_BLOCKS - 1), start = p->e->start + block * 64;
	const struct rt_keys *a = rt_keys_of(p->side, h, 2 * block);
	const struct rt_keys *b = rt_keys_of(p->side, h, 2 * block + 1);
	struct rt_sum s = p->e->sum;
	__u32 left = p->e->end - start, j = 0;
#pragma clang loop unroll(disable)
	for (; j < 8 && left >= 8; j++, left -= 8) {
		__u64 word = *(const __u64 *)(p->path->bytes + ((start + j * 8) & (RT_PATH_BYTES - 1)));
		s.a += rt_product(word, a->word[j]);
		s.b += rt_product(word, b->word[j]);
	}
	if (j < 8 && left) {
		__u64 word = *(const __u64 *)(p->path->bytes + ((start + j * 8) & (RT_PATH_BYTES - 1)));
		word &= (1ULL << (8 * left & 63)) - 1;
		s.a += rt_product(word, a->word[j & 7]);
		s.b += rt_product(word, b->word[j & 7]);
	}
	p->e->sum = s;
	return 0;
}

/* The sum of a part of the path. */
static __always_inline void rt_add_text(struct rt_pass *p, __u32 start, __u32 length)
{
	p->e->sum = (struct rt_sum){};
	p->e->start = start;
	p->e->end = start + length;
	bpf_loop((length + 63) / 64, rt_add_block, p, 0);
}

/*
 * What is outside of the container has no path there, whatever it is called where it is: a
 * rule that accepts must say that it means such objects.
 */
static __always_inline int rt_is_outside(const struct rt_query *q)
{
	return q->origin == RT_OUTSIDE;
}

/* The conditions that all clauses have. */
static __always_inline int rt_conditions(const struct rt_eval *e, const struct rt_query *q, const struct rt_clause *c)
{
	if (c->enforced >= e->enforced && c->staged >= e->staged)
		return 0; /* something before it decides already */
	__u32 common = c->operations & q->operations;
	if (c->capabilities && !(c->capabilities & q->capabilities))
		common &= ~RT_CAPABILITY; /* they narrow one operation, and leave the others alone */
	if (q->operations && !common)
		return 0;
	if (!(c->origins & (q->origin | 0x80)))
		return 0;
	if (rt_is_outside(q) && c->origins & 0x80 && !(c->flags & RT_CLAUSE_DENIES))
		return 0;
	if (c->owner && c->owner != q->owner)
		return 0;
	if (c->from && !(e->overflow ? c->flags & RT_CLAUSE_DENIES : c->from & e->from))
		return 0;
	return !(c->flags & RT_CLAUSE_ISOLATION && q->flags & RT_MAPPING && q->origin == RT_IMAGE);
}

static __always_inline void rt_take(struct rt_eval *e, const struct rt_clause *c)
{
	if (c->enforced < e->enforced)
		e->enforced = c->enforced;
	if (c->staged < e->staged)
		e->staged = c->staged;
}

/* The key of the text that was read. */
static __always_inline struct key6 rt_key_here(const struct rt_pass *p, __u32 kind, __u32 length)
{
	return rt_key(p->side, rt_header_of(p->side, p->e), p->e->sum, p->e->ruleset, p->query->section, kind, length);
}

/* The value of the row about the text that was read. */
__noinline __u32 rt_look_up(const struct rt_eval *e, __u32 section, __u32 kind, __u32 length)
{
	void *side = e ? side_of(e->side) : NULL;
	if (!side)
		return 0;
	const struct rt_header *h = rt_header_of(side, e);
	struct key6 key = rt_key(side, h, e->sum, e->ruleset, section, kind, length);
	return rt_find(side, h, &key);
}

/* Whether the path has a glob's other half too, and room for both. */
static __always_inline int rt_has_half(struct rt_pass *p, const struct rt_clause *c)
{
	__u32 half = c->half_length, length = p->e->length;
	if (c->glob_length > length)
		return 0;
	int suffix = c->flags & RT_CLAUSE_SUFFIX;
	rt_add_text(p, suffix ? length - half : 0, half);
	struct key6 key = rt_key_here(p, suffix ? RT_KIND_SUFFIX : RT_KIND_PREFIX, half);
	return key.low == c->half.low && key.high == c->half.high;
}

static long rt_clause_step(__u64 i, struct rt_pass *p)
{
	const struct rt_clause *c = line(p->side, p->first + i);
	if (rt_conditions(p->e, p->query, c))
		rt_take(p->e, c);
	return 0;
}

static long rt_glob_step(__u64 i, struct rt_pass *p)
{
	const struct rt_clause *c = line(p->side, p->first + i);
	if (rt_conditions(p->e, p->query, c) && (!c->half_length || rt_has_half(p, c)))
		rt_take(p->e, c);
	return 0;
}

/* Finds the clauses of a row, and how many there are. */
static __always_inline __u32 rt_first(struct rt_pass *p, __u32 value)
{
	p->first = rt_header_of(p->side, p->e)->heap_base + RT_ROW_LINE(value);
	const struct rt_clause *first = line(p->side, p->first);
	return first->count;
}

/* A rule without conditions says what it says. */
static __always_inline void rt_simple(void *side, struct rt_eval *e, const struct rt_query *q, __u32 value)
{
	if (q->operations && !(q->operations & value & 0xff))
		return;
	if (rt_is_outside(q) && !RT_SIMPLE_ACTION(value))
		return;
	const struct rt_header *h = rt_header_of(side, e);
	const struct rt_ruleset *r = line(side, h->ruleset_base + e->ruleset * RT_RULESET_LINES);
	__u32 rank = RT_SIMPLE_RANK(value);
	const struct rt_slots *s = line(side, h->heap_base + r->slots + rank / 16);
	__u64 word = (__u64)(rank + 1) << 40 | (__u64)RT_SIMPLE_ACTION(value) << 32 | s->slot[rank & 15];
	if (value & RT_SIMPLE_ENFORCED && word < e->enforced)
		e->enforced = word;
	if (value & RT_SIMPLE_STAGED && word < e->staged)
		e->staged = word;
}

/* Holds the clauses of a row against the question. */
__noinline int rt_clauses(struct rt_eval *e, const struct rt_query *q, __u32 value)
{
	void *side = e && q ? side_of(e->side) : NULL;
	if (!side)
		return -1;
	if (value & RT_ROW_SIMPLE) {
		rt_simple(side, e, q, value);
		return 0;
	}
	struct rt_pass p = { .side = side, .e = e, .query = q };
	bpf_loop(rt_first(&p, value), rt_clause_step, &p, 0);
	return 0;
}

/* Depths from 63 on share a bit. */
static __always_inline int rt_depth_has_rows(const struct rt_eval *e)
{
	__u32 depth = e->depth < 63 ? e->depth : 63;
	return e->depths >> (depth & 63) & 1;
}

/* A bit in the uppermost place of each byte that is a slash. */
static __always_inline __u64 rt_slashes(__u64 word)
{
	__u64 x = word ^ 0x2f2f2f2f2f2f2f2fULL;
	__u64 low = 0x7f7f7f7f7f7f7f7fULL;
	return ~(((x & low) + low) | x | low);
}

/* Holds the row about the text that was read, if there is one, against the question. */
static __always_inline void rt_row(struct rt_eval *e, const struct rt_query *q, __u32 kind, __u32 length)
{
	__u32 value = rt_look_up(e, q->section, kind, length);
	if (value)
		rt_clauses(e, q, value);
}

struct rt_word {
	__u64 word;
	__u64 slashes;
	__u64 key_a;
	__u64 key_b;
	__u64 offset;
};

/* The directories that end in a word: what stands before each of its slashes. */
__noinline int rt_directories(struct rt_eval *e, const struct rt_query *q, const struct rt_word *w)
{
	if (!e || !q || !w)
		return -1;
	struct rt_sum before = e->sum;
	__u64 slashes = w->slashes;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 8 && slashes; i++) {
		__u64 lowest = slashes & -slashes;
		slashes ^= lowest;
		if (rt_depth_has_rows(e)) {
			/* Without bytes before the slash there is no word more to add. */
			__u64 mask = (lowest >> 7) - 1, some = -(__u64)(mask != 0);
			__u32 bytes = ((mask & 0x0101010101010101ULL) * 0x0101010101010101ULL) >> 56;
			e->sum.a = before.a + (rt_product(w->word & mask, w->key_a) & some);
			e->sum.b = before.b + (rt_product(w->word & mask, w->key_b) & some);
			rt_row(e, q, RT_KIND_DIRECTORY, w->offset + bytes);
		}
		e->depth++;
	}
	e->sum = before;
	return 0;
}

/* One pass over the path: the sum of all of it, and its directories on the way. */
static long rt_walk_block(__u64 i, struct rt_pass *p)
{
	const struct rt_header *h = rt_header_of(p->side, p->e);
	__u32 block = i & (RT_KEY_BLOCKS - 1);
	const struct rt_keys *a = rt_keys_of(p->side, h, 2 * block);
	const struct rt_keys *b = rt_keys_of(p->side, h, 2 * block + 1);
	const __u64 *words = (const __u64 *)p->path->bytes + block * 8;
#pragma clang loop unroll(disable)
	for (__u32 j = 0; j < 8 && block * 64 + j * 8 < p->e->length; j++) {
		struct rt_word w = { .word = words[j], .key_a = a->word[j], .key_b = b->word[j] };
		if (p->e->depths) {
			w.slashes = rt_slashes(w.word);
			if (w.slashes) {
				w.offset = block * 64 + j * 8;
				rt_directories(p->e, p->query, &w);
			}
		}
		p->e->sum.a += rt_product(w.word, w.key_a);
		p->e->sum.b += rt_product(w.word, w.key_b);
	}
	return 0;
}

/* Rows by the first or the last bytes of the path, for each length that there is. */
static long rt_end_step(__u64 i, struct rt_pass *p)
{
	const struct rt_lengths *l = line(p->side, p->lengths);
	__u32 length = l->length[i & (RT_LENGTHS - 1)];
	if (!length || length > p->e->length)
		return 1; /* sorted, and zero where there are no more */
	rt_add_text(p, p->kind == RT_KIND_SUFFIX ? p->e->length - length : 0, length);
	__u32 value = rt_look_up(p->e, p->query->section, p->kind, length);
	if (value & RT_ROW_SIMPLE)
		rt_clauses(p->e, p->query, value);
	else if (value)
		bpf_loop(rt_first(p, value), rt_glob_step, p, 0);
	return 0;
}

static __always_inline void rt_judge_ends(struct rt_pass *p, __u32 lengths, __u32 kind)
{
	p->lengths = lengths;
	p->kind = kind;
	bpf_loop(RT_LENGTHS, rt_end_step, p, 0);
}

/* Everything that rows say about a path. */
static __always_inline void rt_judge_path(struct rt_pass *p, const struct rt_ruleset *r, __u32 lengths)
{
	struct rt_eval *e = p->e;
	__u32 section = p->query->section & 1;
	int moves = p->query->flags & RT_DIRECTORY && p->query->operations & RT_RENAME && r->needs & RT_NEEDS_MOVES;
	e->depths = r->depths[section];
	e->depth = 0;
	e->length = p->path->length & (RT_PATH_BYTES - 1);
	if (e->depths || r->flags & RT_HAS_EXACT(section) || moves) {
		e->sum = (struct rt_sum){};
		bpf_loop((e->length + 63) / 64, rt_walk_block, p, 0);
		if (rt_depth_has_rows(e))
			rt_row(e, p->query, RT_KIND_DIRECTORY, e->length);
		if (r->flags & RT_HAS_EXACT(section))
			rt_row(e, p->query, RT_KIND_EXACT, e->length);
		if (moves)
			rt_row(e, p->query, RT_KIND_ANCESTOR, e->length);
	}
	if (r->flags & RT_HAS_PREFIXES(section))
		rt_judge_ends(p, lengths + 2 * section, RT_KIND_PREFIX);
	if (r->flags & RT_HAS_SUFFIXES(section))
		rt_judge_ends(p, lengths + 2 * section + 1, RT_KIND_SUFFIX);
}

/* Walks through a list of peers; blocks and what they leave out follow one another. */
struct rt_search {
	void *side;
	const struct rt_query *query;
	__u32 first; /* a line */
	__u32 state;
};

#define RT_BLOCK_IN 1
#define RT_BLOCK_OUT 2

static long rt_block_step(__u64 i, struct rt_search *s)
{
	const struct rt_blocks *list = line(s->side, s->first + i / 2);
	const struct rt_block *b = &list->block[i & 1];
	const struct rt_query *q = s->query;
	if (!b->except && s->state == RT_BLOCK_IN)
		return 1;
	__u32 bits = b->bits;
	__u64 high = bits >= 64 ? ~0ULL : bits ? ~0ULL << ((64 - bits) & 63) : 0;
	__u64 low = bits <= 64 ? 0 : bits >= 128 ? ~0ULL : ~0ULL << ((128 - bits) & 63);
	int inside = b->family == q->family && (q->address.high & high) == b->address.high && (q->address.low & low) == b->address.low;
	if (!b->except)
		s->state = inside ? RT_BLOCK_IN : 0;
	else if (inside)
		s->state = RT_BLOCK_OUT;
	return 0;
}

static long rt_port_step(__u64 i, struct rt_search *s)
{
	const struct rt_ports *list = line(s->side, s->first + i / 8);
	const struct rt_port *p = &list->port[i & 7];
	const struct rt_query *q = s->query;
	if (p->protocol && p->protocol != q->protocol)
		return 0;
	int ports = q->protocol == PROTO_TCP || q->protocol == PROTO_UDP || q->protocol == PROTO_SCTP;
	if (ports && (q->port < p->low || q->port > p->high))
		return 0;
	s->state = 1;
	return 1;
}

/* The matrix answers Deny for the peers that a rule names. */
__noinline int rt_is_peer(__u32 number, const struct rt_query *q, __u32 row)
{
	void *side = q ? side_of(number) : NULL;
	if (!side || (q->family != FAMILY_IPV4 && q->family != FAMILY_IPV6))
		return 0; /* nobody has no address */
	const struct header *h = side;
	struct key6 address = q->address;
	__u32 value = peer(number, side, h, &address, q->family);
	if (!value)
		return 0;
	__u32 class = value & PEER_NUMBER;
	if (value & PEER_LOCAL)
		class = slot_of(side, h, value)->class;
	struct answer answer = answer_of(number, side, h, row, class, q->protocol << 16 | (q->port & 0xffff));
	return answer.enforced & WORD_DENY ? 1 : 0;
}

struct rt_peers {
	struct rt_eval *e;
	struct rt_search search;
	__u32 first;
};

static long rt_peer_step(__u64 i, struct rt_peers *p)
{
	const struct rt_header *h = rt_header_of(p->search.side, p->e);
	const struct rt_peer_clause *c = line(p->search.side, p->first + i);
	if (!rt_conditions(p->e, p->search.query, (const struct rt_clause *)c))
		return 0;
	if (c->port_count) {
		p->search.state = 0;
		p->search.first = h->heap_base + c->ports;
		bpf_loop(c->port_count, rt_port_step, &p->search, 0);
		if (!p->search.state)
			return 0;
	}
	if (c->block_count) {
		p->search.state = 0;
		p->search.first = h->heap_base + c->blocks;
		bpf_loop(c->block_count, rt_block_step, &p->search, 0);
		if (p->search.state != RT_BLOCK_IN)
			return 0;
	}
	if (c->peers && !rt_is_peer(p->e->side, p->search.query, c->peers - 1))
		return 0;
	rt_take(p->e, (const struct rt_clause *)c);
	return 0;
}

/* Everything that clauses about peers say. */
__noinline int rt_judge_peers(struct rt_eval *e, const struct rt_query *q)
{
	if (!e || !q)
		return -1;
	void *side = side_of(e->side);
	if (!side)
		return -1;
	const struct rt_header *h = rt_header_of(side, e);
	const struct rt_ruleset *r = line(side, h->ruleset_base + e->ruleset * RT_RULESET_LINES);
	struct rt_peers p = { .e = e, .search = { .side = side, .query = q }, .first = h->heap_base + r->network };
	bpf_loop(r->network_count, rt_peer_step, &p, 0);
	return 0;
}

/* The bits that rules ask for, by the executables of a chain. */
__noinline int rt_from(struct rt_eval *e, const struct rt_chain *chain)
{
	if (!e || !chain)
		return -1;
	void *side = side_of(e->side);
	if (!side)
		return -1;
	const struct rt_header *h = rt_header_of(side, e);
	const struct rt_keys *k = rt_keys_of(side, h, 2 * RT_KEY_BLOCKS);
	e->overflow = chain->flags & RT_CHAIN_OVERFLOW;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < RT_CHAIN && i < chain->count; i++) {
		__u64 executable = chain->executable[i];
		e->sum.a = rt_product(executable, k->word[2]);
		e->sum.b = rt_product(executable, k->word[3]);
		__u32 value = rt_look_up(e, 0, RT_KIND_FROM, 0);
		if (value & RT_FROM_SELF && i == 0)
			e->from |= 1ULL << (value & 63);
		if (value & RT_FROM_ABOVE)
			e->from |= 1ULL << (value >> 16 & 63);
	}
	return 0;
}

/* What no rule decides about and has no path is denied if any rule might deny it. */
static __always_inline void rt_unresolvable(struct rt_eval *e, const struct rt_header *h, const struct rt_ruleset *r, __u32 section)
{
	__u64 denied = (__u64)RT_DENY << 32 | h->slot_unresolvable;
	if (e->enforced == RT_NOTHING && r->flags & RT_DENIES(section))
		e->enforced = denied;
	if (e->staged == RT_NOTHING && r->flags & RT_DENIES_STAGED(section))
		e->staged = denied;
}

/*
 * What one rule set says. Programs that know what they ask about leave out the rest: the
 * verifier then has less to look at.
 */
static __always_inline int rt_judge_ruleset_of(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain, int paths, int peers)
{
	if (!e || !q)
		return -1;
	void *side = side_of(e->side);
	if (!side)
		return -1;
	const struct rt_header *h = rt_header_of(side, e);
	__u32 base = h->ruleset_base + e->ruleset * RT_RULESET_LINES;
	const struct rt_ruleset *r = line(side, base);
	__u32 section = q->section & 3;
	e->enforced = e->staged = RT_NOTHING;
	if (q->flags & RT_UNRESOLVABLE) {
		rt_unresolvable(e, h, r, section);
		return 0;
	}
	e->from = e->overflow = 0;
	if (r->needs & RT_NEEDS_FROM && chain)
		rt_from(e, chain);
	struct rt_pass p = { .side = side, .e = e, .query = q, .path = path };
	if (r->any[section])
		rt_clauses(e, q, r->any[section]);
	if (paths && section <= RT_FILES && path)
		rt_judge_path(&p, r, base + 1);
	if (paths && rt_is_outside(q))
		rt_unresolvable(e, h, r, section);
	if (peers && section == RT_NETWORK && r->network_count)
		rt_judge_peers(e, q);
	return 0;
}

__noinline int rt_judge_ruleset(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain)
{
	return rt_judge_ruleset_of(e, q, path, chain, 1, 1);
}

__noinline int rt_judge_paths(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain)
{
	return rt_judge_ruleset_of(e, q, path, chain, 1, 0);
}

__noinline int rt_judge_network(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain)
{
	asm volatile("" : : "r"(path)); /* or callers would leave it out, which the verifier refuses */
	return rt_judge_ruleset_of(e, q, path, chain, 0, 1);
}

__noinline int rt_judge_privileges(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain)
{
	asm volatile("" : : "r"(path)); /* or callers would leave it out, which the verifier refuses */
	return rt_judge_ruleset_of(e, q, path, chain, 0, 0);
}

typedef int (*rt_judge_by)(struct rt_eval *e, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain);

/* A verdict by default says so; the stricter of two counts. */
static __always_inline __u64 rt_stricter(__u64 have, __u64 word, __u32 fallback)
{
	if (word == RT_NOTHING)
		word = RT_RANK_DEFAULT | fallback;
	if (have == RT_NOTHING)
		return word;
	return (word >> 32 & (RT_DENY | RT_KILL)) > (have >> 32 & (RT_DENY | RT_KILL)) ? word : have;
}

/* Adds what one rule set said. */
__noinline int rt_add_answer(struct rt_answer *a, const struct rt_eval *e, __u32 fallback)
{
	if (!a || !e)
		return -1;
	a->enforced = rt_stricter(a->enforced, e->enforced, fallback);
	a->staged = rt_stricter(a->staged, e->staged, fallback);
	return 0;
}

/* Field by field: a whole one would be made on the stack first. */
static __always_inline void rt_begin(struct rt_eval *e, const struct rt_subject *s)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->side = s->side;
	e->header = s->header;
	e->ruleset = s->ruleset;
}

/* The number of a subject's rule set. */
static __always_inline __u32 rt_ruleset_at(void *side, const struct rt_header *h, const struct rt_subject *s, __u32 i)
{
	if (s->count == 1)
		return s->ruleset;
	const struct rt_list *list = line(side, h->heap_base + s->list + i / 16);
	return list->ruleset[i & 15];
}

/*
 * What the rules of a subject say. path is NULL where the section has none, chain
 * where nobody knows who acts. 0, or -1 if there are no tables any more. Programs whose
 * stack is too small for it have an rt_eval elsewhere.
 */
static __always_inline int rt_judge_in(struct rt_eval *e, const struct rt_subject *s, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain, struct rt_answer *a)
{
	void *side = side_of(s->side);
	if (!side)
		return -1;
	rt_begin(e, s);
	const struct rt_header *h = rt_header_of(side, e);
	*a = (struct rt_answer){ RT_NOTHING, RT_NOTHING };
	for (__u32 i = 0; i < RT_RULESETS && i < s->count; i++) {
		e->ruleset = rt_ruleset_at(side, h, s, i);
		rt_judge_ruleset(e, q, path, chain);
		rt_add_answer(a, e, h->slot_default);
	}
	if (a->enforced == RT_NOTHING)
		a->enforced = RT_RANK_DEFAULT | h->slot_default;
	if (a->staged == RT_NOTHING)
		a->staged = RT_RANK_DEFAULT | h->slot_default;
	return 0;
}

static __always_inline int rt_judge(const struct rt_subject *s, const struct rt_query *q, struct rt_path *path, const struct rt_chain *chain, struct rt_answer *a)
{
	struct rt_eval e;
	return rt_judge_in(&e, s, q, path, chain, a);
}

/* The row of a pod or of a container: two words and what they are. */
static __always_inline __u32 rt_find_words(void *side, const struct rt_header *h, __u64 high, __u64 low, __u32 number, __u32 kind)
{
	const struct rt_keys *k = rt_keys_of(side, h, 2 * RT_KEY_BLOCKS);
	struct rt_sum sum = {
		rt_product(high, k->word[2]) + rt_product(low, k->word[4]),
		rt_product(high, k->word[3]) + rt_product(low, k->word[5]),
	};
	struct key6 key = rt_key(side, h, sum, number, 0, kind, 0);
	return rt_find(side, h, &key);
}

static __always_inline int rt_is_node(const struct rt_container *c)
{
	return !(c->uid_high | c->uid_low);
}

/* Whether a side has rules about what is the node's own: most have none. */
static __always_inline int rt_node_has_rules(__u32 number)
{
	void *side = side_of(number & 1);
	if (!side)
		return 0;
	const struct edges *edges = line(side, 1);
	if (!edges->reserved[0])
		return 0;
	const struct rt_header *h = line(side, edges->reserved[0]);
	return h->node != 0;
}

/*
 * The rule sets of a container on a side: 1 if there are any, 0 if there are none, -1 if
 * the snapshot does not know the pod.
 */
__noinline int rt_subject_on(struct rt_subject *s, const struct rt_container *c, __u32 number)
{
	if (!s || !c)
		return -1;
	*s = (struct rt_subject){ .side = number & 1 };
	void *side = side_of(s->side);
	if (!side)
		return -1;
	const struct edges *edges = line(side, 1);
	s->header = edges->reserved[0];
	if (!s->header)
		return -1;
	const struct rt_header *h = line(side, s->header);
	__u32 pod = rt_is_node(c) ? h->node : rt_find_words(side, h, c->uid_high, c->uid_low, 0, RT_KIND_POD);
	if (!pod)
		return -1;
	const struct rt_kind_line *k = line(side, h->subject_base + pod - 1);
	__u32 ruleset = 0;
	if (c->name == RT_NAME_SANDBOX) {
		ruleset = k->pause;
	} else if (c->name == RT_NAME_PENDING || c->name == RT_NAME_POD) {
		s->count = k->count;
		s->list = k->list;
		s->needs = k->needs;
		if (s->count == 1) {
			const struct rt_list *list = line(side, h->heap_base + k->list);
			s->ruleset = list->ruleset[0];
		}
		return s->count > 0;
	} else {
		if (k->containers)
			ruleset = rt_find_words(side, h, c->name, 0, pod - 1, RT_KIND_CONTAINER);
		if (!ruleset)
			ruleset = k->fallback;
	}
	if (!ruleset)
		return 0;
	const struct rt_ruleset *r = line(side, h->ruleset_base + (ruleset - 1) * RT_RULESET_LINES);
	s->ruleset = ruleset - 1;
	s->count = 1;
	s->needs = r->needs;
	return 1;
}

static __always_inline int rt_subject(struct rt_subject *s, const struct rt_container *c)
{
	return rt_subject_on(s, c, active_side());
}

/*
 * A path by itself, for chains of executables: the same on every side of a node, as
 * long as its keys are. 0 if there are no tables yet.
 */
__noinline __u64 rt_fingerprint(struct rt_path *path)
{
	struct rt_eval e = { .side = active_side() };
	void *side = path ? side_of(e.side) : NULL;
	if (!side)
		return 0;
	const struct edges *edges = line(side, 1);
	e.header = edges->reserved[0];
	if (!e.header)
		return 0;
	struct rt_pass p = { .side = side, .e = &e, .path = path };
	__u32 length = path->length & (RT_PATH_BYTES - 1);
	rt_add_text(&p, 0, length);
	struct key6 key = rt_key(side, rt_header_of(side, &e), e.sum, 0, 0, RT_KIND_NODE, length);
	return key.low ^ key.high;
}

#endif
