/* Attaching mounts below the new root: bind mounts, remounts, propagation. */
#include "fs.h"

int tree_attr(int tree, unsigned flags, uint64_t set, uint64_t clr)
{
    struct mount_attr attr = {.attr_set = set, .attr_clr = clr};
    /* Nothing asked, nothing touched: attributes may be locked in a user namespace. */
    return set | clr ? sys_mount_setattr(tree, "", AT_EMPTY_PATH | flags, &attr) : 0;
}

int tree_propagation(int tree, uint64_t ms)
{
    struct mount_attr attr = {.propagation = ms & ~(uint64_t)MS_REC};
    if (!attr.propagation)
        return 0;
    return sys_mount_setattr(tree, "", AT_EMPTY_PATH | (ms & MS_REC ? AT_RECURSIVE : 0), &attr);
}

int tree_move(int tree, int target)
{
    return sys_move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* move_mount(2) answers EINVAL for a file on a directory or the other way round; mount(2), and so every
 * other runtime, ENOTDIR. */
static int explain(int err, int tree, const struct statx *target)
{
    struct statx st;
    if (err != -EINVAL || stat_fd(tree, &st))
        return err;
    return is_type(&st, S_IFDIR) == is_type(target, S_IFDIR) ? err : -ENOTDIR;
}

/* Walking from c->rootfd does not enter a mount on that very directory. */
int mount_attach(struct ctx *c, int tree, int target, uint32_t *detail)
{
    struct statx root, st;
    *detail = D_MOVE_MOUNT;
    int err = stat_fd(c->rootfd, &root);
    if (!err)
        err = stat_fd(target, &st);
    if (!err)
        err = explain(tree_move(tree, target), tree, &st);
    if (err || st.stx_mnt_id != root.stx_mnt_id || st.stx_ino != root.stx_ino)
        return err;
    int fd = sys_fcntl(tree, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return fd;
    sys_close(c->rootfd);
    c->rootfd = fd;
    return 0;
}

int mount_target(struct ctx *c, const char *path, int dir, uint32_t *detail)
{
    *detail = D_MAKE_TARGET;
    if (!path_is(path, "proc") && !path_is(path, "sys"))
        return root_make(c->rootfd, path, dir);
    int fd = root_make_nofollow(c->rootfd, path);
    if (fd == -ELOOP || fd == -ENOTDIR)
        *detail = D_SYMLINK;
    return fd;
}

int op_propagation(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    *detail = D_PROPAGATION;
    return sys_mount(NULL, "/", NULL, op->num[0], NULL);
}

/* The tree comes from the caller's mount namespace, where it is a peer of what it was cloned from:
 * unless it becomes a slave first, every mount made on it, by us or by the container, would appear on
 * the host too. */
static int bind_prepare(struct ctx *c, const struct plan_op *op, int tree, uint32_t *detail)
{
    int err = 0;
    *detail = D_PROPAGATION;
    if (!(op->flags & BIND_SHARED_PEER))
        err = tree_propagation(tree, MS_SLAVE | MS_REC);
    if (err)
        return err;
    *detail = D_SETATTR;
    err = tree_attr(tree, 0, op->num[0], op->num[1]);
    if (!err && op->num[3] && list_len(c, op->nums) == 2)
        err = tree_attr(tree, AT_RECURSIVE, list_u32(c, op->nums, 0), list_u32(c, op->nums, 1));
    return err;
}

int op_mount_bind(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct statx st;
    int tree = op_fd(c, op);
    *detail = D_CLONE_TREE;
    int err = stat_fd(tree, &st);
    if (!err)
        err = bind_prepare(c, op, tree, detail);
    if (err)
        return err;
    int target = mount_target(c, op_str(c, op, 0), is_type(&st, S_IFDIR), detail);
    if (target < 0)
        return target;
    err = mount_attach(c, tree, target, detail);
    sys_close(target);
    if (err)
        return err;
    *detail = D_PROPAGATION; /* after attaching, which may make a mount shared */
    return tree_propagation(tree, op->num[2]);
}

int op_remount(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    *detail = D_OPEN_TARGET;
    int fd = root_open(c->rootfd, op_str(c, op, 0), 0);
    if (fd < 0)
        return fd;
    *detail = D_SETATTR;
    int err = tree_attr(fd, 0, op->num[0], op->num[1]);
    if (!err) {
        *detail = D_PROPAGATION;
        err = tree_propagation(fd, op->num[2]);
    }
    sys_close(fd);
    return err;
}
