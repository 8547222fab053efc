/* The harness of fs_test.h and its main program: `test_fs` lists the tests, `test_fs NAME` runs one. */
#include "fs_test.h"

static const struct test *const suites[] = {path_tests, mount_tests, root_tests, dev_tests,
                                            user_tests};

void build(struct built *b, int rootfd)
{
    memset(b, 0, sizeof(*b));
    b->used = 8; /* offset 0 means absent */
    b->c.plan = b->data;
    b->c.rootfd = rootfd;
    b->c.sync = -1;
    b->c.fds = b->fds;
    b->op.fd = -1;
}

static uint32_t put(struct built *b, const void *p, size_t n)
{
    uint32_t at = b->used;
    CHECK(at + n <= sizeof(b->data));
    memcpy(b->data + at, p, n);
    b->used = (uint32_t)(at + n + 3) & ~3u;
    return at;
}

void set_str(struct built *b, int i, const char *s) { b->op.str[i] = put(b, s, strlen(s) + 1); }

void set_list(struct built *b, const char *const *items)
{
    uint32_t list[32] = {0};
    for (; items && items[list[0]]; list[0]++)
        list[list[0] + 1] = put(b, items[list[0]], strlen(items[list[0]]) + 1);
    b->op.list = put(b, list, 4 * (size_t)(list[0] + 1));
}

void set_nums(struct built *b, uint32_t a, uint32_t n)
{
    uint32_t list[3] = {2, a, n};
    b->op.nums = put(b, list, sizeof(list));
}

void set_fd(struct built *b, int fd)
{
    b->fds[0] = fd;
    b->c.nfds = 1;
    b->op.fd = 0;
}

int open_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += sys_fcntl(fd, 1 /* F_GETFD */, 0) >= 0;
    return n;
}

int run_keeps(struct built *b, op_fn *fn, int kept)
{
    int before = open_fds();
    int err = fn(&b->c, &b->op, &b->detail);
    EQUAL(open_fds(), before + kept);
    return err;
}

int run(struct built *b, op_fn *fn) { return run_keeps(b, fn, 0); }

int mount_fs(struct built *b, const char *dst, const char *type, const char *const *items,
             uint64_t attr)
{
    int root = b->c.rootfd;
    build(b, root);
    set_str(b, 0, dst);
    set_str(b, 1, type);
    set_str(b, 2, type);
    set_list(b, items);
    b->op.num[0] = attr;
    return run(b, op_mount_fs);
}

int root_fd(void)
{
    int fd = sys_openat(AT_FDCWD, ROOTFS, O_PATH | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    return fd;
}

int bound_root(void)
{
    struct built b;
    build(&b, -1);
    set_fd(&b, root_fd());
    EQUAL(run_keeps(&b, op_root_bind, 1), 0);
    sys_close(b.fds[0]);
    CHECK(b.c.rootfd >= 0);
    return b.c.rootfd;
}

void dir(const char *path, unsigned mode)
{
    unsigned mask = sys_umask(0);
    EQUAL(sys_mkdirat(AT_FDCWD, path, mode), 0);
    sys_umask(mask);
}

void file(const char *path, const char *text)
{
    int fd = sys_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    CHECK(fd >= 0);
    EQUAL(sys_write(fd, text, strlen(text)), strlen(text));
    sys_close(fd);
}

void slink(const char *target, const char *path)
{
    EQUAL(sys_symlinkat(target, AT_FDCWD, path), 0);
}

struct statx stat_at(int at, const char *path)
{
    struct statx st;
    memset(&st, 0, sizeof(st));
    int err = sys_statx(at, path, AT_SYMLINK_NOFOLLOW | (*path ? 0 : AT_EMPTY_PATH),
                        STATX_BASIC_STATS | STATX_MNT_ID, &st);
    if (err)
        printf("stat %s: %d\n", path, err);
    EQUAL(err, 0);
    return st;
}

int there(const char *path)
{
    struct statx st;
    int err = sys_statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st);
    CHECK(!err || err == -ENOENT || err == -ENOTDIR);
    return !err;
}

unsigned mode_of(const char *path) { return stat_at(AT_FDCWD, path).stx_mode & 07777; }

int is_empty(const char *path)
{
    char buf[4096];
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    long n = sys_getdents64(fd, buf, sizeof(buf));
    sys_close(fd);
    return n == 48; /* "." and ".." */
}

int content_is(int at, const char *path, const char *text)
{
    char buf[256];
    int fd = sys_openat(at, path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    long n = sys_read(fd, buf, sizeof(buf));
    sys_close(fd);
    return n == (long)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

/* The machine's file systems are read-only for the test: a mistake in the code under test must not reach
 * them. /proc and /sys stay, since a user namespace may mount only what is not more than it sees. */
static void prepare(void)
{
    struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY}, rw = {.attr_clr = MOUNT_ATTR_RDONLY};
    EQUAL(sys_unshare(CLONE_NEWNS), 0);
    EQUAL(sys_mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL), 0);
    EQUAL(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &ro), 0);
    EQUAL(sys_mount_setattr(AT_FDCWD, "/proc", AT_RECURSIVE, &rw), 0);
    EQUAL(sys_mount_setattr(AT_FDCWD, "/sys", AT_RECURSIVE, &rw), 0);
    EQUAL(sys_mount("tmpfs", BASE, "tmpfs", 0, "mode=0755"), 0);
    dir(ROOTFS, 0755);
    dir(CANARY, 0755);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t s = 0; s < sizeof(suites) / sizeof(*suites); s++)
        for (const struct test *t = suites[s]; t->name; t++)
            if (argc == 1)
                puts(t->name);
            else if (strcmp(argv[1], t->name) == 0) {
                prepare();
                t->run();
                return 0;
            }
    return argc == 1 ? 0 : 2;
}
