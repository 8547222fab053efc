/* New file systems, by fsopen(2), fsconfig(2), fsmount(2), move_mount(2). */
#include "fs.h"

#define ATTR_5_12                                                                                  \
    (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |                \
     MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)
#define VALUE_MAX 255 /* fsconfig(2) takes strings of 256 bytes with the NUL */

int fs_open(const char *type, uint32_t *detail)
{
    *detail = D_FSOPEN;
    return sys_fsopen(type, FSOPEN_CLOEXEC);
}

int fs_set(int fs, const char *key, const char *value, uint32_t *detail)
{
    *detail = D_FSCONFIG;
    if (!value)
        return sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
    return strlen(value) > VALUE_MAX ? -E2BIG
                                     : sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
}

/* One "k" or "k=v". */
static int set_item(int fs, const char *item, uint32_t *detail)
{
    char key[VALUE_MAX + 1];
    size_t n = 0;
    while (item[n] && item[n] != '=')
        n++;
    if (n > VALUE_MAX)
        return -E2BIG;
    memcpy(key, item, n);
    key[n] = 0;
    return fs_set(fs, key, item[n] ? item + n + 1 : NULL, detail);
}

int fs_data(const struct ctx *c, int fs, uint32_t list, int skip_ro, uint32_t *detail)
{
    for (uint32_t i = 0; i < list_len(c, list); i++) {
        const char *item = list_str(c, list, i);
        if (skip_ro && str_eq(item, "ro"))
            continue;
        int err = set_item(fs, item, detail);
        *detail = D_INDEX(D_FSCONFIG, 1 + i);
        if (err)
            return err;
    }
    return 0;
}

int fs_finish(int fs, uint64_t attr, uint32_t *detail)
{
    *detail = D_FSCONFIG;
    int tree = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (!tree) {
        *detail = D_FSMOUNT;
        tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
        if (tree == -EINVAL && attr & ~(uint64_t)ATTR_5_12) {
            /* Attributes younger than fsmount(2) itself. */
            tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)(attr & ATTR_5_12));
            int err = tree < 0 ? tree : tree_attr(tree, 0, attr & ~(uint64_t)ATTR_5_12, 0);
            if (err && tree >= 0)
                sys_close(tree);
            tree = err ? err : tree;
        }
    }
    sys_close(fs);
    return tree;
}

static int has_key(const struct ctx *c, uint32_t list, const char *key_eq)
{
    for (uint32_t i = 0; i < list_len(c, list); i++)
        if (str_starts(list_str(c, list, i), key_eq))
            return 1;
    return 0;
}

/* As runc: a tmpfs on a directory that was there has that directory's mode unless options say so. */
static int set_mode(int fs, unsigned mode, uint32_t *detail)
{
    char text[5] = {(char)('0' + (mode >> 9 & 7)), (char)('0' + (mode >> 6 & 7)),
                    (char)('0' + (mode >> 3 & 7)), (char)('0' + (mode & 7)), 0};
    return fs_set(fs, "mode", text, detail);
}

/* A detached mount; `old` describes the directory it is for, NULL when that was just made. */
static int make_fs(struct ctx *c, const struct plan_op *op, const struct statx *old,
                   uint32_t *detail)
{
    const char *type = op_str(c, op, 1), *source = op_str(c, op, 2);
    int copyup = old && op->flags & MOUNT_TMPCOPYUP; /* nothing to copy: "ro" at once */
    uint64_t attr = copyup ? op->num[0] & ~(uint64_t)MOUNT_ATTR_RDONLY : op->num[0];
    int fs = fs_open(type, detail);
    if (fs < 0)
        return fs;
    int err = source ? fs_set(fs, "source", source, detail) : 0;
    if (!err && old && str_eq(type, "tmpfs"))
        err = set_mode(fs, old->stx_mode, detail);
    if (!err && op->flags & MOUNT_RDONLY_SB && !copyup)
        err = fs_set(fs, "ro", NULL, detail);
    if (!err)
        err = fs_data(c, fs, op->list, copyup, detail);
    if (!err)
        return fs_finish(fs, attr, detail);
    sys_close(fs);
    return err;
}

/* The kernel gives a new sysfs only to the owner of the network namespace; runc and crun bind the
 * host's instead. Attributes go to all of it: cgroup and the like are mounted below. */
static int bind_sysfs(const struct plan_op *op, uint32_t *detail)
{
    *detail = D_CLONE_TREE;
    int tree = sys_open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0)
        return tree;
    *detail = D_SETATTR;
    int err = tree_propagation(tree, MS_SLAVE | MS_REC);
    if (!err) /* without the atime ones, which a user namespace finds locked */
        err = tree_attr(tree, AT_RECURSIVE, op->num[0] & 0xf, 0);
    if (err)
        sys_close(tree);
    return err ? err : tree;
}

static int copy_up(struct ctx *c, const struct plan_op *op, int target, int tree,
                   const struct statx *old, uint32_t *detail)
{
    *detail = D_COPYUP;
    int err = copy_tree(target, tree);
    if (!err && !has_key(c, op->list, "uid=") && !has_key(c, op->list, "gid="))
        err = copy_owner(tree, old);
    if (!err) {
        *detail = D_SETATTR;
        err = tree_attr(tree, 0, op->num[0] & MOUNT_ATTR_RDONLY, 0);
    }
    return err;
}

/* *existed: 1 and `st` filled when the destination was there before. */
static int fs_target(struct ctx *c, const struct plan_op *op, struct statx *st, int *existed,
                     uint32_t *detail)
{
    const char *path = op_str(c, op, 0), *type = op_str(c, op, 1);
    int fd;
    *detail = D_MAKE_TARGET;
    *existed = 0;
    if (str_eq(type, "proc") || str_eq(type, "sysfs")) {
        /* A symlink here is how masks and writes to /proc were led elsewhere: SECURITY.md CV-06. */
        fd = root_make_nofollow(c->rootfd, path);
        if (fd == -ELOOP || fd == -ENOTDIR)
            *detail = D_SYMLINK;
        return fd;
    }
    if (!str_eq(type, "tmpfs"))
        return mount_target(c, path, 1, detail);
    fd = root_open(c->rootfd, path, O_DIRECTORY);
    if (fd >= 0)
        *existed = stat_fd(fd, st) == 0;
    if (fd >= 0 && !path_is(path, "proc") && !path_is(path, "sys"))
        return fd;
    if (fd >= 0)
        sys_close(fd);
    return mount_target(c, path, 1, detail);
}

int op_mount_fs(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct statx st;
    int existed;
    int target = fs_target(c, op, &st, &existed, detail);
    if (target < 0)
        return target;
    int tree = make_fs(c, op, existed ? &st : NULL, detail);
    if (tree == -EPERM && op->flags & MOUNT_SYSFS_BIND)
        tree = bind_sysfs(op, detail);
    int err = tree < 0 ? tree : 0;
    if (!err && existed && op->flags & MOUNT_TMPCOPYUP)
        err = copy_up(c, op, target, tree, &st, detail);
    if (!err)
        err = mount_attach(c, tree, target, detail);
    if (!err) {
        *detail = D_PROPAGATION;
        err = tree_propagation(tree, op->num[1]);
    }
    if (tree >= 0)
        sys_close(tree);
    sys_close(target);
    return err;
}
