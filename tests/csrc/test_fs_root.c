/* The new root, masks, read-only paths and sysctls. */
#include "fs_test.h"

static const char *const none[] = {NULL};

static void ready(struct built *b, int rootfd, const char *s)
{
    build(b, rootfd);
    if (s)
        set_str(b, 0, s);
}

/* The way the engine does it: the caller clones the tree, the child has another mount namespace. */
static void detached_root(const char *path)
{
    struct built b;
    file(ROOTFS "/here", "1");
    EQUAL(sys_mount(NULL, BASE, NULL, MS_SHARED, NULL), 0);
    int host_ns = sys_openat(AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY, 0);
    int tree = sys_open_tree(AT_FDCWD, ROOTFS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    CHECK(tree >= 0 && host_ns >= 0);
    EQUAL(sys_unshare(CLONE_NEWNS), 0);
    build(&b, -1);
    b.op.num[0] = MS_SLAVE | MS_REC;
    EQUAL(run(&b, op_propagation), 0);
    build(&b, -1);
    set_fd(&b, tree);
    if (path)
        set_str(&b, 0, path);
    EQUAL(run_keeps(&b, op_root_bind, 1), 0);
    int on_path = stat_at(AT_FDCWD, ROOTFS).stx_mnt_id == stat_at(b.c.rootfd, "").stx_mnt_id;
    EQUAL(on_path, path && strcmp(path, ROOTFS) == 0);
    EQUAL(mount_fs(&b, "/made", "tmpfs", none, 0), 0);
    EQUAL(mount_fs(&b, "/proc", "proc", none, 0), 0);
    int root = b.c.rootfd;
    build(&b, root);
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    EQUAL(b.c.rootfd, -1);
    CHECK(content_is(AT_FDCWD, "/here", "1") && content_is(AT_FDCWD, "/../here", "1"));
    CHECK(!there("/mnt") && !there("/usr"));
    char cwd[64];
    CHECK(getcwd(cwd, sizeof(cwd)) && strcmp(cwd, "/") == 0);
    /* two mounts are left of the whole host: / and what we made */
    char info[4096];
    int fd = sys_openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0), lines = 0;
    long n = sys_read(fd, info, sizeof(info));
    for (long i = 0; i < n; i++)
        lines += info[i] == '\n';
    EQUAL(lines, 3);
    /* nothing went back to the host: the directory is there, the mount is not */
    EQUAL(sys_setns(host_ns, CLONE_NEWNS), 0);
    EQUAL(stat_at(AT_FDCWD, ROOTFS "/made").stx_mnt_id, stat_at(AT_FDCWD, ROOTFS).stx_mnt_id);
    CHECK(there(ROOTFS "/here"));
}

static void detached_root_over_slash(void) { detached_root(NULL); }

static void detached_root_on_its_path(void) { detached_root(ROOTFS); }

static void detached_root_on_another_path(void) { detached_root(CANARY); }

static void root_is_covered_by_a_mount_on_it(void)
{
    struct built b;
    int below = root_fd(), root = bound_root();
    build(&b, root);
    EQUAL(mount_fs(&b, "/", "tmpfs", none, 0), 0);
    CHECK(b.c.rootfd != root);
    EQUAL(sys_fs_magic(b.c.rootfd), TMPFS_MAGIC);
    EQUAL(mount_fs(&b, "/x", "tmpfs", none, 0), 0);
    EQUAL(sys_openat(below, "x", O_PATH, 0), -ENOENT);
    root = b.c.rootfd;
    build(&b, root);
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    CHECK(there("/x") && !there("/mnt"));
}

static void move_instead_of_pivot(void)
{
    struct built b;
    file(ROOTFS "/here", "1");
    build(&b, bound_root());
    b.op.flags = PIVOT_MOVE;
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    CHECK(content_is(AT_FDCWD, "/here", "1") && content_is(AT_FDCWD, "/../here", "1"));
    CHECK(!there("/usr"));
}

static void root_attributes(void)
{
    struct built b;
    build(&b, bound_root());
    EQUAL(mount_fs(&b, "/rw", "tmpfs", none, 0), 0);
    EQUAL(mount_fs(&b, "/proc", "proc", none, 0), 0);
    int root = b.c.rootfd;
    build(&b, root);
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    build(&b, -1);
    b.op.num[0] = MOUNT_ATTR_RDONLY;
    b.op.num[1] = MS_SHARED;
    EQUAL(run(&b, op_root_attr), 0);
    EQUAL(sys_mkdirat(AT_FDCWD, "/x", 0755), -EROFS);
    EQUAL(sys_mkdirat(AT_FDCWD, "/rw/x", 0755), 0);
    char info[4096] = "";
    int fd = sys_openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
    CHECK(sys_read(fd, info, sizeof(info) - 1) > 0);
    CHECK(strstr(info, " / ro") && strstr(info, "shared:"));
}

static void masks(void)
{
    struct built b;
    dir(ROOTFS "/etc", 0755);
    file(ROOTFS "/etc/secret", "secret");
    dir(ROOTFS "/firmware", 0755);
    file(ROOTFS "/firmware/x", "secret");
    dir(ROOTFS "/more", 0755);
    file(ROOTFS "/more/x", "secret");
    dir(ROOTFS "/dev", 0755);
    slink("/etc/secret", ROOTFS "/dev/null");
    int root = bound_root();
    ready(&b, root, "/etc/secret");
    EQUAL(run(&b, op_mask_path), 0);
    CHECK(content_is(root, "etc/secret", ""));
    ready(&b, root, "/firmware");
    EQUAL(run_keeps(&b, op_mask_path, 1), 0); /* the shared empty directory stays open */
    EQUAL(sys_openat(root, "firmware/x", O_RDONLY, 0), -ENOENT);
    EQUAL(sys_mkdirat(root, "firmware/new", 0755), -EROFS);
    ready(&b, root, "/more");
    EQUAL(run(&b, op_mask_path), 0);
    EQUAL(sys_openat(root, "more/x", O_RDONLY, 0), -ENOENT);
    EQUAL(stat_at(root_open(root, "/more", 0), "").stx_ino,
          stat_at(root_open(root, "/firmware", 0), "").stx_ino);
    ready(&b, root, "/missing/path");
    EQUAL(run(&b, op_mask_path), 0);
    ready(&b, root, "/etc/secret/below");
    EQUAL(run(&b, op_mask_path), 0);
    CHECK(content_is(AT_FDCWD, ROOTFS "/dev/null", "secret") || !there("/etc/secret"));
}

/* SECURITY.md CV-12 */
static void a_false_null_is_refused(void)
{
    struct built b;
    file(ROOTFS "/secret", "secret");
    file(BASE "/false", "x");
    EQUAL(sys_mount(BASE "/false", "/dev/null", NULL, MS_BIND, NULL), 0);
    int root = bound_root();
    ready(&b, root, "/secret");
    EQUAL(run(&b, op_mask_path), -ENODEV);
    EQUAL(b.detail, D_CHECK);
    EQUAL(sys_umount2("/dev/null", MNT_DETACH), 0);
    EQUAL(sys_mount("/dev/zero", "/dev/null", NULL, MS_BIND, NULL), 0);
    EQUAL(run(&b, op_mask_path), -ENODEV);
    CHECK(content_is(root, "secret", "secret"));
}

static void read_only_paths(void)
{
    struct built b;
    char info[8192] = "";
    build(&b, bound_root());
    EQUAL(mount_fs(&b, "/t", "tmpfs", none, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), 0);
    EQUAL(mount_fs(&b, "/t/sub/deep", "tmpfs", none, 0), 0);
    int root = b.c.rootfd;
    ready(&b, root, "/t/sub");
    EQUAL(run(&b, op_readonly_path), 0);
    EQUAL(sys_mkdirat(root, "t/sub/x", 0755), -EROFS);
    EQUAL(sys_mkdirat(root, "t/sub/deep/x", 0755), -EROFS);
    EQUAL(sys_mkdirat(root, "t/x", 0755), 0);
    int fd = sys_openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
    for (long n, used = 0; (n = sys_read(fd, info + used, sizeof(info) - 1 - (size_t)used)) > 0;)
        used += n;
    char *line = strstr(info, " " ROOTFS "/t/sub ro");
    CHECK(line && strncmp(line, " " ROOTFS "/t/sub ro,nosuid,noexec", 34) == 0);
    ready(&b, root, "/missing");
    EQUAL(run(&b, op_readonly_path), 0);
}

static int sysctl(int root, const char *key, const char *value, uint32_t *detail)
{
    struct built b;
    build(&b, root);
    set_str(&b, 0, key);
    set_str(&b, 1, value);
    int err = run(&b, op_sysctl);
    *detail = b.detail;
    return err;
}

static void sysctls(void)
{
    uint32_t detail;
    int root = bound_root();
    EQUAL(sys_unshare(CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET), 0);
    EQUAL(sysctl(root, "kernel/msgmax", "4242", &detail), 0);
    CHECK(content_is(AT_FDCWD, "/proc/sys/kernel/msgmax", "4242\n"));
    EQUAL(sysctl(root, "net/ipv4/ip_unprivileged_port_start", "7", &detail), 0);
    CHECK(content_is(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "7\n"));
    EQUAL(sysctl(root, "kernel/nothing", "1", &detail), -ENOENT);
    EQUAL(detail, D_OPEN_TARGET);
    EQUAL(sysctl(root, "kernel/msgmax", "text", &detail), -EINVAL);
    EQUAL(detail, D_WRITE);
    EQUAL(sysctl(root, "../self/oom_score_adj", "0", &detail), -EXDEV);
    EQUAL(sysctl(root, "/proc/self/oom_score_adj", "0", &detail), -EXDEV);
    /* a file laid over the host's sysctl is not what is written (CV-07) */
    file(BASE "/trap", "");
    EQUAL(sys_mount(BASE "/trap", "/proc/sys/kernel/msgmax", NULL, MS_BIND, NULL), 0);
    EQUAL(sysctl(root, "kernel/msgmax", "4343", &detail), 0);
    CHECK(content_is(AT_FDCWD, BASE "/trap", ""));
}

const struct test root_tests[] = {
    {"detached_root_over_slash", detached_root_over_slash},
    {"detached_root_on_its_path", detached_root_on_its_path},
    {"detached_root_on_another_path", detached_root_on_another_path},
    {"root_is_covered_by_a_mount_on_it", root_is_covered_by_a_mount_on_it},
    {"move_instead_of_pivot", move_instead_of_pivot},
    {"root_attributes", root_attributes},
    {"masks", masks},
    {"a_false_null_is_refused", a_false_null_is_refused},
    {"read_only_paths", read_only_paths},
    {"sysctls", sysctls},
    {NULL, NULL},
};
