/* Device nodes and links. The parent directory is resolved inside the root, and the node is made in
 * that directory by name: a /dev that is a symlink leads nowhere outside (SECURITY.md CV-14). */
#include "fs.h"

#define MAJOR(dev) ((uint32_t)((dev) >> 8 & 0xfff))
#define MINOR(dev) ((uint32_t)(((dev) & 0xff) | ((dev) >> 12 & 0xfff00)))

static int check_existing(int parent, const char *base, unsigned mode, uint64_t dev)
{
    struct statx st;
    int err = sys_statx(parent, base, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st);
    if (err)
        return err;
    if (!is_type(&st, mode & S_IFMT))
        return -EEXIST;
    if (is_type(&st, S_IFIFO))
        return 0;
    return st.stx_rdev_major == MAJOR(dev) && st.stx_rdev_minor == MINOR(dev) ? 0 : -EEXIST;
}

static int bind_device(int parent, const char *base, int tree, uint32_t *detail)
{
    *detail = D_CREATE;
    int node = node_make(parent, base);
    if (node < 0)
        return node;
    /* The clone is a peer of the host's mount: a mount on it would appear there. */
    *detail = D_PROPAGATION;
    int err = tree_propagation(tree, MS_PRIVATE);
    if (!err) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tree, node);
    }
    sys_close(node);
    return err;
}

static int make_node(int parent, const char *base, const struct plan_op *op, uint32_t *detail)
{
    unsigned mode = (unsigned)op->num[0], mask = sys_umask(0);
    *detail = D_CREATE;
    int err = sys_mknodat(parent, base, mode, op->num[1]);
    sys_umask(mask);
    if (err == -EEXIST)
        return check_existing(parent, base, mode, op->num[1]);
    if (!err)
        err = sys_fchownat(parent, base, (uint32_t)(op->num[2] >> 32), (uint32_t)op->num[2],
                           AT_SYMLINK_NOFOLLOW);
    return err;
}

int op_mknod(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *base;
    int tree = op_fd(c, op), err = -EPERM;
    *detail = D_MAKE_TARGET;
    int parent = root_parent(c->rootfd, op_str(c, op, 0), &base);
    if (parent < 0)
        return parent;
    if (!(op->flags & MKNOD_BIND))
        err = make_node(parent, base, op, detail);
    if (err == -EPERM && tree >= 0)
        err = bind_device(parent, base, tree, detail);
    sys_close(parent);
    return err;
}

int op_symlink(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *base;
    *detail = D_MAKE_TARGET;
    int parent = root_parent(c->rootfd, op_str(c, op, 1), &base);
    if (parent < 0)
        return parent;
    *detail = D_CREATE;
    int err = sys_symlinkat(op_str(c, op, 0), parent, base);
    sys_close(parent);
    return err == -EEXIST ? 0 : err; /* as runc: images bring their own */
}
