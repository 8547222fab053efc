/* What the file-system op files share (mount.c, mount_fs.c, overlay.c, root.c, mask.c, dev.c, tty.c). */
#ifndef SHIM_FS_H
#define SHIM_FS_H

#include "exec.h"

#define PATH_BYTES 4096

/* path.c */
/* Directory `path` whose last component is never a symlink; made when missing. */
int root_make_nofollow(int root, const char *path);
/* File `name` directly in `parent` to bind something on; made when missing, never a symlink. */
int node_make(int parent, const char *name);
/* Is `path`, lexically, the entry `name` directly below the root? */
int path_is(const char *path, const char *name);

/* mount.c */
int tree_attr(int tree, unsigned flags, uint64_t set, uint64_t clr);
/* `ms` as for mount(2): one of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, with or without MS_REC. */
int tree_propagation(int tree, uint64_t ms);
int tree_move(int tree, int target);
/* tree_move for a mount of the container: one that lands on the new root becomes the new root. */
int mount_attach(struct ctx *c, int tree, int target, uint32_t *detail);
/* The directory (dir != 0) or file a mount goes on; refuses symlinks at /proc and /sys (CV-06). */
int mount_target(struct ctx *c, const char *path, int dir, uint32_t *detail);

/* mount_fs.c: the new mount API in four steps; all set *detail */
int fs_open(const char *type, uint32_t *detail);
int fs_set(int fs, const char *key, const char *value, uint32_t *detail);
int fs_data(const struct ctx *c, int fs, uint32_t list, int skip_ro, uint32_t *detail);
/* Creates the super block and a detached mount of it; always closes `fs`. */
int fs_finish(int fs, uint64_t attr, uint32_t *detail);

/* copyup.c: contents of directory `from` into `to`, one file system only */
int copy_tree(int from, int to);
int copy_owner(int fd, const struct statx *st);

static inline int is_type(const struct statx *st, unsigned type)
{
    return (st->stx_mode & S_IFMT) == type;
}
static inline int stat_fd(int fd, struct statx *st)
{
    return sys_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, st);
}

#endif
