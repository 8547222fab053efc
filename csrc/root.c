/* The new root: made a mount, then made "/". */
#include "fs.h"

/* Where a detached tree goes: on the directory it shows when str0 names it, as other runtimes have it,
 * else over "/". The latter always works, even where a user namespace may not search the directories
 * above the rootfs: path lookup never walks into a mount on the root directory itself. */
static int open_place(struct ctx *c, const struct plan_op *op, int tree)
{
    struct statx st, want;
    const char *path = op_str(c, op, 0);
    int fd = path ? sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0) : -ENOENT;
    if (fd >= 0) {
        if (!stat_fd(fd, &st) && !stat_fd(tree, &want) && st.stx_ino == want.stx_ino &&
            st.stx_dev_major == want.stx_dev_major && st.stx_dev_minor == want.stx_dev_minor)
            return fd;
        sys_close(fd);
    }
    return sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
}

/* The descriptor is a directory of this mount namespace, to be bound on itself, or a detached tree from
 * the caller's, since open_tree(2) clones no mount of another namespace. */
int op_root_bind(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int fd = op_fd(c, op), place = -1;
    unsigned flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    *detail = D_CLONE_TREE;
    int tree = sys_open_tree(fd, "", flags);
    if (tree == -EINVAL) {
        tree = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
        place = open_place(c, op, fd);
    }
    int err = tree < 0 ? tree : 0;
    if (!err) {
        /* A clone is a peer of its original: mounts of the container must not appear there. */
        *detail = D_PROPAGATION;
        err = tree_propagation(tree, MS_SLAVE | MS_REC);
    }
    if (!err) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tree, place >= 0 ? place : fd);
    }
    if (place >= 0)
        sys_close(place);
    if (err && tree >= 0)
        sys_close(tree);
    if (!err)
        c->rootfd = tree;
    return err;
}

/* ".." of the root is the root, with whatever is mounted over it: there must be nothing, least of all
 * the tree of the host. */
static int nothing_over_root(void)
{
    struct statx root, top;
    int err = sys_statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &root);
    if (!err)
        err = sys_statx(AT_FDCWD, "/..", 0, STATX_MNT_ID, &top);
    if (!err && root.stx_mask & top.stx_mask & STATX_MNT_ID && root.stx_mnt_id != top.stx_mnt_id)
        err = -EBUSY;
    return err;
}

/* pivot_root(2), NOTES: both at the same place, so that no directory for the old root is needed. */
static int pivot(void)
{
    int old = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    if (old < 0)
        return old;
    int err = sys_pivot_root(".", ".");
    if (!err)
        err = sys_fchdir(old);
    if (!err) /* the unmount must not reach the host */
        err = sys_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
    if (!err)
        err = sys_umount2(".", MNT_DETACH);
    /* umount2 takes the topmost mount on the old root. That is the rootfs, not the old root itself, where
     * the rootfs was put over "/" (open_place) and an overlay over the rootfs. */
    while (!err && !sys_umount2(".", MNT_DETACH))
        ;
    sys_close(old);
    return err ? err : nothing_over_root();
}

/* After chroot(2) the old mounts stay in the namespace, and a complete procfs or sysfs among them lets
 * the container mount another one without the masks (runc's msMoveRoot says the same). Best effort:
 * they are busy or locked where this is not possible. */
static void drop_pseudo(const char *path)
{
    if (!sys_mount(NULL, path, NULL, MS_PRIVATE | MS_REC, NULL) && sys_umount2(path, MNT_DETACH))
        (void)sys_mount("tmpfs", path, "tmpfs", MS_RDONLY, NULL);
}

static int move(void)
{
    drop_pseudo("/proc");
    drop_pseudo("/sys");
    int err = sys_mount(".", "/", NULL, MS_MOVE, NULL);
    if (err == -ELOOP) /* it is the topmost mount on "/" already: see open_place */
        err = 0;
    return err ? err : sys_chroot(".");
}

int op_pivot_root(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    *detail = D_OPEN_TARGET;
    int err = sys_fchdir(c->rootfd);
    *detail = D_MOVE_MOUNT;
    if (!err)
        err = op->flags & PIVOT_MOVE ? move() : pivot();
    if (!err)
        err = sys_chdir("/");
    if (err)
        return err;
    sys_close(c->rootfd);
    c->rootfd = -1;
    return 0;
}

int op_root_attr(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    *detail = D_OPEN_TARGET;
    int fd = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    *detail = D_SETATTR;
    int err = tree_attr(fd, 0, op->num[0], 0);
    if (!err) {
        *detail = D_PROPAGATION;
        err = tree_propagation(fd, op->num[1]);
    }
    sys_close(fd);
    return err;
}
