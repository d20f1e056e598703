/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hooks about files and executable memory. */
#ifndef PALISADE_RUNTIME_FILES_H
#define PALISADE_RUNTIME_FILES_H

#include "decide.h"
#include <bpf/bpf_tracing.h>

#define O_WRITES 3 /* O_WRONLY | O_RDWR */
#define O_RDWR 2
#define O_TRUNC 01000
#define OPENED_TO_EXECUTE 0x20

#define MAY_WRITE 2
#define MAY_READ 4

#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_PRIVATE 2
#define MAP_TYPE 15
#define VM_EXEC 4
#define VM_SHARED 8
#define VM_MAY_WRITE 0x20

#define TYPE_OF_FILE 0170000
#define REGULAR 0100000
#define PIPE 0010000
#define BLOCK_DEVICE 0060000
#define CHARACTER_DEVICE 0020000
#define SOCKET 0140000

static __always_inline __u32 access_of(struct file *file)
{
	__u32 flags = file->f_flags, operations = RT_READ;
	if (flags & O_WRITES)
		operations = (flags & O_WRITES) == O_RDWR ? RT_READ | RT_WRITE : RT_WRITE;
	return flags & O_TRUNC ? operations | RT_WRITE : operations;
}

/* A pipe or a socket that is in no directory. */
static __always_inline int nowhere(struct file *file)
{
	__u16 type = file->f_inode->i_mode & TYPE_OF_FILE;
	struct dentry *dentry = file->f_path.dentry;
	return (type == PIPE || type == SOCKET || type == 0) && dentry->d_parent == dentry;
}

/*
 * On a mount that the kernel made for itself: overlayfs, which was asked itself, looks
 * into its layers so, and a memfd has one. Nothing of a mount that was taken away.
 */
static __always_inline int of_kernel(struct file *file)
{
	const struct mount *mount = mount_of(file->f_path.mnt);
	return (__u64)BPF_CORE_READ(mount, mnt_ns) > -4096ULL;
}

SEC("lsm/file_open")
int BPF_PROG(palisade_file_open, struct file *file)
{
	if (file->f_flags & OPENED_TO_EXECUTE || nowhere(file) || of_kernel(file))
		return 0; /* an execution is judged as such */
	return ask_file(RT_FILES, access_of(file), file, 0);
}

#define MEMORY_DEVICES (1 << 20) /* the first of those with this number: memory, ports, the kernel's log */
#define HARMLESS_DEVICES (1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9) /* null, zero, full, random, urandom */

/*
 * Whether it is judged again when it is used: files, disks and memory. Terminals, null and
 * the like are what runtimes hand to each container.
 */
static __always_inline int judged_in_use(struct file *file)
{
	__u16 type = file->f_inode->i_mode & TYPE_OF_FILE;
	if (type != CHARACTER_DEVICE)
		return type == REGULAR || type == BLOCK_DEVICE;
	__u32 minor = file->f_inode->i_rdev - MEMORY_DEVICES;
	return minor < 32 && !(HARMLESS_DEVICES >> minor & 1);
}

/*
 * A file as the process knows it: overlayfs maps, and before 6.5 reads, one of its layers
 * in its place. It has that from a mount of its own, which no mode of the file tells of that
 * would be the same on all kernels; what else the kernel mounts for itself is marked.
 */
static __always_inline void object_of(int number, struct file *file)
{
	struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	if (bpf_core_type_exists(struct backing_file) && of_a_layer(mount_of(mnt))) {
		struct backing_file *backing = (struct backing_file *)file; /* which begins with it */
		mnt = BPF_CORE_READ(backing, user_path.mnt);
		dentry = BPF_CORE_READ(backing, user_path.dentry);
	}
	object(number, mnt, dentry, BPF_CORE_READ(dentry, d_inode));
}

/* A descriptor that comes by a socket was perhaps opened under other rules. */
SEC("lsm/file_receive")
int BPF_PROG(palisade_file_receive, struct file *file)
{
	if (!judged_in_use(file))
		return 0;
	return ask_file(RT_FILES, access_of(file), file, 0);
}

/* Whether it is remembered; fills in what to remember, 0 for a generation of which nothing can be. */
__noinline int remembered(__u32 number)
{
	struct scratch *s = scratch_at(number & (SCRATCHES - 1));
	if (!s)
		return 0;
	struct used_key *key = &s->used;
	key->pod = s->event.container.uid_high ^ s->event.container.uid_low;
	key->container = s->event.container.name;
	key->operations = s->event.query.operations;
	key->generation = 0;
	void *side = side_of(s->subject.side);
	struct header *h = side ? line(side, 0) : NULL;
	if (!h || s->subject.needs & (RT_NEEDS_FROM | RT_NEEDS_OWNER))
		return 0;
	key->generation = (h->counter << 32 ^ (__u64)h->term << 16 ^ h->epoch) | 1ULL << 63;
	return bpf_map_lookup_elem(&used_files, key) ? 1 : 0;
}

/* What was opened before the rules came is judged when it is used. */
static __always_inline long use(__u32 asked, struct file *file, __u32 operations)
{
	int number = begin(asked);
	if (number < 0)
		return refuse(number == NO_ROOM);
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	s->event.query.operations = operations;
	s->used.file = (__u64)file;
	s->used.inode = (__u64)file->f_inode;
	if (remembered(number)) {
		give_scratch(s);
		return 0;
	}
	object_of(number, file);
	return settled(number);
}

SEC("lsm/file_permission")
int BPF_PROG(palisade_file_permission, struct file *file, int mask)
{
	if (!(mask & (MAY_READ | MAY_WRITE)) || !judged_in_use(file))
		return 0;
	if (file->f_flags & OPENED_TO_EXECUTE || of_kernel(file))
		return 0; /* the kernel reads a program that it executes */
	return use(RT_FILES, file, (mask & MAY_READ ? RT_READ : 0) | (mask & MAY_WRITE ? RT_WRITE : 0));
}

/* What the kernel maps of a program that it executes is judged as an execution. */
static __always_inline int executed_now(const struct file *file)
{
	return BPF_CORE_READ(file, f_flags) & OPENED_TO_EXECUTE;
}

static __always_inline long ask_mapped(__u32 asked, __u32 operations, struct file *file, __u8 flags)
{
	int number = begin(asked);
	if (number < 0)
		return refuse(number == NO_ROOM);
	object_of(number, file);
	return ask_found(number, operations, flags);
}

/* A mapped file that becomes executable memory: as an executable, and as a file. */
static __always_inline long map_executable(__u32 side, struct file *file)
{
	long denied = ask_mapped(RT_EXECUTABLES | side, 0, file, RT_MAPPING);
	return denied || executed_now(file) ? denied : ask_mapped(RT_FILES | side, RT_MAP_EXECUTABLE, file, 0);
}

static __always_inline long write_exec(__u32 side)
{
	return ask(begin(RT_PRIVILEGES | side), RT_WRITE_EXEC_MEMORY);
}

/*
 * An argument, read again each time: what is kept over calls lies on the stack, of which
 * there is not enough on 6.1.
 */
#define ARGUMENT(number) (*(volatile __u64 *)&ctx[number])

#define PROTECTION ARGUMENT(1 + !direct)
#define SHARED ((ARGUMENT(2 + !direct) & MAP_TYPE) != MAP_PRIVATE)

static __always_inline long map_file(__u64 *ctx, const int direct)
{
	__u32 side = on_one_side();
	if ((PROTECTION & (PROT_EXEC | PROT_WRITE)) == (PROT_EXEC | PROT_WRITE) && write_exec(side))
		return refuse(1);
	if (!ARGUMENT(0))
		return 0;
	if (PROTECTION & PROT_EXEC) {
		if (ask_file(RT_EXECUTABLES | side, 0, (struct file *)ARGUMENT(0), RT_MAPPING))
			return refuse(1);
		if (!executed_now((struct file *)ARGUMENT(0)) && ask_file(RT_FILES | side, RT_MAP_EXECUTABLE, (struct file *)ARGUMENT(0), 0))
			return refuse(1);
	}
	if (PROTECTION & PROT_WRITE && SHARED)
		return use(RT_FILES | side, (struct file *)ARGUMENT(0), RT_WRITE);
	/* What is mapped is read without anybody being asked again. */
	if (PROTECTION & PROT_READ && !(PROTECTION & PROT_EXEC) && !executed_now((struct file *)ARGUMENT(0)))
		return use(RT_FILES | side, (struct file *)ARGUMENT(0), RT_READ);
	return 0;
}

SEC("lsm/mmap_file")
int palisade_mmap_file(__u64 *ctx)
{
	return map_file(ctx, 0);
}

/* The function that fmod_ret meets has one argument less. */
SEC("lsm/mmap_file")
int palisade_mmap_file_direct(__u64 *ctx)
{
	return map_file(ctx, 1);
}

SEC("lsm/file_mprotect")
int BPF_PROG(palisade_file_mprotect, struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)
{
	struct file *file = vma->vm_file;
	unsigned long was = vma->vm_flags;
	long denied = 0;
	__u32 side = on_one_side();
	if (prot & PROT_EXEC) {
		/* What was written, or can be, and is executable now: shared memory of nobody's has a file. */
		int written = !file || vma->anon_vma || (was & (VM_SHARED | VM_MAY_WRITE)) == (VM_SHARED | VM_MAY_WRITE);
		if ((prot & PROT_WRITE || (written && !(was & VM_EXEC))) && (denied = write_exec(side)))
			return denied;
		if (file && !(was & VM_EXEC) && (denied = map_executable(side, file)))
			return denied;
	}
	if (prot & PROT_WRITE && file && was & VM_SHARED)
		return use(RT_FILES | side, file, RT_WRITE);
	return 0;
}

/*
 * Read as a number: the verifier of some kernels takes what it reads of a dentry for an inode
 * that is there, and leaves out what is to be done for a name that is not used yet.
 */
static __always_inline struct inode *inode_of(const struct dentry *dentry)
{
	return BPF_CORE_READ(dentry, d_inode);
}

static __always_inline long change(__u32 operations, const struct path *dir, struct dentry *dentry)
{
	return ask_about(RT_FILES, operations, dir->mnt, dentry, inode_of(dentry), 0);
}

SEC("lsm/path_unlink")
int BPF_PROG(palisade_path_unlink, struct path *dir, struct dentry *dentry)
{
	return change(RT_DELETE, dir, dentry);
}

SEC("lsm/path_rmdir")
int BPF_PROG(palisade_path_rmdir, struct path *dir, struct dentry *dentry)
{
	return change(RT_DELETE, dir, dentry);
}

SEC("lsm/path_mkdir")
int BPF_PROG(palisade_path_mkdir, struct path *dir, struct dentry *dentry)
{
	return change(RT_CREATE, dir, dentry);
}

SEC("lsm/path_mknod")
int BPF_PROG(palisade_path_mknod, struct path *dir, struct dentry *dentry)
{
	return change(RT_CREATE, dir, dentry);
}

SEC("lsm/path_symlink")
int BPF_PROG(palisade_path_symlink, struct path *dir, struct dentry *dentry)
{
	return change(RT_CREATE, dir, dentry);
}

/* What may not be executed under its name must not get another one. */
static __always_inline long keep_name(__u32 side, const struct vfsmount *mnt, struct dentry *dentry)
{
	int number = begin(RT_EXECUTABLES | side);
	if (number < 0)
		return refuse(number == NO_ROOM);
	object(number, mnt, dentry, inode_of(dentry));
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	/* As a mapping of the image is judged: what is not accepted may be moved, what is denied not. */
	s->event.query.flags |= RT_MAPPING;
	s->event.query.origin = RT_IMAGE;
	return settled(number);
}

/* What is asked of the end that gets a name. */
static __always_inline long new_end(__u32 side, const struct vfsmount *mnt, struct dentry *to, struct dentry *from)
{
	struct inode *inode = inode_of(to);
	return ask_about(RT_FILES | side, inode ? RT_CREATE | RT_DELETE : RT_CREATE, mnt, to, inode ? inode : inode_of(from), 0);
}

static __always_inline long old_end(__u32 side, __u32 operation, const struct vfsmount *mnt, struct dentry *from, const struct vfsmount *to_mnt, struct dentry *to)
{
	int number = begin(RT_FILES | side);
	if (number < 0)
		return refuse(number == NO_ROOM);
	object(number, mnt, from, inode_of(from));
	other_end(number, to_mnt, to);
	struct scratch *s = scratch_at(number);
	if (!s)
		return refuse(1);
	s->event.query.operations = operation;
	return settled(number);
}

#define DIRECTORY(number) (((struct path *)ARGUMENT(number))->mnt)
#define RENAME_EXCHANGE 2
#define ENTRY(number) ((struct dentry *)ARGUMENT(number))

SEC("lsm/path_link")
int palisade_path_link(__u64 *ctx)
{
	__u32 side = on_one_side();
	/* Links do not cross mounts. */
	if (old_end(side, RT_LINK, DIRECTORY(1), ENTRY(0), DIRECTORY(1), ENTRY(2)))
		return refuse(1);
	if (new_end(side, DIRECTORY(1), ENTRY(2), ENTRY(0)))
		return refuse(1);
	return keep_name(side, DIRECTORY(1), ENTRY(0));
}

SEC("lsm/path_rename")
int palisade_path_rename(__u64 *ctx)
{
	__u32 side = on_one_side();
	if (old_end(side, RT_RENAME, DIRECTORY(0), ENTRY(1), DIRECTORY(2), ENTRY(3)))
		return refuse(1);
	if (new_end(side, DIRECTORY(2), ENTRY(3), ENTRY(1)))
		return refuse(1);
	if (ARGUMENT(4) & RENAME_EXCHANGE) {
		if (old_end(side, RT_RENAME, DIRECTORY(2), ENTRY(3), DIRECTORY(0), ENTRY(1)))
			return refuse(1);
		if (new_end(side, DIRECTORY(0), ENTRY(1), ENTRY(3)) || keep_name(side, DIRECTORY(2), ENTRY(3)))
			return refuse(1);
	}
	return keep_name(side, DIRECTORY(0), ENTRY(1));
}

SEC("lsm/path_truncate")
int BPF_PROG(palisade_path_truncate, struct path *path)
{
	return change(RT_WRITE, path, path->dentry);
}

SEC("lsm/file_truncate")
int BPF_PROG(palisade_file_truncate, struct file *file)
{
	return use(RT_FILES, file, RT_WRITE);
}

SEC("lsm/path_chmod")
int BPF_PROG(palisade_path_chmod, struct path *path)
{
	return change(RT_ATTRIBUTES, path, path->dentry);
}

SEC("lsm/path_chown")
int BPF_PROG(palisade_path_chown, struct path *path)
{
	return change(RT_ATTRIBUTES, path, path->dentry);
}

/*
 * Hooks that know no mount: judged where the object is of the container's own root, as all
 * of the image is.
 */
static __always_inline long attributes(struct dentry *dentry)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct vfsmount *root = BPF_CORE_READ(task, fs, root.mnt);
	if (BPF_CORE_READ(root, mnt_sb) != BPF_CORE_READ(dentry, d_sb))
		return 0;
	return ask_about(RT_FILES, RT_ATTRIBUTES, root, dentry, BPF_CORE_READ(dentry, d_inode), 0);
}

/* Mode, owner, group and times; a new size is a write. */
#define ATTRIBUTES_CHANGE (1 | 2 | 4 | 16 | 32 | 128 | 256)
#define ATTRIBUTES_SIZE 8

static __always_inline long set_attributes(struct dentry *dentry, struct iattr *attr)
{
	unsigned int valid = BPF_CORE_READ(attr, ia_valid);
	if (!(valid & ATTRIBUTES_CHANGE) || valid & ATTRIBUTES_SIZE)
		return 0;
	return attributes(dentry);
}

SEC("lsm/inode_setattr")
int palisade_inode_setattr(__u64 *ctx)
{
	return set_attributes((struct dentry *)ctx[1], (struct iattr *)ctx[2]);
}

/* Where the hook does not begin with how the mount maps users, as in older kernels. */
SEC("lsm/inode_setattr")
int palisade_inode_setattr_unmapped(__u64 *ctx)
{
	return set_attributes((struct dentry *)ctx[0], (struct iattr *)ctx[1]);
}

SEC("lsm/inode_setxattr")
int palisade_inode_setxattr(__u64 *ctx)
{
	return attributes((struct dentry *)ctx[1]);
}

SEC("lsm/inode_removexattr")
int palisade_inode_removexattr(__u64 *ctx)
{
	return attributes((struct dentry *)ctx[1]);
}

/* Lists of who may what, which before 6.2 are extended attributes like others. */
SEC("lsm/inode_set_acl")
int palisade_inode_set_acl(__u64 *ctx)
{
	return attributes((struct dentry *)ctx[1]);
}

SEC("lsm/inode_remove_acl")
int palisade_inode_remove_acl(__u64 *ctx)
{
	return attributes((struct dentry *)ctx[1]);
}

/* Flags of files, as chattr sets them: a call of its own since 6.17. */
SEC("lsm/inode_file_setattr")
int palisade_inode_file_setattr(__u64 *ctx)
{
	return attributes((struct dentry *)ctx[0]);
}

#define SET_FLAGS 0x40086602
#define SET_FLAGS_32 0x40046602
#define SET_FLAGS_MORE 0x401c5820 /* FS_IOC_FSSETXATTR */

static __always_inline long control(struct file *file, __u32 command)
{
	if (command != SET_FLAGS && command != SET_FLAGS_32 && command != SET_FLAGS_MORE)
		return 0;
	return of_kernel(file) ? 0 : ask_file(RT_FILES, RT_ATTRIBUTES, file, 0);
}

SEC("lsm/file_ioctl")
int BPF_PROG(palisade_file_ioctl, struct file *file, unsigned int command)
{
	return control(file, command);
}

SEC("lsm/file_ioctl_compat")
int BPF_PROG(palisade_file_ioctl_compat, struct file *file, unsigned int command)
{
	return control(file, command);
}

#endif
