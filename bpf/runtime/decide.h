/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a hook to a verdict, in four steps: begin (is it anybody's business, and which
 * rules), object (the path and where it comes from), settle (the rules' answer, told and
 * counted), and what settle returns is what the hook returns. The steps are functions of
 * their own, which the verifier checks once; what they share lies in a scratch, and they
 * are given its number.
 */
#ifndef PALISADE_RUNTIME_DECIDE_H
#define PALISADE_RUNTIME_DECIDE_H

#include "events.h"

#define RULE_UNKNOWN_POD 10 /* as the rules in ../network/tables.h: of no snapshot */

#define EPERM 1
#define SIGKILL 9

/* What begin says instead of a scratch's number. */
#define NOBODYS (-1)
#define NO_ROOM (-2)

/* By section. */
const volatile __u8 backends[4] = { RT_BACKEND_LSM, RT_BACKEND_LSM, RT_BACKEND_LSM, RT_BACKEND_LSM };

/* Bits of what is asked of begin, besides the section. */
#define BEGIN_EXEC 256U /* also of a process in setup */
#define BEGIN_ON_SIDE 512U /* on the side whose number is above this bit */

/*
 * For what is more than one question: all of them are about one side, since of two
 * generations that both refuse it each may refuse it for another of the questions.
 */
static __always_inline __u32 on_one_side(void)
{
	return BEGIN_ON_SIDE | active_side() * 2 * BEGIN_ON_SIDE;
}

/* Rules ask for something of this section, or for the rename of directories. */
static __always_inline int needed(const struct rt_subject *s, __u32 section)
{
	return s->needs & (RT_NEEDS_SECTION(section) | (section == RT_FILES ? RT_NEEDS_MOVES : 0));
}

/*
 * Takes a scratch and fills in who asks: its number, NOBODYS if nothing can come of it,
 * or NO_ROOM.
 */
__noinline int begin(__u32 asked)
{
	__u32 section = asked & 3;
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 side = asked & BEGIN_ON_SIDE ? asked / (2 * BEGIN_ON_SIDE) : active_side();
	struct bound *b = bound_to(cgroup_of(task));
	if (!b && !rt_node_has_rules(side))
		return NOBODYS;
	struct process *p = process_of(task);
	int node = is_nodes(task, b, p);
	struct rt_container container = {};
	if (node) {
		if (task->flags & TASK_OF_KERNEL || (p && p->flags & PROCESS_AGENT))
			return NOBODYS;
	} else if (p && p->flags & PROCESS_SETUP && !(asked & BEGIN_EXEC)) {
		return NOBODYS;
	} else if (b) {
		container = b->container;
	}
	struct rt_subject subject;
	int known = rt_subject_on(&subject, &container, side);
	if (node && known < 0)
		return NOBODYS;
	__u64 asks = setting();
	int unknown = known < 0 && asked & BEGIN_EXEC && asks & RT_DENY_UNKNOWN;
	if (!needed(&subject, section) && !unknown && !(asks >> section & 1))
		return NOBODYS;
	int number = take_scratch();
	if (number < 0)
		return NO_ROOM;
	struct scratch *s = scratch_at(number);
	if (!s)
		return NO_ROOM;
	s->subject = subject;
	__builtin_memset(&s->chain, 0, sizeof(s->chain));
	if (!p) /* There was no memory to remember it: what it descends from is not known. */
		s->chain.flags = RT_CHAIN_OVERFLOW;
	else if (node || !(p->flags & PROCESS_SETUP)) /* or it has run nothing in the container */
		s->chain = p->chain;
	s->unknown = unknown;
	s->exempt = 0;
	s->executes = asked & BEGIN_EXEC;
	s->quiet = s->used.generation = 0;
	__builtin_memset(&s->event.query, 0, sizeof(s->event.query));
	s->event.container = container;
	s->event.query.section = section;
	s->event.kind = RT_EVENT_JUDGED;
	s->event.path_length = s->event.target_length = 0;
	s->path.length = 0;
	return number;
}

/* The path of an object, where it comes from and whose it is. */
__noinline int find_object(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return -1;
	__u64 mnt = s->mnt, dentry = s->dentry, inode = s->inode;
	struct rt_query *q = &s->event.query;
	struct task_struct *task = bpf_get_current_task_btf();
	if (resolve_path(&s->path, &s->backwards, (void *)mnt, (void *)dentry))
		q->flags |= RT_UNRESOLVABLE;
	s->event.path_length = s->path.length;
	q->origin = origin_of(&s->path, (void *)mnt, (void *)inode, (void *)mounts_of(task));
	/* A node has every namespace's mounts: what runs containers goes from one to another. */
	if (rt_is_node(&s->event.container) && q->origin == RT_OUTSIDE)
		q->origin = RT_MODIFIED;
	q->owner = 0;
	/* Who runs it cannot be known as the agent before: no rule of nodes keeps it from starting. */
	if (q->section == RT_EXECUTABLES && rt_is_node(&s->event.container))
		s->exempt = runs_agent((void *)inode);
	if (inode) {
		__u32 user = BPF_CORE_READ((struct inode *)inode, i_uid.val);
		__u32 acts = BPF_CORE_READ(task, cred, fsuid.val);
		q->owner = user == acts ? RT_OWNER : RT_NOT_OWNER;
		if ((BPF_CORE_READ((struct inode *)inode, i_mode) & 0170000) == 0040000)
			q->flags |= RT_DIRECTORY;
	}
	return 0;
}

static __always_inline void object(__u32 number, const struct vfsmount *mnt, struct dentry *dentry, struct inode *inode)
{
	struct scratch *s = scratch_at(number);
	if (!s)
		return;
	s->mnt = (__u64)mnt;
	s->dentry = (__u64)dentry;
	s->inode = (__u64)inode;
	find_object(number);
}

/* The other end of a rename or a link: for the record only. */
__noinline int find_other_end(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return -1;
	__u64 mnt = s->mnt, dentry = s->dentry;
	struct walk w = {
		.bytes = s->backwards.bytes,
		.dentry = (void *)dentry,
		.root = BPF_CORE_READ((struct vfsmount *)mnt, mnt_root),
		.mount = mount_of((void *)mnt),
		.position = RT_PATH_BYTES,
	};
	bpf_loop(PATH_STEPS, walk_step, &w, 0);
	/* It stays where it is until it is told: behind the path stand zeros that are hashed. */
	s->event.target_length = (RT_PATH_BYTES - w.position) & (RT_PATH_BYTES - 1);
	return 0;
}

static __always_inline void other_end(__u32 number, const struct vfsmount *mnt, struct dentry *dentry)
{
	struct scratch *s = scratch_at(number);
	if (!s)
		return;
	s->mnt = (__u64)mnt;
	s->dentry = (__u64)dentry;
	find_other_end(number);
}

static __always_inline __u32 flags_of(__u64 word)
{
	return word >> 32 & 0xff;
}

#define REFUSES (RT_DENY | RT_KILL)

/* The rule that a record is about: the one that decides, unless it allows what another would refuse. */
static __always_inline __u32 told_rule(const struct rt_answer *a)
{
	__u64 word = !(flags_of(a->enforced) & REFUSES) && flags_of(a->staged) & REFUSES ? a->staged : a->enforced;
	return word & WORD_RULE;
}

/* A rule that is only observed counts what it would have decided, in the counter's other half. */
static __always_inline void count_staged(const struct rt_answer *a)
{
	if (!((flags_of(a->enforced) ^ flags_of(a->staged)) & REFUSES))
		return;
	__u32 rule = a->staged & WORD_RULE;
	struct counter *c = bpf_map_lookup_elem(&counters, &rule);
	if (c)
		c->bytes++;
}

/* How many events a second a rule may make by the tables that judged; 0: they do not say. */
static __always_inline __u32 rate_of(void *side, __u32 header, __u32 rule)
{
	if (!header)
		return 0;
	const struct rt_header *h = line(side, header);
	if (!h->rate_base)
		return 0;
	const struct rt_rates *r = line(side, h->rate_base + rule / 16);
	return r->rate[rule & 15];
}

/* Whether it is worth a record, and how many a second. */
static __always_inline __u32 worth(const struct scratch *s, const struct rt_answer *a)
{
	if ((flags_of(a->enforced) | flags_of(a->enforced ^ a->staged) | flags_of(a->staged)) & (RT_DENY | RT_KILL | RT_LOG))
		return events_per_second;
	__u64 asks = setting();
	if (asks >> s->event.query.section & 1)
		return 16 * events_per_second;
	/* What a container with rules executes is worth a record. */
	if (asks & RT_RECORD_EXEC && s->event.query.section == RT_EXECUTABLES && !(s->event.query.flags & RT_MAPPING) && s->executes)
		return 16 * events_per_second;
	return 0;
}

/* Whether an answer is to be taken over the one so far: it is the first, or denies more. */
static __always_inline int stricter(__u64 word, __u64 so_far)
{
	return so_far == RT_NOTHING || (flags_of(word) & (RT_DENY | RT_KILL)) > (flags_of(so_far) & (RT_DENY | RT_KILL));
}

/* Sends the record of what was judged, if it is worth one and there were not too many. */
__noinline int tell(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return -1;
	struct rt_event *e = &s->event;
	count_word(e->answer.enforced, 0);
	count_staged(&e->answer);
	__u32 limit = worth(s, &e->answer);
	if (!limit || s->quiet)
		return 0;
	void *side = side_of(s->subject.side);
	__u32 rule = told_rule(&e->answer), rate = side ? rate_of(side, s->subject.header, rule) : 0;
	if (!may_report(rule, rate ? rate : limit))
		return 0;
	struct header *h = side ? line(side, 0) : NULL;
	if (h) {
		e->counter = h->counter;
		e->epoch = h->epoch;
		e->term = h->term;
	}
	describe(e, bpf_get_current_task_btf());
	if (e->target_length) {
		__u32 length = e->target_length & (RT_PATH_BYTES - 1);
		bpf_probe_read_kernel(s->path.bytes + (e->path_length & (RT_PATH_BYTES - 1)), length, &s->backwards.bytes[RT_PATH_BYTES - length]);
	}
	send_event(s);
	if (s->executes) {
		struct process *p = bpf_task_storage_get(&processes, bpf_get_current_task_btf(), NULL, 0);
		if (p)
			p->flags |= PROCESS_TOLD | PROCESS_EXECUTES;
	}
	return 0;
}

/* Does what the rules answered, and lets go of the scratch. */
__noinline int obey(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return -EPERM;
	__u32 flags = flags_of(s->event.answer.enforced);
	__u8 by = backends[s->event.query.section & 3];
	int denied = flags & (RT_DENY | RT_KILL) ? -EPERM : 0;
	/* Where the kernel only looks what a process might do, nobody tried anything. */
	if ((flags & RT_KILL && !s->quiet) || (denied && by == RT_BACKEND_SIGNAL))
		bpf_send_signal(SIGKILL);
	s->event.backend = by;
	tell(number);
	if (!denied && s->used.generation)
		bpf_map_update_elem(&used_files, &s->used, &s->used.generation, BPF_ANY);
	give_scratch(s);
	return denied;
}

/* One operation's answer; of several operations the first that is denied decides. */
static __always_inline void take_answer(struct scratch *s)
{
	struct rt_answer *a = &s->answer, *so_far = &s->event.answer;
	if (s->unknown)
		a->enforced = a->staged = (__u64)RT_DENY << 32 | RULE_UNKNOWN_POD;
	if (a->enforced == RT_NOTHING)
		a->enforced = a->staged = RULE_NONE;
	if (stricter(a->enforced, so_far->enforced))
		so_far->enforced = a->enforced;
	if (stricter(a->staged, so_far->staged))
		so_far->staged = a->staged;
}

/* Asks the next rule set about an operation. */
static __always_inline void ask_next(struct scratch *s, rt_judge_by judge)
{
	void *side = side_of(s->subject.side);
	if (!side)
		return;
	rt_begin(&s->eval, &s->subject);
	const struct rt_header *h = rt_header_of(side, &s->eval);
	s->eval.ruleset = rt_ruleset_at(side, h, &s->subject, s->next);
	judge(&s->eval, &s->asked, s->asked.section <= RT_FILES ? &s->path : NULL, &s->chain);
	rt_add_answer(&s->answer, &s->eval, h->slot_default);
}

/*
 * One step of judging: one operation, of which one may be allowed and another not, by one
 * rule set. All steps are one loop of the kernel's: as loops of their own the verifier
 * would go through every one of them. 1 if nothing is left.
 */
static __always_inline long judge_step(const __u32 *number, rt_judge_by judge)
{
	struct scratch *s = scratch_at(*number & (SCRATCHES - 1));
	if (!s)
		return 1;
	__u32 one = s->left & -s->left;
	if (!s->next) {
		s->asked = s->event.query;
		s->asked.operations = one;
		s->answer.enforced = s->answer.staged = RT_NOTHING;
	}
	if (s->subject.count && !s->unknown)
		ask_next(s, judge);
	if (++s->next < s->subject.count && !s->unknown)
		return 0;
	take_answer(s);
	s->next = 0;
	s->left ^= one;
	return !s->left;
}

static long step_path(__u64 i, __u32 *number)
{
	return judge_step(number, rt_judge_paths);
}

static long step_network(__u64 i, __u32 *number)
{
	return judge_step(number, rt_judge_network);
}

static long step_privilege(__u64 i, __u32 *number)
{
	return judge_step(number, rt_judge_privileges);
}

#define OPERATIONS_AT_ONCE 6

/* Asks the rules about what the scratch holds; not 0 refuses. */
static __always_inline int settle(long (*step)(__u64 i, __u32 *number), __u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return 1;
	if (s->exempt) {
		give_scratch(s);
		return 0;
	}
	s->event.answer.enforced = s->event.answer.staged = RT_NOTHING;
	s->left = s->event.query.operations;
	s->next = 0;
	bpf_loop(OPERATIONS_AT_ONCE * RT_RULESETS, step, &number, 0);
	return obey(number);
}

/*
 * What a hook returns. The verifier must see that it is one of two values, so the compiler
 * may not calculate it.
 */
static __always_inline long refuse(int yes)
{
	long answer = 0;
	if (yes)
		asm volatile("%0 = -1" : "=r"(answer)); /* -EPERM */
	return answer;
}

static __always_inline long settled(__u32 number)
{
	return refuse(settle(step_path, number));
}

/* For a hook about a privilege that has nothing more to find out. */
static __always_inline long ask(int number, __u32 operations)
{
	if (number < 0)
		return refuse(number == NO_ROOM);
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	s->event.query.operations = operations;
	return refuse(settle(step_privilege, number));
}

/* Asks about the object that was found for a question that has begun. */
static __always_inline long ask_found(int number, __u32 operations, __u8 flags)
{
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	s->event.query.operations = operations;
	s->event.query.flags |= flags;
	return settled(number);
}

/* For a hook that is about an object. */
static __always_inline long ask_about(__u32 asked, __u32 operations, const struct vfsmount *mnt, struct dentry *dentry, struct inode *inode, __u8 flags)
{
	int number = begin(asked);
	if (number < 0)
		return refuse(number == NO_ROOM);
	object(number, mnt, dentry, inode);
	return ask_found(number, operations, flags);
}

/* By the inode of its name: before 6.5 overlayfs opens its layer's inode once more by that name. */
static __always_inline long ask_file(__u32 asked, __u32 operations, struct file *file, __u8 flags)
{
	struct dentry *dentry = file->f_path.dentry;
	return ask_about(asked, operations, file->f_path.mnt, dentry, BPF_CORE_READ(dentry, d_inode), flags);
}

#endif
