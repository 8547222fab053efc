/* A pseudo-terminal of the container's own devpts: the slave becomes stdio, the master leaves through a
 * socket. No path to a slave is ever used, since the container could put something else there
 * (SECURITY.md CV-13). */
#include "fs.h"

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000

/* The name other runtimes send with the master (runc, docs/terminals.md); receivers only show it. */
#define MASTER_NAME "/dev/ptmx"

struct one_fd {
    size_t len;
    int level, type;
    int fd;
    int pad;
};

/* <linux/socket.h> has no struct msghdr for user space. */
struct message {
    void *name;
    uint32_t namelen;
    struct {
        const void *base;
        size_t len;
    } *iov;
    size_t iovlen;
    struct one_fd *control;
    size_t controllen;
    uint32_t flags;
};

static int open_master(int root, uint32_t *detail)
{
    *detail = D_PTY;
    int pts = root_open(root, "/dev/pts", O_DIRECTORY);
    if (pts < 0)
        return pts;
    /* Only on a devpts is "ptmx" sure to be what it should be. */
    int fd = -ENODEV;
    if (sys_fs_magic(pts) == DEVPTS_SUPER_MAGIC)
        fd = sys_openat2(pts, "ptmx", O_RDWR | O_NOCTTY, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    sys_close(pts);
    return fd;
}

static int open_slave(int master, uint64_t size)
{
    int unlocked = 0;
    struct {
        unsigned short row, col, xpixel, ypixel;
    } ws = {(unsigned short)(size >> 16), (unsigned short)size, 0, 0};
    int err = sys_ioctl(master, TIOCSPTLCK, &unlocked);
    if (!err && size)
        err = sys_ioctl(master, TIOCSWINSZ, &ws);
    if (err)
        return err;
    return sys_ioctl(master, TIOCGPTPEER, (void *)(uintptr_t)(O_RDWR | O_NOCTTY | O_CLOEXEC));
}

/* /dev/console of the new root; a symlink there is refused. */
static int bind_console(struct ctx *c, int slave, uint32_t *detail)
{
    const char *base;
    *detail = D_MAKE_TARGET;
    int parent = root_parent(c->rootfd, "/dev/console", &base);
    int node = parent < 0 ? parent : node_make(parent, base);
    if (parent >= 0)
        sys_close(parent);
    if (node < 0)
        return node;
    *detail = D_CLONE_TREE;
    int tree = sys_open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    int err = tree < 0 ? tree : 0;
    if (!err) {
        *detail = D_MOVE_MOUNT;
        err = tree_move(tree, node);
    }
    if (tree >= 0)
        sys_close(tree);
    sys_close(node);
    return err;
}

static int send_master(int sock, int master, uint32_t *detail)
{
    struct {
        const void *base;
        size_t len;
    } iov = {MASTER_NAME, sizeof(MASTER_NAME) - 1};
    struct one_fd control = {offsetof(struct one_fd, pad), SOL_SOCKET, SCM_RIGHTS, master, 0};
    struct message m = {
        .iov = (void *)&iov, .iovlen = 1, .control = &control, .controllen = sizeof(control)};
    long n;
    *detail = D_SEND;
    do
        n = SYS(__NR_sendmsg, sock, &m, MSG_NOSIGNAL, 0, 0, 0);
    while (n == -EINTR);
    if (n < 0)
        return (int)n;
    return n == sizeof(MASTER_NAME) - 1 ? 0 : -EIO;
}

/* Controlling terminal and stdio. The owner is changed as runc does, where the namespace allows it. */
static int use_slave(int slave, uint32_t uid, uint32_t *detail)
{
    *detail = D_PTY;
    int err = sys_fchownat(slave, "", uid, (uint32_t)-1, AT_EMPTY_PATH);
    if (err && err != -EPERM && err != -EINVAL)
        return err;
    err = sys_ioctl(slave, TIOCSCTTY, NULL);
    for (int i = 0; !err && i < 3; i++) {
        int fd = slave == i ? i : sys_dup3(slave, i, 0);
        err = fd < 0 ? fd : 0;
    }
    return err;
}

static int with_slave(struct ctx *c, const struct plan_op *op, int master, int slave,
                      uint32_t *detail)
{
    int err = 0;
    if (op->flags & CONSOLE_BIND)
        err = bind_console(c, slave, detail);
    if (!err)
        err = send_master(op_fd(c, op), master, detail);
    if (!err)
        err = use_slave(slave, (uint32_t)op->num[1], detail);
    return err;
}

int op_console(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int root = c->rootfd;
    *detail = D_SEND;
    if (op_fd(c, op) < 0)
        return -EBADF; /* a terminal whose master nobody holds is hung up at once */
    if (op->flags & CONSOLE_JOINED)
        root = sys_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    int master = root < 0 ? root : open_master(root, detail);
    if (root >= 0 && root != c->rootfd)
        sys_close(root);
    if (master < 0)
        return master;
    int slave = open_slave(master, op->num[0]);
    int err = slave < 0 ? slave : with_slave(c, op, master, slave, detail);
    if (slave > 2)
        sys_close(slave);
    sys_close(master);
    return err;
}
