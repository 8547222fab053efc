/* Device nodes, links and the terminal. */
#include "fs_test.h"

static const char *const none[] = {NULL};

static int mknod_op(int root, const char *path, unsigned mode, uint64_t dev, uint32_t *detail)
{
    struct built b;
    build(&b, root);
    set_str(&b, 0, path);
    b.op.num[0] = mode;
    b.op.num[1] = dev;
    b.op.num[2] = (uint64_t)3 << 32 | 4;
    int err = run(&b, op_mknod);
    *detail = b.detail;
    return err;
}

static void nodes(void)
{
    uint32_t detail;
    int root = bound_root();
    sys_umask(077);
    EQUAL(mknod_op(root, "/dev/null", S_IFCHR | 0666, 0x103, &detail), 0);
    struct statx st = stat_at(AT_FDCWD, ROOTFS "/dev/null");
    EQUAL(st.stx_mode, S_IFCHR | 0666);
    CHECK(st.stx_uid == 3 && st.stx_gid == 4);
    CHECK(st.stx_rdev_major == 1 && st.stx_rdev_minor == 3);
    EQUAL(mknod_op(root, "/dev/null", S_IFCHR | 0666, 0x103, &detail), 0);
    EQUAL(mknod_op(root, "/dev/null", S_IFCHR | 0666, 0x105, &detail), -EEXIST);
    EQUAL(mknod_op(root, "/dev/null", S_IFBLK | 0666, 0x103, &detail), -EEXIST);
    EQUAL(detail, D_CREATE);
    EQUAL(mknod_op(root, "/dev/dir/fifo", S_IFIFO | 0600, 0, &detail), 0);
    EQUAL(mknod_op(root, "/dev/dir/fifo", S_IFIFO | 0600, 0, &detail), 0);
    /* minor above 255, as glibc's makedev packs it */
    EQUAL(mknod_op(root, "/dev/big", S_IFCHR | 0600, 0x12c00a34, &detail), 0);
    EQUAL(stat_at(AT_FDCWD, ROOTFS "/dev/big").stx_rdev_minor, 0x12c34);
    EQUAL(mknod_op(root, "/dev/big", S_IFCHR | 0600, 0x12c00a34, &detail), 0);
}

/* SECURITY.md CV-14 */
static void symlinked_dev_stays_inside(void)
{
    uint32_t detail;
    struct built b;
    slink(CANARY, ROOTFS "/dev");
    int root = bound_root();
    EQUAL(mknod_op(root, "/dev/null", S_IFCHR | 0666, 0x103, &detail), 0);
    build(&b, root);
    set_str(&b, 0, "pts/ptmx");
    set_str(&b, 1, "/dev/ptmx");
    EQUAL(run(&b, op_symlink), 0);
    EQUAL(run(&b, op_symlink), 0);
    CHECK(is_empty(CANARY));
    CHECK(there(ROOTFS CANARY "/null") && there(ROOTFS CANARY "/ptmx"));
}

static int bind_device_op(int root, const char *path, const char *host)
{
    struct built b;
    build(&b, root);
    set_str(&b, 0, path);
    int tree = sys_open_tree(AT_FDCWD, host, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    CHECK(tree >= 0);
    set_fd(&b, tree);
    b.op.flags = MKNOD_BIND;
    return run(&b, op_mknod);
}

static void devices_bound_from_the_host(void)
{
    int root = bound_root();
    EQUAL(bind_device_op(root, "/dev/zero", "/dev/zero"), 0);
    EQUAL(stat_at(root_open(root, "/dev/zero", 0), "").stx_rdev_minor, 5);
    slink("/dev/zero", ROOTFS "/dev/link");
    EQUAL(bind_device_op(root, "/dev/link", "/dev/full"), -ELOOP);
    EQUAL(stat_at(root_open(root, "/dev/zero", 0), "").stx_rdev_minor, 5);
}

/* What the container mounts on a bound device stays in the container. */
static void bound_devices_are_private(void)
{
    struct built b;
    dir(BASE "/devices", 0755);
    EQUAL(sys_mount("tmpfs", BASE "/devices", "tmpfs", 0, NULL), 0);
    EQUAL(sys_mount(NULL, BASE "/devices", NULL, MS_SHARED, NULL), 0);
    file(BASE "/devices/one", "1");
    int root = bound_root();
    EQUAL(bind_device_op(root, "/dev/one", BASE "/devices/one"), 0);
    CHECK(content_is(root, "dev/one", "1"));
    build(&b, root);
    set_str(&b, 0, "/dev/one");
    EQUAL(run(&b, op_mask_path), 0);
    CHECK(content_is(root, "dev/one", "") && content_is(AT_FDCWD, BASE "/devices/one", "1"));
}

struct sink {
    int socket, received;
    char name[32];
};

/* What conmon and containerd's shim do with a console socket. */
static void receive(struct sink *s)
{
    union {
        struct {
            size_t len;
            int level, type, fd, pad;
        } one;
        char room[64];
    } control;
    struct {
        void *base;
        size_t len;
    } iov = {s->name, sizeof(s->name) - 1};
    struct {
        void *name;
        uint32_t namelen;
        void *iov;
        size_t iovlen;
        void *control;
        size_t controllen;
        uint32_t flags;
    } m = {.iov = &iov, .iovlen = 1, .control = &control, .controllen = sizeof(control)};
    CHECK(SYS(__NR_recvmsg, s->socket, &m, 0, 0, 0, 0) > 0);
    EQUAL(control.one.len, 20);
    s->received = control.one.fd;
}

static int pair(struct sink *s)
{
    int fds[2];
    memset(s, 0, sizeof(*s));
    EQUAL(SYS(__NR_socketpair, 1 /* AF_UNIX */, 1 /* SOCK_STREAM */, 0, fds, 0, 0), 0);
    s->socket = fds[0];
    return fds[1];
}

static int console_op(struct built *b, int root, int flags, int sock)
{
    build(b, root);
    b->op.flags = (uint16_t)flags;
    b->op.num[0] = 25 << 16 | 81;
    b->op.num[1] = 1234;
    set_fd(b, sock);
    return run(b, op_console);
}

static void terminal_works(struct sink *s)
{
    char line[16] = "";
    unsigned short size[4];
    EQUAL(sys_ioctl(s->received, TIOCGWINSZ, size), 0);
    CHECK(size[0] == 25 && size[1] == 81);
    EQUAL(sys_write(1, "hello\n", 6), 6);
    EQUAL(sys_read(s->received, line, sizeof(line)), 7);
    CHECK(memcmp(line, "hello\r\n", 7) == 0);
    CHECK(strcmp(s->name, "/dev/ptmx") == 0);
    EQUAL(stat_at(0, "").stx_uid, 1234);
    /* the controlling terminal */
    EQUAL(sys_openat(AT_FDCWD, "/dev/tty", O_RDWR, 0) >= 0, 1);
}

/* The terminal replaces stdio, so failures in the child are seen in its exit status. */
static void in_child(void (*body)(void))
{
    int status, child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        EQUAL(setsid() > 0, 1);
        body();
        die(0);
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
}

static void console_body(void)
{
    struct built b;
    struct sink s;
    int root = bound_root(), sock = pair(&s);
    build(&b, root);
    EQUAL(mount_fs(&b, "/dev/pts", "devpts", (const char *[]){"newinstance", "mode=0620", NULL}, 0),
          0);
    EQUAL(console_op(&b, root, CONSOLE_BIND, sock), 0);
    receive(&s);
    struct statx a = stat_at(0, ""), d = stat_at(root_open(root, "/dev/console", 0), "");
    EQUAL(a.stx_rdev_minor, d.stx_rdev_minor);
    EQUAL(a.stx_rdev_major, d.stx_rdev_major);
    EQUAL(a.stx_ino, d.stx_ino);
    terminal_works(&s);
}

static void console(void) { in_child(console_body); }

static void joined_body(void)
{
    struct built b;
    struct sink s;
    int root = bound_root(), sock = pair(&s);
    build(&b, root);
    EQUAL(mount_fs(&b, "/dev/pts", "devpts", (const char *[]){"newinstance", NULL}, 0), 0);
    EQUAL(sys_mknodat(AT_FDCWD, ROOTFS "/dev/tty", S_IFCHR | 0666, 0x500), 0);
    root = b.c.rootfd;
    build(&b, root);
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    EQUAL(console_op(&b, -1, CONSOLE_JOINED, sock), 0);
    receive(&s);
    terminal_works(&s);
    CHECK(!there("/dev/console"));
}

static void console_joined(void) { in_child(joined_body); }

/* SECURITY.md CV-13 */
static void console_refuses_what_is_not_a_devpts(void)
{
    struct built b;
    struct sink s;
    int root = bound_root(), sock = pair(&s);
    dir(ROOTFS "/dev", 0755);
    dir(ROOTFS "/dev/pts", 0755);
    EQUAL(sys_mknodat(AT_FDCWD, ROOTFS "/dev/pts/ptmx", S_IFIFO | 0666, 0), 0);
    EQUAL(console_op(&b, root, CONSOLE_BIND, sock), -ENODEV);
    EQUAL(b.detail, D_PTY);
    build(&b, root);
    EQUAL(mount_fs(&b, "/dev/pts", "devpts", none, 0), 0);
    slink("/etc/passwd", ROOTFS "/dev/console");
    EQUAL(console_op(&b, root, CONSOLE_BIND, sock), -ELOOP);
    EQUAL(b.detail, D_MAKE_TARGET);
    build(&b, root);
    EQUAL(run(&b, op_console), -EBADF);
}

const struct test dev_tests[] = {
    {"nodes", nodes},
    {"symlinked_dev_stays_inside", symlinked_dev_stays_inside},
    {"devices_bound_from_the_host", devices_bound_from_the_host},
    {"bound_devices_are_private", bound_devices_are_private},
    {"console", console},
    {"console_joined", console_joined},
    {"console_refuses_what_is_not_a_devpts", console_refuses_what_is_not_a_devpts},
    {NULL, NULL},
};
