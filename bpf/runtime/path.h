/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The path of an object as the container sees it: walked by hand from the dentry to the
 * root of the mount namespace, so that it is the same on every hook and kernel, and the
 * same after a chroot. Nothing of it comes from user memory.
 */
#ifndef PALISADE_RUNTIME_PATH_H
#define PALISADE_RUNTIME_PATH_H

#include "../include/task.h"
#include "tables.h"

#define PATH_STEPS 2304 /* components and mounts; a path of 4,095 bytes has 2,047 at most */
#define NAME_BYTES 255

/* A path is built backwards here, before it goes where it is judged. */
struct backwards {
	__u8 bytes[RT_PATH_BYTES + NAME_BYTES + 1];
};

struct walk {
	__u8 *bytes;
	struct dentry *dentry;
	struct dentry *root; /* of the mount at hand */
	struct mount *mount;
	__u32 position;
	__u32 state;
};

enum walk_state {
	WALK_ON,
	WALK_DONE,
	WALK_LOST, /* too long, or it leads to no root */
};

static __always_inline struct mount *mount_of(const struct vfsmount *mnt)
{
	return (struct mount *)((__u64)mnt - bpf_core_field_offset(struct mount, mnt));
}

#define MOUNT_INTERNAL 0x4000 /* not all that have it are marked by their namespace */

/*
 * A mount that the kernel made for itself, and no process: memfds, pipes and message
 * queues lie there. One that was taken away, or whose namespace has ended, is none.
 */
static __always_inline int kernels_own(const struct mount *mount)
{
	return (__u64)BPF_CORE_READ(mount, mnt_ns) > -4096ULL || BPF_CORE_READ(mount, mnt.mnt_flags) & MOUNT_INTERNAL;
}

/* One of those that overlayfs makes for its layers: of no file system of the kernel's own. */
static __always_inline int of_a_layer(const struct mount *mount)
{
	return kernels_own(mount) && !(BPF_CORE_READ(mount, mnt.mnt_flags) & MOUNT_INTERNAL);
}

static __always_inline long put_name(struct walk *w, struct dentry *dentry)
{
	const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
	__u32 length = BPF_CORE_READ(dentry, d_name.len);
	__u32 position = w->position;
	if (length > NAME_BYTES || position > RT_PATH_BYTES || position < length + 1) {
		w->state = WALK_LOST;
		return 1;
	}
	position -= length;
	bpf_probe_read_kernel(&w->bytes[position & (2 * RT_PATH_BYTES - 1)], length & NAME_BYTES, name);
	position--;
	w->bytes[position & (RT_PATH_BYTES - 1)] = '/';
	w->position = position;
	return 0;
}

static long walk_step(__u64 i, struct walk *w)
{
	struct dentry *dentry = w->dentry;
	if (dentry == w->root) {
		struct mount *mount = w->mount;
		struct mount *above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount) {
			w->state = WALK_DONE;
			return 1;
		}
		w->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		w->root = BPF_CORE_READ(above, mnt.mnt_root);
		w->mount = above;
		return 0;
	}
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry) {
		/*
		 * Of no directory: a memfd, a pipe. Elsewhere nobody knows of which: what was
		 * opened by its handle, or lies outside of what is mounted.
		 */
		if (w->position != RT_PATH_BYTES || !kernels_own(w->mount)) {
			w->state = WALK_LOST;
			return 1;
		}
		if (!put_name(w, dentry))
			w->state = WALK_DONE;
		return 1;
	}
	w->dentry = parent;
	return put_name(w, dentry);
}

/* 0, or -1 if the path is longer than one may be, or not known. */
static __always_inline int resolve_path(struct rt_path *path, struct backwards *scratch, const struct vfsmount *mnt, struct dentry *dentry)
{
	struct walk w = {
		.bytes = scratch->bytes,
		.dentry = dentry,
		.root = BPF_CORE_READ(mnt, mnt_root),
		.mount = mount_of(mnt),
		.position = RT_PATH_BYTES,
	};
	bpf_loop(PATH_STEPS, walk_step, &w, 0);
	path->length = 0;
	*(__u64 *)path->bytes = 0;
	__u32 position = w.position;
	if (w.state != WALK_DONE || position == 0 || position > RT_PATH_BYTES)
		return -1;
	if (position == RT_PATH_BYTES) /* the root itself */
		scratch->bytes[--position] = '/';
	__u32 length = (RT_PATH_BYTES - position) & (RT_PATH_BYTES - 1);
	bpf_probe_read_kernel(path->bytes, length, &scratch->bytes[position & (RT_PATH_BYTES - 1)]);
	/* Whole words are hashed: what follows the text must be zero. */
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++)
		*(__u64 *)&path->bytes[length + 8 * i] = 0;
	path->length = length;
	return 0;
}

#define MAGIC_OVERLAY 0x794c7630
#define MAGIC_TMPFS 0x01021994

static __always_inline int in_shared_memory(const struct rt_path *path)
{
	const __u8 *b = path->bytes;
	return *(const __u64 *)b == 0x6d68732f7665642fULL /* "/dev/shm" */ && (b[8] == '/' || b[8] == 0);
}

/* An overlay of the node's. In a user namespace of its own any process can make one. */
static __always_inline int of_node(struct inode *inode)
{
	return !BPF_CORE_READ(inode, i_sb, s_user_ns, parent);
}

/*
 * Where an object comes from. What overlayfs keeps beside its inode is no part of the
 * kernel's own type information, but its first field is the upper dentry on all kernels.
 */
static __always_inline __u8 origin_of(const struct rt_path *path, const struct vfsmount *mnt, struct inode *inode, const struct mnt_namespace *ours)
{
	const struct mount *mount = mount_of(mnt);
	const struct mnt_namespace *theirs = BPF_CORE_READ(mount, mnt_ns);
	if (!inode || BPF_CORE_READ(inode, i_nlink) == 0)
		return RT_MEMORY;
	if (kernels_own(mount))
		return RT_MEMORY;
	if (theirs != ours) /* also of no namespace any more */
		return RT_OUTSIDE;
	if (in_shared_memory(path))
		return RT_MEMORY;
	if (BPF_CORE_READ(inode, i_sb, s_magic) == MAGIC_OVERLAY && of_node(inode)) {
		__u64 size = (bpf_core_type_size(struct inode) + 7) & ~7ULL, upper = 1;
		bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + size);
		return upper ? RT_MODIFIED : RT_IMAGE;
	}
	return RT_MODIFIED;
}

#endif
