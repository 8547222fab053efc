/* The same ops where user and mount namespace are the container's: much is refused or locked here. */
#include "fs_test.h"

static const char *const none[] = {NULL};

static void write_text(const char *path, const char *text)
{
    int fd = sys_openat(AT_FDCWD, path, O_WRONLY, 0);
    CHECK(fd >= 0);
    EQUAL(sys_write(fd, text, strlen(text)), strlen(text));
    sys_close(fd);
}

/* Runs `body` as root of a new user namespace, first process of a new pid namespace. */
static void in_user_namespace(uint64_t more, void (*body)(int root), int tree)
{
    int status;
    EQUAL(sys_unshare(CLONE_NEWUSER), 0);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", "0 0 1");
    write_text("/proc/self/gid_map", "0 0 1");
    EQUAL(sys_unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | more), 0);
    int child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct built b;
        build(&b, -1);
        b.op.num[0] = MS_SLAVE | MS_REC;
        EQUAL(run(&b, op_propagation), 0);
        build(&b, -1);
        set_fd(&b, tree);
        EQUAL(run_keeps(&b, op_root_bind, 1), 0);
        body(b.c.rootfd);
        die(0);
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
}

static int tree_of(const char *path)
{
    int tree = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    CHECK(tree >= 0);
    return tree;
}

static int null_tree;

static void container(int root)
{
    struct built b;
    build(&b, root);
    EQUAL(mount_fs(&b, "/proc", "proc", none, MOUNT_ATTR_NOSUID), 0);
    EQUAL(mount_fs(&b, "/dev", "tmpfs", none, MOUNT_ATTR_NOSUID), 0);
    EQUAL(mount_fs(&b, "/dev/pts", "devpts", (const char *[]){"newinstance", NULL}, 0), 0);
    /* without a network namespace of its own, sysfs is the host's */
    EQUAL(mount_fs(&b, "/sys", "sysfs", none, MOUNT_ATTR_RDONLY), -EPERM);
    b.op.flags = MOUNT_SYSFS_BIND;
    EQUAL(run(&b, op_mount_fs), 0);
    EQUAL(sys_fs_magic(root_open(root, "/sys", 0)), SYSFS_MAGIC);
    EQUAL(sys_mkdirat(root, "sys/x", 0755), -EROFS);
    build(&b, root);
    set_str(&b, 0, "/dev/null");
    b.op.num[0] = S_IFCHR | 0666;
    b.op.num[1] = 0x103;
    EQUAL(run(&b, op_mknod), -EPERM);
    set_fd(&b, null_tree);
    EQUAL(run(&b, op_mknod), 0);
    CHECK(sys_openat(root, "dev/null", O_RDWR, 0) >= 0);
    const char *const masked[] = {"/proc/version", "/proc/acpi", "/sys/firmware", "/proc/sys"};
    for (int i = 0; i < 4; i++) {
        build(&b, root);
        set_str(&b, 0, masked[i]);
        int err = i == 3 ? op_readonly_path(&b.c, &b.op, &b.detail)
                         : op_mask_path(&b.c, &b.op, &b.detail);
        EQUAL(err, 0);
    }
    CHECK(content_is(root, "proc/version", ""));
    build(&b, root);
    set_str(&b, 0, "kernel/msgmax");
    set_str(&b, 1, "4242");
    EQUAL(run(&b, op_sysctl), 0);
    EQUAL(sys_openat(root, "proc/sys/kernel/msgmax", O_WRONLY, 0), -EROFS);
    build(&b, root);
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    CHECK(content_is(AT_FDCWD, "/proc/sys/kernel/msgmax", "4242\n") && !there("/mnt"));
}

static void user_namespace(void)
{
    null_tree = tree_of("/dev/null");
    in_user_namespace(0, container, tree_of(ROOTFS));
}

static int volume;

static void locked(int root)
{
    struct built b;
    build(&b, root);
    set_str(&b, 0, "/v");
    set_fd(&b, volume);
    b.op.num[0] = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
    EQUAL(run(&b, op_mount_bind), 0);
    CHECK(content_is(root, "v/f", "1"));
    EQUAL(sys_mkdirat(root, "v/x", 0755), -EROFS);
    build(&b, root);
    set_str(&b, 0, "/over");
    set_str(&b, 1, ROOTFS);
    set_list(&b, (const char *[]){"userxattr", NULL});
    EQUAL(run(&b, op_mount_overlay), 0);
    EQUAL(sys_fs_magic(root_open(root, "/over", 0)), OVERLAYFS_SUPER_MAGIC);
    EQUAL(mount_fs(&b, "/sys", "sysfs", none, 0), 0); /* its own network namespace */
    build(&b, root);
    b.op.flags = PIVOT_MOVE;
    EQUAL(run_keeps(&b, op_pivot_root, -1), 0);
    CHECK(there("/over") && !there("/mnt"));
}

static void user_namespace_binds_and_move(void)
{
    dir(BASE "/vol", 0755);
    EQUAL(sys_mount("tmpfs", BASE "/vol", "tmpfs", MS_NOSUID | MS_NOATIME, NULL), 0);
    file(BASE "/vol/f", "1");
    volume = tree_of(BASE "/vol");
    in_user_namespace(CLONE_NEWNET, locked, tree_of(ROOTFS));
}

const struct test user_tests[] = {
    {"user_namespace", user_namespace},
    {"user_namespace_binds_and_move", user_namespace_binds_and_move},
    {NULL, NULL},
};
