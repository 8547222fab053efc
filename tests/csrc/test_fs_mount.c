/* Mounts of the container: new file systems, binds, overlay, copy-up. */
#include "fs_test.h"

static const char *const none[] = {NULL};

static void fs_mounts_are_seen_from_rootfd(void)
{
    struct built b;
    build(&b, bound_root());
    EQUAL(mount_fs(&b, "/data/deep", "tmpfs", (const char *[]){"size=64k", "mode=0710", NULL},
                   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOSYMFOLLOW),
          0);
    int fd = root_open(b.c.rootfd, "/data/deep", 0);
    EQUAL(sys_fs_magic(fd), TMPFS_MAGIC);
    EQUAL(stat_at(fd, "").stx_mode & 07777, 0710);
    /* and a mount inside a mount */
    EQUAL(mount_fs(&b, "/data/deep/proc", "proc", (const char *[]){"hidepid=2", NULL}, 0), 0);
    int proc = root_open(b.c.rootfd, "/data/deep/proc/self", 0);
    EQUAL(sys_fs_magic(proc), PROC_SUPER_MAGIC);
}

static void tmpfs_has_the_mode_of_what_it_covers(void)
{
    struct built b;
    build(&b, bound_root());
    dir(ROOTFS "/old", 01770);
    EQUAL(mount_fs(&b, "/old", "tmpfs", none, 0), 0);
    EQUAL(mount_fs(&b, "/fresh", "tmpfs", none, 0), 0);
    EQUAL(stat_at(root_open(b.c.rootfd, "/old", 0), "").stx_mode & 07777, 01770);
    EQUAL(stat_at(root_open(b.c.rootfd, "/fresh", 0), "").stx_mode & 07777, 01777);
}

static void failures_name_the_part(void)
{
    struct built b;
    char longer[300] = "size=";
    memset(longer + 5, '1', 260);
    build(&b, bound_root());
    EQUAL(mount_fs(&b, "/x", "tmpfs", (const char *[]){"size=1k", "nonsense=1", NULL}, 0), -EINVAL);
    EQUAL(b.detail, D_INDEX(D_FSCONFIG, 2));
    EQUAL(mount_fs(&b, "/x", "tmpfs", (const char *[]){longer, NULL}, 0), -E2BIG);
    EQUAL(b.detail, D_INDEX(D_FSCONFIG, 1));
    EQUAL(mount_fs(&b, "/x", "nosuchfs", none, 0), -ENODEV);
    EQUAL(b.detail, D_FSOPEN);
    file(ROOTFS "/file", "");
    EQUAL(mount_fs(&b, "/file", "tmpfs", none, 0), -ENOTDIR);
    EQUAL(b.detail, D_MAKE_TARGET);
}

/* SECURITY.md CV-06 */
static void symlinked_proc_is_refused(void)
{
    struct built b;
    build(&b, bound_root());
    slink("/tmp/x", ROOTFS "/proc");
    slink("/tmp/x", ROOTFS "/sys");
    EQUAL(mount_fs(&b, "/proc", "proc", none, 0), -ENOTDIR);
    EQUAL(b.detail, D_SYMLINK);
    CHECK(mount_fs(&b, "/sys/", "sysfs", none, 0) < 0);
    EQUAL(b.detail, D_SYMLINK);
    CHECK(mount_fs(&b, "/proc/.", "tmpfs", none, 0) < 0);
    EQUAL(b.detail, D_SYMLINK);
    slink("/tmp/x", ROOTFS "/p");
    EQUAL(mount_fs(&b, "/p", "proc", none, 0), -ENOTDIR);
    EQUAL(b.detail, D_SYMLINK);
    CHECK(!there(ROOTFS "/tmp"));
}

static void copy_up_setup(void)
{
    dir(ROOTFS "/src", 0751);
    dir(ROOTFS "/src/sub", 0755);
    file(ROOTFS "/src/sub/f", "text");
    slink("/nowhere", ROOTFS "/src/link");
    EQUAL(sys_mknodat(AT_FDCWD, ROOTFS "/src/null", S_IFCHR | 0666, 0x103), 0);
    EQUAL(sys_mknodat(AT_FDCWD, ROOTFS "/src/fifo", S_IFIFO | 0640, 0), 0);
    EQUAL(sys_fchownat(AT_FDCWD, ROOTFS "/src", 7, 8, 0), 0);
    EQUAL(sys_fchownat(AT_FDCWD, ROOTFS "/src/link", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
    EQUAL(sys_fchownat(AT_FDCWD, ROOTFS "/src/sub/f", 3, 4, 0), 0);
    EQUAL(chmod(ROOTFS "/src/sub/f", 04755), 0);
    EQUAL(chmod(ROOTFS "/src/sub", 02750), 0);
    dir(ROOTFS "/src/volume", 0755);
    EQUAL(sys_mount("tmpfs", ROOTFS "/src/volume", "tmpfs", 0, NULL), 0);
    file(ROOTFS "/src/volume/not-copied", "");
}

static void tmpcopyup(void)
{
    struct built b;
    copy_up_setup();
    build(&b, bound_root());
    set_str(&b, 0, "/src");
    set_str(&b, 1, "tmpfs");
    set_str(&b, 2, "tmpfs");
    set_list(&b, (const char *[]){"ro", NULL});
    b.op.flags = MOUNT_TMPCOPYUP | MOUNT_RDONLY_SB;
    b.op.num[0] = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC;
    EQUAL(run(&b, op_mount_fs), 0);
    int fd = root_open(b.c.rootfd, "/src", 0);
    EQUAL(sys_fs_magic(fd), TMPFS_MAGIC);
    struct statx st = stat_at(fd, "");
    CHECK((st.stx_mode & 07777) == 0751 && st.stx_uid == 7 && st.stx_gid == 8);
    EQUAL(stat_at(fd, "sub").stx_mode & 07777, 02750);
    st = stat_at(fd, "sub/f");
    CHECK((st.stx_mode & 07777) == 04755 && st.stx_uid == 3 && st.stx_gid == 4);
    CHECK(content_is(fd, "sub/f", "text"));
    EQUAL(stat_at(fd, "link").stx_uid, 5);
    EQUAL(stat_at(fd, "fifo").stx_mode, S_IFIFO | 0640);
    EQUAL(sys_openat(fd, "null", O_RDONLY, 0), -ENOENT);
    EQUAL(sys_openat(fd, "volume/not-copied", O_RDONLY, 0), -ENOENT);
    EQUAL(sys_mkdirat(fd, "new", 0755), -EROFS);
}

static void copy_up_depth_is_bounded(void)
{
    char path[1024] = ROOTFS "/src";
    struct built b;
    dir(path, 0755);
    for (int i = 0; i < 70; i++) {
        strcat(path, "/d");
        dir(path, 0755);
    }
    build(&b, bound_root());
    set_str(&b, 0, "/src");
    set_str(&b, 1, "tmpfs");
    b.op.flags = MOUNT_TMPCOPYUP;
    EQUAL(run(&b, op_mount_fs), -ELOOP);
    EQUAL(b.detail, D_COPYUP);
}

static int bind_on(struct built *b, const char *source, const char *dst, unsigned flags)
{
    int root = b->c.rootfd;
    build(b, root);
    set_str(b, 0, dst);
    int tree = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
    CHECK(tree >= 0);
    set_fd(b, tree);
    return tree;
}

static void bind_mounts(void)
{
    struct built b;
    build(&b, bound_root());
    dir(BASE "/vol", 0755);
    file(BASE "/vol/f", "1");
    dir(BASE "/vol/sub", 0755);
    EQUAL(sys_mount("tmpfs", BASE "/vol/sub", "tmpfs", 0, NULL), 0);

    bind_on(&b, BASE "/vol", "/v1", AT_RECURSIVE);
    b.op.num[0] = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
    EQUAL(run(&b, op_mount_bind), 0);
    CHECK(content_is(b.c.rootfd, "v1/f", "1"));
    EQUAL(sys_mkdirat(b.c.rootfd, "v1/new", 0755), -EROFS);
    EQUAL(sys_mkdirat(b.c.rootfd, "v1/sub/new", 0755), 0);

    bind_on(&b, BASE "/vol", "/v2", AT_RECURSIVE);
    b.op.num[3] = 1;
    set_nums(&b, MOUNT_ATTR_RDONLY, 0);
    EQUAL(run(&b, op_mount_bind), 0);
    EQUAL(sys_mkdirat(b.c.rootfd, "v2/sub/other", 0755), -EROFS);

    bind_on(&b, BASE "/vol/f", "/etc/made/file", 0);
    EQUAL(run(&b, op_mount_bind), 0);
    CHECK(content_is(b.c.rootfd, "etc/made/file", "1"));

    bind_on(&b, BASE "/vol/f", "/v1", 0);
    EQUAL(run(&b, op_mount_bind), -ENOTDIR);
    EQUAL(b.detail, D_MOVE_MOUNT);
    slink("/elsewhere", ROOTFS "/proc");
    bind_on(&b, BASE "/vol", "/proc", 0);
    CHECK(run(&b, op_mount_bind) < 0);
    EQUAL(b.detail, D_SYMLINK);
}

/* What the container mounts on a volume does not appear on the host, unless it is to be a peer. */
static void binds_are_not_peers_of_the_host(void)
{
    struct built b;
    dir(BASE "/vol", 0755);
    EQUAL(sys_mount("tmpfs", BASE "/vol", "tmpfs", 0, NULL), 0);
    EQUAL(sys_mount(NULL, BASE "/vol", NULL, MS_SHARED, NULL), 0);
    dir(BASE "/vol/a", 0755);
    dir(BASE "/vol/b", 0755);
    uint64_t host = stat_at(AT_FDCWD, BASE "/vol").stx_mnt_id;
    build(&b, bound_root());
    bind_on(&b, BASE "/vol", "/slave", AT_RECURSIVE);
    EQUAL(run(&b, op_mount_bind), 0);
    EQUAL(mount_fs(&b, "/slave/a", "tmpfs", none, 0), 0);
    EQUAL(stat_at(AT_FDCWD, BASE "/vol/a").stx_mnt_id, host);
    bind_on(&b, BASE "/vol", "/peer", AT_RECURSIVE);
    b.op.flags = BIND_SHARED_PEER;
    b.op.num[2] = MS_SHARED | MS_REC;
    EQUAL(run(&b, op_mount_bind), 0);
    EQUAL(mount_fs(&b, "/peer/b", "tmpfs", none, 0), 0);
    CHECK(stat_at(AT_FDCWD, BASE "/vol/b").stx_mnt_id != host);
}

static void remount(void)
{
    struct built b;
    build(&b, bound_root());
    EQUAL(mount_fs(&b, "/m", "tmpfs", none, MOUNT_ATTR_NOSUID), 0);
    int root = b.c.rootfd;
    build(&b, root);
    set_str(&b, 0, "/m");
    b.op.num[0] = MOUNT_ATTR_RDONLY;
    EQUAL(run(&b, op_remount), 0);
    EQUAL(sys_mkdirat(root, "m/x", 0755), -EROFS);
    b.op.num[0] = 0;
    b.op.num[1] = MOUNT_ATTR_RDONLY;
    EQUAL(run(&b, op_remount), 0);
    EQUAL(sys_mkdirat(root, "m/x", 0755), 0);
    build(&b, root);
    set_str(&b, 0, "/m/x"); /* not a mount */
    b.op.num[0] = MOUNT_ATTR_RDONLY;
    EQUAL(run(&b, op_remount), -EINVAL);
    EQUAL(b.detail, D_SETATTR);
}

static void overlay_case(const char *dst, int at_root)
{
    struct built b;
    int below = root_fd();
    dir(BASE "/lower", 0755);
    file(BASE "/lower/f", "low");
    EQUAL(sys_fchownat(AT_FDCWD, BASE "/lower", 9, 9, 0), 0);
    EQUAL(chmod(BASE "/lower", 02751), 0);
    build(&b, bound_root());
    set_str(&b, 0, dst);
    set_str(&b, 1, BASE "/lower");
    set_list(&b, none);
    EQUAL(run(&b, op_mount_overlay), 0);
    int fd = at_root ? b.c.rootfd : root_open(b.c.rootfd, dst, 0);
    EQUAL(sys_fs_magic(fd), OVERLAYFS_SUPER_MAGIC);
    struct statx st = stat_at(fd, "");
    CHECK((st.stx_mode & 07777) == 02751 && st.stx_uid == 9);
    CHECK(content_is(fd, "f", "low"));
    int out = sys_openat(fd, "f", O_WRONLY | O_TRUNC, 0);
    EQUAL(sys_write(out, "new", 3), 3);
    CHECK(content_is(fd, "f", "new") && content_is(AT_FDCWD, BASE "/lower/f", "low"));
    EQUAL(mount_fs(&b, "/late", "tmpfs", none, 0), 0);
    CHECK((sys_openat(below, "late", O_PATH, 0) == -ENOENT) == at_root);
    EQUAL(sys_fs_magic(root_open(b.c.rootfd, "/late", 0)), TMPFS_MAGIC);
}

static void overlay_below(void) { overlay_case("/data", 0); }

static void overlay_as_root(void) { overlay_case("/", 1); }

/* The rootfs itself as the lower directory: it is opened before the scratch tmpfs covers it. */
static void overlay_over_the_rootfs(void)
{
    struct built b;
    int below = root_fd();
    file(ROOTFS "/f", "low");
    build(&b, bound_root());
    set_str(&b, 0, "/");
    set_str(&b, 1, ROOTFS);
    set_list(&b, none);
    EQUAL(run(&b, op_mount_overlay), 0);
    CHECK(content_is(b.c.rootfd, "f", "low"));
    EQUAL(sys_mkdirat(b.c.rootfd, "x", 0755), 0);
    EQUAL(sys_openat(below, "x", O_PATH, 0), -ENOENT);
    EQUAL(sys_openat(below, "upper", O_PATH, 0), -ENOENT);
}

static void overlay_needs_a_real_proc(void)
{
    struct built b;
    build(&b, bound_root());
    EQUAL(sys_mount("tmpfs", "/proc", "tmpfs", 0, NULL), 0);
    set_str(&b, 0, "/");
    set_str(&b, 1, BASE "/canary");
    EQUAL(run(&b, op_mount_overlay), -EXDEV);
    EQUAL(b.detail, D_NOT_PROC);
}

const struct test mount_tests[] = {
    {"fs_mounts_are_seen_from_rootfd", fs_mounts_are_seen_from_rootfd},
    {"tmpfs_has_the_mode_of_what_it_covers", tmpfs_has_the_mode_of_what_it_covers},
    {"failures_name_the_part", failures_name_the_part},
    {"symlinked_proc_is_refused", symlinked_proc_is_refused},
    {"tmpcopyup", tmpcopyup},
    {"copy_up_depth_is_bounded", copy_up_depth_is_bounded},
    {"bind_mounts", bind_mounts},
    {"binds_are_not_peers_of_the_host", binds_are_not_peers_of_the_host},
    {"remount", remount},
    {"overlay_below", overlay_below},
    {"overlay_as_root", overlay_as_root},
    {"overlay_over_the_rootfs", overlay_over_the_rootfs},
    {"overlay_needs_a_real_proc", overlay_needs_a_real_proc},
    {NULL, NULL},
};
