/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who has an address, and what a row answers about a class: reads of one side. */
#ifndef PALISADE_LOOKUP_H
#define PALISADE_LOOKUP_H

#include "tables.h"

/* How many lines a side has, less one: the loader sets it with the value's size. */
const volatile __u32 line_mask = 0;

static __always_inline void *side_of(__u32 number)
{
	__u32 zero = 0;
	void *side = bpf_map_lookup_elem(&sides, &number);
	return side ? bpf_map_lookup_elem(side, &zero) : NULL;
}

/* The mask is a constant to the verifier: it sees that no line is out of bounds. */
static __always_inline void *line(void *side, __u32 number)
{
	return side + ((__u64)(number & line_mask) << 6);
}

/* The two halves choose the two buckets. layout.spread is its mirror. */
static __always_inline __u64 spread(__u64 x)
{
	x *= 0x9e3779b97f4a7c15ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ (x >> 32);
}

static __always_inline __u32 match4(const struct bucket4 *b, __u32 key)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		if (b->entry[i].key == key)
			return b->entry[i].value;
	return 0;
}

static __always_inline __u32 find4(void *side, __u32 base, __u32 mask, __u32 seed, __u32 key)
{
	__u64 x = spread(key ^ seed);
	struct bucket4 *b = line(side, base + ((__u32)x & mask));
	if (!b)
		return 0;
	__u32 value = match4(b, key);
	if (value)
		return value;
	b = line(side, base + ((__u32)(x >> 32) & mask));
	return b ? match4(b, key) : 0;
}

static __always_inline __u32 match6(const struct bucket6 *b, const struct key6 *key)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		if (b->key[i].low == key->low && b->key[i].high == key->high)
			return b->value[i];
	return 0;
}

static __always_inline __u32 find6(void *side, __u32 base, __u32 mask, __u32 seed, const struct key6 *key)
{
	__u64 x = spread(spread(key->high ^ seed) + key->low);
	struct bucket6 *b = line(side, base + ((__u32)x & mask));
	if (!b)
		return 0;
	__u32 value = match6(b, key);
	if (value)
		return value;
	b = line(side, base + ((__u32)(x >> 32) & mask));
	return b ? match6(b, key) : 0;
}

/*
 * Sorted lines are searched by halves: line `low` begins at or below the key, line
 * `high` above it. The steps are callbacks, or the verifier would walk every path.
 */
struct search {
	void *side;
	__u32 base;
	__u32 low;
	__u32 high;
	__u32 broken;
	const struct key6 *key;
	__u32 key4;
};

#define SEARCH_STEPS 20

static __always_inline long narrow(struct search *s, __u32 middle, int above)
{
	if (above)
		s->high = middle;
	else
		s->low = middle;
	return s->high - s->low <= 1;
}

static __always_inline int not_above(const struct key6 *a, const struct key6 *b)
{
	return a->high < b->high || (a->high == b->high && a->low <= b->low);
}

/* Lines that begin with a 32-bit start: IPv4 ranges and segments. */
static long step4(__u64 i, struct search *s)
{
	__u32 middle = s->low + (s->high - s->low) / 2;
	__u32 *start = line(s->side, s->base + middle);
	if (!start) {
		s->broken = 1;
		return 1;
	}
	return narrow(s, middle, *start > s->key4);
}

static long step6(__u64 i, struct search *s)
{
	__u32 middle = s->low + (s->high - s->low) / 2;
	struct key6 *start = line(s->side, s->base + middle);
	if (!start) {
		s->broken = 1;
		return 1;
	}
	return narrow(s, middle, !not_above(start, s->key));
}

static __always_inline void *search4(void *side, __u32 base, __u32 lines, __u32 key)
{
	struct search s = { .side = side, .base = base, .high = lines, .key4 = key };
	if (lines > 1)
		bpf_loop(SEARCH_STEPS, step4, &s, 0);
	return s.broken ? NULL : line(side, base + s.low);
}

static __always_inline void *search6(void *side, __u32 base, __u32 lines, const struct key6 *key)
{
	struct search s = { .side = side, .base = base, .high = lines, .key = key };
	if (lines > 1)
		bpf_loop(SEARCH_STEPS, step6, &s, 0);
	return s.broken ? NULL : line(side, base + s.low);
}

/*
 * Ranges are the starts of intervals, sorted, eight or three to a line; the last
 * start that is not above the address holds it. The first start is zero.
 */
static __always_inline __u32 range4(void *side, const struct edges *e, __u32 key)
{
	struct bucket4 *b = search4(side, e->range4_base, e->range4_lines, key);
	if (!b)
		return 0;
	__u32 value = b->entry[0].value;
	for (int i = 1; i < 8; i++)
		if (b->entry[i].key <= key)
			value = b->entry[i].value;
	return value;
}

static __always_inline __u32 range6(void *side, const struct edges *e, const struct key6 *key)
{
	struct bucket6 *b = search6(side, e->range6_base, e->range6_lines, key);
	if (!b)
		return 0;
	__u32 value = b->value[0];
	for (int i = 1; i < 3; i++)
		if (not_above(&b->key[i], key))
			value = b->value[i];
	return value;
}

/*
 * Not static: the verifier then checks it once, for any arguments, and not again on
 * every path that leads to it. Such functions take no pointer to a side, only its
 * number; a side is replaced only while no verdict can be using it.
 */
__noinline __u32 in_range(__u32 number, const struct key6 *address, __u32 family)
{
	void *side = side_of(number);
	struct edges *e = side ? line(side, 1) : NULL;
	if (!e || !address)
		return 0;
	return family == FAMILY_IPV4 ? range4(side, e, address->low) : range6(side, e, address);
}

static __always_inline __u32 known(void *side, const struct header *h, const struct key6 *address, __u32 family)
{
	if (family == FAMILY_IPV4)
		return find4(side, h->address4_base, h->address4_mask, h->seed, address->low);
	return find6(side, h->address6_base, h->address6_mask, h->seed, address);
}

/* PEER_* of an address; 0 only if the side is damaged. */
static __always_inline __u32 peer(__u32 number, void *side, const struct header *h, const struct key6 *address, __u32 family)
{
	__u32 value = known(side, h, address, family);
	return value ? value : in_range(number, address, family);
}

static __always_inline const struct slot *slot_of(void *side, const struct header *h, __u32 value)
{
	__u32 number = value & PEER_NUMBER;
	struct slots *s = line(side, h->slot_base + number / 4);
	return s ? &s->slot[number % 4] : NULL;
}

/* Segments are sorted and disjoint, four to a line, padded with ones that hold nothing. */
__noinline int long_segments(__u32 number, __u32 base, __u32 count, __u32 port, struct answer *answer)
{
	void *side = side_of(number);
	struct segments *s = side ? search4(side, base, (count + 3) / 4, port) : NULL;
	if (!s || !answer)
		return -1;
	for (int i = 0; i < 4; i++)
		if (s->segment[i].low <= port && port <= s->segment[i].high)
			*answer = s->segment[i].answer;
	return 0;
}

static __always_inline struct answer certain(__u32 word)
{
	return (struct answer){ .enforced = word, .staged = word };
}

/* What a row answers about a class at a port. */
static __always_inline struct answer answer_of(__u32 number, void *side, const struct header *h, __u32 row, __u32 class, __u32 port)
{
	struct cells *c = line(side, h->cell_base + row * h->stride + class / 32);
	if (!c)
		return certain(RULE_BROKEN | WORD_DENY);
	struct record *r = line(side, h->record_base + c->record[class % 32]);
	if (!r)
		return certain(RULE_BROKEN | WORD_DENY);
	struct answer answer = r->answer;
	if (r->segments == 0)
		return answer;
	if (r->segments > 3) {
		if (long_segments(number, h->segment_base + r->offset, r->segments, port, &answer))
			return certain(RULE_BROKEN | WORD_DENY);
		return answer;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 3; i++)
		if (r->segment[i].low <= port && port <= r->segment[i].high)
			return r->segment[i].answer;
	return answer;
}

#endif
