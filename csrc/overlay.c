/* The ephemeral overlay: a read-only directory of the host below, writes in a tmpfs of the container. */
#include "fs.h"

#define SELF_FD "/proc/self/fd/"

struct paths { /* how overlayfs is told of descriptors */
    char lower[40], upper[48], work[48];
};

static void fd_path(char *out, int fd, const char *rest)
{
    memcpy(out, SELF_FD, sizeof(SELF_FD));
    size_t n = sizeof(SELF_FD) - 1;
    n += str_decimal(out + n, (uint64_t)fd);
    memcpy(out + n, rest, strlen(rest) + 1);
}

/* Descriptors are named through /proc, still the host's here. One that is not a procfs could name
 * anything (SECURITY.md CV-06). */
static int check_proc(uint32_t *detail)
{
    *detail = D_NOT_PROC;
    int fd = sys_openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    long magic = sys_fs_magic(fd);
    sys_close(fd);
    return magic == PROC_SUPER_MAGIC ? 0 : -EXDEV;
}

/* The merged root shows the upper directory's owner and mode, so those must be the lower one's. */
static int make_layers(int tmpfs, int lower, uint32_t *detail)
{
    struct statx st;
    *detail = D_CREATE;
    int err = stat_fd(lower, &st);
    if (!err)
        err = sys_mkdirat(tmpfs, "work", 0700);
    if (!err)
        err = sys_mkdirat(tmpfs, "upper", 0700);
    int upper = err ? err : sys_openat(tmpfs, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (upper < 0)
        return upper;
    err = copy_owner(upper, &st);
    if (!err)
        err = sys_fchmod(upper, st.stx_mode & 07777);
    sys_close(upper);
    return err;
}

/* Attached at once, and left there below the overlay: overlayfs clones the mounts of its layers, and
 * before Linux 6.15 clone_private_mount() takes only mounts that are in the caller's namespace. */
static int attach_scratch(int target, int lower, uint32_t *detail)
{
    int fs = fs_open("tmpfs", detail);
    if (fs < 0)
        return fs;
    int err = fs_set(fs, "mode", "0755", detail);
    int tmpfs = -1;
    if (!err)
        tmpfs = err = fs_finish(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, detail);
    else
        sys_close(fs);
    if (err >= 0) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tmpfs, target);
    }
    if (!err)
        err = make_layers(tmpfs, lower, detail);
    if (err && tmpfs >= 0)
        sys_close(tmpfs);
    return err ? err : tmpfs;
}

static int make_overlay(struct ctx *c, const struct plan_op *op, const struct paths *p,
                        uint32_t *detail)
{
    int fs = fs_open("overlay", detail);
    if (fs < 0)
        return fs;
    int err = fs_set(fs, "source", "overlay", detail);
    if (!err)
        err = fs_set(fs, "lowerdir", p->lower, detail);
    if (!err)
        err = fs_set(fs, "upperdir", p->upper, detail);
    if (!err)
        err = fs_set(fs, "workdir", p->work, detail);
    if (!err)
        err = fs_data(c, fs, op->list, 0, detail);
    if (!err)
        return fs_finish(fs, op->num[0], detail);
    sys_close(fs);
    return err;
}

static int overlay_on(struct ctx *c, const struct plan_op *op, int lower, int target,
                      uint32_t *detail)
{
    struct paths p;
    int tmpfs = attach_scratch(target, lower, detail);
    if (tmpfs < 0)
        return tmpfs;
    fd_path(p.lower, lower, "");
    fd_path(p.upper, tmpfs, "/upper");
    fd_path(p.work, tmpfs, "/work");
    int tree = make_overlay(c, op, &p, detail);
    sys_close(tmpfs);
    if (tree < 0)
        return tree;
    /* `target` is what the tmpfs covers; move_mount(2) goes on the topmost mount there. */
    int err = mount_attach(c, tree, target, detail);
    sys_close(tree);
    return err;
}

/* The lower directory is opened before anything covers it: it may be the rootfs itself. */
int op_mount_overlay(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int err = check_proc(detail);
    if (err)
        return err;
    *detail = D_OPEN_TARGET;
    int lower = sys_openat(AT_FDCWD, op_str(c, op, 1), O_PATH | O_DIRECTORY, 0);
    if (lower < 0)
        return lower;
    int target = mount_target(c, op_str(c, op, 0), 1, detail);
    err = target < 0 ? target : overlay_on(c, op, lower, target, detail);
    if (target >= 0)
        sys_close(target);
    sys_close(lower);
    return err;
}
