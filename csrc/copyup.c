/* tmpcopyup: what a directory of the image holds, copied into the tmpfs that is about to cover it. */
#include "fs.h"

#define MAX_DEPTH 64
#define INSIDE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)

struct dirent64 {
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

static int copy_dir(int from, int to, int depth);

/* EINVAL: an owner that the user namespace does not map stays ours. */
int copy_owner(int fd, const struct statx *st)
{
    int err = sys_fchownat(fd, "", st->stx_uid, st->stx_gid, AT_EMPTY_PATH);
    return err == -EINVAL ? 0 : err;
}

/* The mode after the owner: chown(2) clears set-id bits. */
static int finish(int fd, const struct statx *st)
{
    int err = copy_owner(fd, st);
    return err ? err : sys_fchmod(fd, st->stx_mode & 07777);
}

static int copy_bytes(int in, int out)
{
    static char buf[65536]; /* the executor is single-threaded */
    for (;;) {
        long n = sys_read(in, buf, sizeof(buf));
        if (n <= 0)
            return (int)n;
        for (long done = 0; done < n;) {
            long w = sys_write(out, buf + done, (size_t)(n - done));
            if (w <= 0)
                return w < 0 ? (int)w : -EIO;
            done += w;
        }
    }
}

/* O_NONBLOCK and the second look: the entry may have been exchanged for a fifo since it was seen. */
static int copy_file(int from, int to, const char *name)
{
    struct statx st;
    int in = sys_openat2(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, INSIDE);
    if (in < 0)
        return in == -EXDEV ? 0 : in;
    int err = stat_fd(in, &st);
    if (!err && !is_type(&st, S_IFREG))
        err = -ESTALE;
    int out = err ? err : sys_openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (out >= 0) {
        err = copy_bytes(in, out);
        if (!err)
            err = finish(out, &st);
        sys_close(out);
    } else {
        err = out;
    }
    sys_close(in);
    return err;
}

/* A directory that something is mounted on stays empty: the copy is of the image, not of volumes. */
static int copy_subdir(int from, int to, const char *name, const struct statx *st, int depth)
{
    int err = sys_mkdirat(to, name, 0700);
    int out = err ? err : sys_openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (out < 0)
        return out;
    int in = sys_openat2(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, INSIDE);
    if (in >= 0)
        err = copy_dir(in, out, depth + 1);
    else if (in != -EXDEV)
        err = in;
    if (in >= 0)
        sys_close(in);
    if (!err)
        err = finish(out, st);
    sys_close(out);
    return err;
}

static int copy_link(int from, int to, const char *name, const struct statx *st)
{
    char target[PATH_BYTES];
    long n = sys_readlinkat(from, name, target, sizeof(target));
    if (n < 0 || n == sizeof(target))
        return n < 0 ? (int)n : -ENAMETOOLONG;
    target[n] = 0;
    int err = sys_symlinkat(target, to, name);
    if (!err)
        err = sys_fchownat(to, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
    return err == -EINVAL ? 0 : err;
}

/* Sockets and devices are left out: the ones are dead without their server, the others come from the
 * configuration and never from an image. */
static int copy_entry(int from, int to, const char *name, int depth)
{
    struct statx st;
    int err = sys_statx(from, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st);
    if (err)
        return err == -ENOENT ? 0 : err;
    if (is_type(&st, S_IFREG))
        return copy_file(from, to, name);
    if (is_type(&st, S_IFDIR))
        return copy_subdir(from, to, name, &st, depth);
    if (is_type(&st, S_IFLNK))
        return copy_link(from, to, name, &st);
    if (!is_type(&st, S_IFIFO))
        return 0;
    err = sys_mknodat(to, name, st.stx_mode, 0);
    if (!err)
        err = sys_fchownat(to, name, st.stx_uid, st.stx_gid, AT_SYMLINK_NOFOLLOW);
    return err == -EINVAL ? 0 : err;
}

static int copy_dir(int from, int to, int depth)
{
    union {
        struct dirent64 align;
        char bytes[2048];
    } buf;
    long n;
    if (depth > MAX_DEPTH)
        return -ELOOP;
    while ((n = sys_getdents64(from, &buf, sizeof(buf))) > 0)
        for (long at = 0; at < n;) {
            const struct dirent64 *e = (const struct dirent64 *)(buf.bytes + at);
            at += e->len;
            if (str_eq(e->name, ".") || str_eq(e->name, ".."))
                continue;
            int err = copy_entry(from, to, e->name, depth);
            if (err)
                return err;
        }
    return (int)n;
}

int copy_tree(int from, int to)
{
    int in = sys_openat(from, ".", O_RDONLY | O_DIRECTORY, 0);
    if (in < 0)
        return in;
    int err = copy_dir(in, to, 0);
    sys_close(in);
    return err;
}
