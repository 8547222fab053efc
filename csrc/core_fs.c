/* Paths and mounts by descriptor. */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

int shim_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    return result(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
}

int shim_open_tree(int dirfd, const char *path, uint32_t flags)
{
    return result(syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC));
}

int shim_mount_setattr(int dirfd, const char *path, uint32_t flags, uint64_t set, uint64_t clr,
                       uint64_t propagation)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = clr, .propagation = propagation};
    return result(syscall(SYS_mount_setattr, dirfd, path, flags, &attr, sizeof(attr)));
}

int shim_mount_identity(int dirfd, const char *path, int flags, uint64_t *out)
{
    struct statx st;
    memset(&st, 0, sizeof(st));
    if (syscall(SYS_statx, dirfd, path, flags, STATX_INO | STATX_MNT_ID, &st))
        return -errno;
    out[0] = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
    out[1] = st.stx_ino;
    out[2] = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
    return 0;
}
