/* What the container must not see or write: masked and read-only paths, and the sysctls that we write
 * for it. All of it before pivot_root, while the host's /dev and /proc can be trusted. */
#include "fs.h"

/* Kept between ops: one empty directory serves every mask, as in runc 1.5. */
static int empty_dir = -1;

/* config-linux.md: a masked or read-only path that does not exist is not an error. */
static int open_existing(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    *detail = D_OPEN_TARGET;
    int fd = root_open(c->rootfd, op_str(c, op, 0), 0);
    return fd == -ENOTDIR ? -ENOENT : fd;
}

static int new_empty_dir(uint32_t *detail)
{
    uint64_t attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    int fs = fs_open("tmpfs", detail);
    int err = fs < 0 ? fs : fs_set(fs, "nr_blocks", "1", detail);
    if (!err)
        err = fs_set(fs, "nr_inodes", "1", detail);
    if (!err)
        return fs_finish(fs, attr, detail);
    if (fs >= 0)
        sys_close(fs);
    return err;
}

static int mask_dir(int target, uint32_t *detail)
{
    int tree = -EBADF;
    if (empty_dir >= 0)
        tree = sys_open_tree(empty_dir, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        tree = new_empty_dir(detail);
    if (tree < 0)
        return tree;
    *detail = D_MOVE_MOUNT;
    int err = tree_move(tree, target);
    if (empty_dir < 0 && !err)
        empty_dir = tree;
    else
        sys_close(tree);
    return err;
}

/* The host's /dev/null, and proven to be it: whatever a rootfs has at /dev/null may be a symlink to
 * anything (SECURITY.md CV-12). */
static int mask_file(int target, uint32_t *detail)
{
    struct statx st;
    *detail = D_CLONE_TREE;
    int tree = sys_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    int err = stat_fd(tree, &st);
    if (!err && !(is_type(&st, S_IFCHR) && st.stx_rdev_major == 1 && st.stx_rdev_minor == 3)) {
        *detail = D_CHECK;
        err = -ENODEV;
    }
    if (!err)
        err = tree_propagation(tree, MS_PRIVATE);
    if (!err) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tree, target);
    }
    sys_close(tree);
    return err;
}

int op_mask_path(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct statx st;
    int target = open_existing(c, op, detail);
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    int err = stat_fd(target, &st);
    if (!err)
        err = is_type(&st, S_IFDIR) ? mask_dir(target, detail) : mask_file(target, detail);
    sys_close(target);
    return err;
}

/* Bound on itself: nosuid, nodev and noexec of the original stay, since only read-only is added. */
int op_readonly_path(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    int target = open_existing(c, op, detail);
    if (target < 0)
        return target == -ENOENT ? 0 : target;
    *detail = D_CLONE_TREE;
    int tree = sys_open_tree(target, "", flags);
    int err = tree < 0 ? tree : 0;
    if (!err) {
        *detail = D_SETATTR;
        err = tree_attr(tree, AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0);
    }
    if (!err) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tree, target);
    }
    if (tree >= 0)
        sys_close(tree);
    sys_close(target);
    return err;
}

/* /proc/sys of a procfs nobody else can mount on; where the kernel refuses a new one (a user namespace
 * that sees a masked /proc), the host's, whose sysctls are the current namespaces' all the same
 * (SECURITY.md CV-07). */
static int open_sysctls(uint32_t *detail)
{
    int fs = fs_open("proc", detail);
    if (fs < 0)
        return fs;
    int proc = fs_finish(fs, 0, detail);
    if (proc == -EPERM)
        proc = sys_openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);
    if (proc < 0)
        return proc;
    *detail = D_NOT_PROC;
    int sysctls = -EXDEV;
    if (sys_fs_magic(proc) == PROC_SUPER_MAGIC)
        sysctls = sys_openat2(proc, "sys", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                              RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    sys_close(proc);
    return sysctls;
}

int op_sysctl(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *value = op_str(c, op, 1);
    int dir = open_sysctls(detail);
    if (dir < 0)
        return dir;
    *detail = D_OPEN_TARGET;
    int fd = sys_openat2(dir, op_str(c, op, 0), O_WRONLY, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    sys_close(dir);
    if (fd < 0)
        return fd;
    *detail = D_WRITE;
    long n = sys_write(fd, value, strlen(value));
    sys_close(fd);
    if (n < 0)
        return (int)n;
    return (size_t)n == strlen(value) ? 0 : -EIO;
}
