/* path.c against symlinks, "..", missing components and somebody who exchanges them meanwhile. */
#include "fs_test.h"

static int made(const char *path, int is_dir)
{
    int root = root_fd(), before = open_fds();
    int fd = root_make(root, path, is_dir);
    EQUAL(open_fds(), before + (fd >= 0));
    if (fd >= 0)
        sys_close(fd);
    sys_close(root);
    return fd < 0 ? fd : 0;
}

static void makes_missing_components(void)
{
    sys_umask(077);
    EQUAL(made("/a/b//./c/", 1), 0);
    EQUAL(made("/a/b/file", 0), 0);
    EQUAL(made("/a/b/file", 0), 0);
    EQUAL(made("relative/x", 1), 0);
    EQUAL(made("/", 1), 0);
    CHECK(there(ROOTFS "/a/b/c") && there(ROOTFS "/relative/x"));
    EQUAL(mode_of(ROOTFS "/a/b"), 0755);
    EQUAL(mode_of(ROOTFS "/a/b/file"), 0644);
    CHECK(is_type(&(struct statx){.stx_mode = stat_at(AT_FDCWD, ROOTFS "/a/b/file").stx_mode},
                  S_IFREG));
    EQUAL(made("/a/b/file/x", 1), -ENOTDIR);
    EQUAL(made("/a/b/file", 1), -ENOTDIR);
    EQUAL(made("", 1), -EINVAL);
}

static void absolute_symlink_stays_inside(void)
{
    slink(CANARY, ROOTFS "/abs");
    EQUAL(made("/abs/x", 1), 0);
    EQUAL(made("/abs/y/f", 0), 0);
    CHECK(is_empty(CANARY));
    CHECK(there(ROOTFS CANARY "/x") && there(ROOTFS CANARY "/y/f"));
}

static void relative_symlink_stays_inside(void)
{
    slink("../../../../../.." CANARY, ROOTFS "/rel");
    slink("../canary", ROOTFS "/up");
    EQUAL(made("/rel/x", 1), 0);
    EQUAL(made("/up/y", 1), 0);
    CHECK(is_empty(CANARY));
    CHECK(there(ROOTFS CANARY "/x") && there(ROOTFS "/canary/y"));
}

static void dotdot_stays_inside(void)
{
    EQUAL(made("/../../canary/x", 1), 0);
    CHECK(is_empty(CANARY) && there(ROOTFS "/canary/x"));
    EQUAL(made("/missing/../y", 1), -EINVAL);
    EQUAL(made("/..", 1), 0);
}

/* What makes resolv.conf work in an image that links it into a /run of its own. */
static void dangling_symlinks_are_made(void)
{
    dir(ROOTFS "/etc", 0755);
    slink("../run/resolve/stub", ROOTFS "/etc/resolv.conf");
    EQUAL(made("/etc/resolv.conf", 0), 0);
    CHECK(there(ROOTFS "/run/resolve/stub"));
    slink("/var/one", ROOTFS "/two");
    slink("two/deep", ROOTFS "/three");
    EQUAL(made("/three/x", 1), 0);
    CHECK(there(ROOTFS "/var/one/deep/x"));
    slink("loop", ROOTFS "/loop");
    EQUAL(made("/loop/x", 1), -ELOOP);
    slink("missing/../../../..", ROOTFS "/evil");
    EQUAL(made("/evil/x", 1), -EINVAL);
    CHECK(!there(BASE "/x"));
}

static void magic_links_are_refused(void)
{
    dir(ROOTFS "/proc", 0755);
    EQUAL(sys_mount("proc", ROOTFS "/proc", "proc", 0, NULL), 0);
    EQUAL(made("/proc/self/root" CANARY "/x", 1), -ELOOP);
    slink("/proc/self/cwd", ROOTFS "/cwd");
    EQUAL(made("/cwd/x", 1), -ELOOP);
    CHECK(is_empty(CANARY));
}

static void long_paths_are_refused(void)
{
    char path[PATH_BYTES + 8];
    memset(path, 'a', sizeof(path));
    for (size_t i = 0; i < sizeof(path); i += 100)
        path[i] = '/';
    path[sizeof(path) - 1] = 0;
    EQUAL(made(path, 1), -ENAMETOOLONG);
    path[PATH_BYTES - 1] = 0;
    EQUAL(made(path, 1), 0);
}

static void parent_of(void)
{
    const char *base;
    int root = root_fd();
    slink(CANARY, ROOTFS "/dev");
    int fd = root_parent(root, "/dev/null", &base);
    CHECK(fd >= 0 && strcmp(base, "null") == 0);
    sys_close(fd);
    CHECK(there(ROOTFS CANARY) && is_empty(CANARY));
    fd = root_parent(root, "top", &base);
    CHECK(fd >= 0 && strcmp(base, "top") == 0);
    sys_close(fd);
    EQUAL(root_parent(root, "/dev/", &base), -EINVAL);
    EQUAL(root_parent(root, "/dev/..", &base), -EINVAL);
    EQUAL(root_parent(root, "/", &base), -EINVAL);
}

static void nofollow(void)
{
    int root = root_fd();
    slink("/tmp/x", ROOTFS "/proc");
    CHECK(root_make_nofollow(root, "/proc") < 0);
    CHECK(root_make_nofollow(root, "/proc/") < 0);
    CHECK(root_make_nofollow(root, "/./proc/.") < 0);
    CHECK(!there(ROOTFS "/tmp"));
    int fd = root_make_nofollow(root, "/sys/");
    CHECK(fd >= 0 && there(ROOTFS "/sys"));
    CHECK(path_is("/proc", "proc") && path_is("//./proc/.", "proc") && path_is("proc", "proc"));
    CHECK(!path_is("/proc/x", "proc") && !path_is("/proco", "proc") && !path_is("/", "proc"));
    file(ROOTFS "/node", "");
    slink("node", ROOTFS "/alias");
    EQUAL(node_make(root, "alias"), -ELOOP);
    CHECK(node_make(root, "node") >= 0 && node_make(root, "fresh") >= 0);
}

/* SECURITY.md CV-08, CV-11: "swap" is now a directory, now a symlink out of the root. */
static void exchange_race(void)
{
    dir(ROOTFS "/swap", 0755);
    slink("../../.." CANARY, ROOTFS "/link");
    int child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;)
            SYS(__NR_renameat2, AT_FDCWD, ROOTFS "/swap", AT_FDCWD, ROOTFS "/link", 2, 0);
    int root = root_fd(), won = 0;
    for (int i = 0; i < 4000; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/swap/d%d/e/%d", i % 97, i);
        int fd = root_make(root, path, i & 1);
        CHECK(fd >= 0 || fd == -EAGAIN);
        won += fd >= 0;
        if (fd >= 0)
            sys_close(fd);
        const char *base;
        fd = root_parent(root, path, &base);
        if (fd >= 0)
            sys_close(fd);
    }
    EQUAL(kill(child, 9), 0);
    EQUAL(waitpid(child, NULL, 0), child);
    CHECK(is_empty(CANARY));
    CHECK(won > 3000); /* the race is survived, not merely refused */
}

/* The same against a mount's destination, which is what the CVEs were about. */
static void exchange_race_on_mounts(void)
{
    dir(ROOTFS "/swap", 0755);
    slink(CANARY, ROOTFS "/link");
    file(CANARY "/kept", "");
    int root = bound_root();
    int child = fork();
    CHECK(child >= 0);
    if (child == 0)
        for (;;)
            SYS(__NR_renameat2, AT_FDCWD, ROOTFS "/swap", AT_FDCWD, ROOTFS "/link", 2, 0);
    struct built b;
    build(&b, root);
    uint64_t host = stat_at(AT_FDCWD, CANARY).stx_mnt_id;
    for (int i = 0; i < 500; i++) {
        int err = mount_fs(&b, "/swap/target", "tmpfs", NULL, 0);
        CHECK(err == 0 || err == -EAGAIN || err == -EBUSY || err == -ENOENT);
        CHECK(!there(CANARY "/target"));
        EQUAL(stat_at(AT_FDCWD, CANARY).stx_mnt_id, host);
    }
    EQUAL(kill(child, 9), 0);
    EQUAL(waitpid(child, NULL, 0), child);
}

const struct test path_tests[] = {
    {"makes_missing_components", makes_missing_components},
    {"absolute_symlink_stays_inside", absolute_symlink_stays_inside},
    {"relative_symlink_stays_inside", relative_symlink_stays_inside},
    {"dotdot_stays_inside", dotdot_stays_inside},
    {"dangling_symlinks_are_made", dangling_symlinks_are_made},
    {"magic_links_are_refused", magic_links_are_refused},
    {"long_paths_are_refused", long_paths_are_refused},
    {"parent_of", parent_of},
    {"nofollow", nofollow},
    {"exchange_race", exchange_race},
    {"exchange_race_on_mounts", exchange_race_on_mounts},
    {NULL, NULL},
};
