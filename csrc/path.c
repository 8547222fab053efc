/* Paths below the new root. The kernel resolves every one of them with openat2(RESOLVE_IN_ROOT), and
 * whatever is made is made by name in a directory descriptor obtained that way: a path that somebody
 * exchanges meanwhile can end elsewhere in the root but never outside it (SECURITY.md CV-08, CV-11,
 * CV-36). There is no fallback without openat2. */
#include "fs.h"

/* Resolution of ".." answers EAGAIN while any rename runs on the system (openat2(2)), and somebody may
 * make or remove what we are about to make. */
#define RETRIES 128

static int open_in(int root, const char *path, uint64_t flags)
{
    int fd = -EAGAIN;
    for (int i = 0; fd == -EAGAIN && i < RETRIES; i++)
        fd = sys_openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    return fd;
}

int root_open(int root, const char *path, uint64_t flags)
{
    return open_in(root, path, O_PATH | flags);
}

static int is_dots(const char *name, size_t len, size_t dots)
{
    return len == dots && memcmp(name, "..", dots) == 0;
}

static size_t component(const char *name)
{
    size_t n = 0;
    while (name[n] && name[n] != '/')
        n++;
    return n;
}

/* The next component that is not "" or "."; at the end it is "". */
static char *skip(char *p)
{
    for (;;) {
        while (*p == '/')
            p++;
        size_t n = component(p);
        if (!is_dots(p, n, 1))
            return p;
        p += n;
    }
}

int path_is(const char *path, const char *name)
{
    const char *p = skip((char *)path);
    size_t n = component(p);
    return n == strlen(name) && memcmp(p, name, n) == 0 && !*skip((char *)p + n);
}

/* Whatever is at `name` afterwards is used only when it is a directory itself. */
static int make_dir(int parent, const char *name)
{
    unsigned mask = sys_umask(0);
    int err = sys_mkdirat(parent, name, 0755);
    sys_umask(mask);
    if (err < 0 && err != -EEXIST)
        return err;
    return sys_openat2(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int make_file(int parent, const char *name)
{
    unsigned mask = sys_umask(0);
    int fd = sys_openat2(parent, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    sys_umask(mask);
    return fd;
}

int node_make(int parent, const char *name)
{
    int fd = make_file(parent, name);
    if (fd != -EEXIST)
        return fd;
    struct statx st;
    fd = sys_openat2(parent, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH);
    int err = fd < 0 ? fd : stat_fd(fd, &st);
    if (!err && is_type(&st, S_IFLNK))
        err = -ELOOP;
    if (err && fd >= 0)
        sys_close(fd);
    return err ? err : fd;
}

/* Makes every component of `rest` below `parent`, which it closes. -EAGAIN: lost a race. */
static int make_rest(int parent, char *rest, int dir)
{
    while (*rest && parent >= 0) {
        size_t n = component(rest);
        char *next = skip(rest + n);
        int fd = -EINVAL;
        if (!is_dots(rest, n, 2)) {
            rest[n] = 0;
            fd = *next || dir ? make_dir(parent, rest) : make_file(parent, rest);
        }
        sys_close(parent);
        parent = fd;
        rest = next;
    }
    if (parent == -EEXIST || parent == -ENOENT || parent == -ELOOP || parent == -ENOTDIR)
        return -EAGAIN;
    return parent;
}

/* `path` with the symlink `name`, a component inside it that ends at `rest`, replaced by its target. */
static int splice_link(char *path, const char *name, const char *rest, const char *link, size_t n)
{
    char out[PATH_BYTES];
    size_t head = link[0] == '/' ? 0 : (size_t)(name - path), tail = strlen(rest);
    if (head + n + tail >= sizeof(out))
        return -ENAMETOOLONG;
    memcpy(out, path, head);
    memcpy(out + head, link, n);
    memcpy(out + head + n, rest, tail + 1);
    memcpy(path, out, head + n + tail + 1);
    return -EAGAIN;
}

/* `name` ends at `end` and cannot be resolved from `parent`, which it closes. A dangling symlink (such
 * as /etc/resolv.conf into /run) is followed by us, because runc makes what it points at. */
static int make_missing(int parent, char *path, char *name, char *end, int dir)
{
    char link[PATH_BYTES], saved = *end;
    *end = 0;
    long n = sys_readlinkat(parent, name, link, sizeof(link));
    *end = saved;
    if (n == -ENOENT)
        return make_rest(parent, name, dir);
    sys_close(parent);
    if (n == -EINVAL)
        return -EAGAIN; /* not a symlink: made by somebody meanwhile */
    if (n < 0)
        return (int)n;
    return splice_link(path, name, end, link, (size_t)n);
}

static int make_once(int root, char *path, int dir)
{
    int fd = open_in(root, "/", O_PATH | O_DIRECTORY);
    for (char *name = skip(path); *name && fd >= 0;) {
        char *end = name + component(name), *next = skip(end), saved = *end;
        *end = 0;
        int child = open_in(root, path, O_PATH | (*next || dir ? O_DIRECTORY : 0));
        *end = saved;
        if (child == -ENOENT)
            return make_missing(fd, path, name, end, dir);
        sys_close(fd);
        fd = child;
        name = next;
    }
    return fd;
}

int root_make(int root, const char *path, int dir)
{
    char copy[PATH_BYTES];
    size_t n = strlen(path);
    int fd = open_in(root, path, O_PATH | (dir ? O_DIRECTORY : 0));
    if (fd != -ENOENT)
        return fd;
    if (n == 0 || n >= sizeof(copy))
        return n ? -ENAMETOOLONG : -EINVAL;
    memcpy(copy, path, n + 1);
    fd = -EAGAIN;
    for (int i = 0; fd == -EAGAIN && i < RETRIES; i++)
        fd = make_once(root, copy, dir);
    return fd;
}

int root_parent(int root, const char *path, const char **base)
{
    char dir[PATH_BYTES];
    size_t n = 0, len = strlen(path);
    for (size_t i = 0; i < len; i++)
        if (path[i] == '/')
            n = i + 1;
    *base = path + n;
    if (n == len || is_dots(*base, len - n, 1) || is_dots(*base, len - n, 2))
        return -EINVAL;
    if (n + 1 >= sizeof(dir))
        return -ENAMETOOLONG;
    memcpy(dir, path, n);
    dir[n] = 0;
    return root_make(root, n ? dir : "/", 1);
}

int root_make_nofollow(int root, const char *path)
{
    char copy[PATH_BYTES];
    size_t n = strlen(path);
    if (n >= sizeof(copy))
        return -ENAMETOOLONG;
    memcpy(copy, path, n + 1);
    /* A trailing slash would make the kernel follow a symlink in spite of O_NOFOLLOW. */
    while (n && (copy[n - 1] == '/' || (n > 1 && copy[n - 1] == '.' && copy[n - 2] == '/')))
        copy[--n] = 0;
    const char *base;
    int parent = root_parent(root, copy, &base);
    if (parent < 0)
        return parent;
    int fd = sys_openat2(parent, base, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    if (fd == -ENOENT)
        fd = make_dir(parent, base);
    sys_close(parent);
    return fd;
}
