/* The last steps of every process: where it stands, what it runs, and execve. */
#include "exec.h"

#define SIG_SETMASK 2
#define CLOEXEC_SCAN_MAX 65536

static char resolved[4096];

int write_file(int fd, const char *text, size_t n)
{
    long got;
    do
        got = sys_write(fd, text, n);
    while (got == -EINTR);
    if (got < 0)
        return (int)got;
    return (size_t)got == n ? 0 : -EIO; /* procfs takes a value whole or not at all */
}

int op_setsid(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    (void)op;
    (void)detail;
    long sid = SYS(__NR_setsid, 0, 0, 0, 0, 0, 0);
    return sid < 0 ? (int)sid : 0;
}

/* A kernel path that does not start with "/" is outside of our root: the second line of defence against
 * CVE-2024-21626, for what openat2 cannot see (SECURITY.md CV-10). */
static int check_cwd(void)
{
    static char buf[4096];
    long n = SYS(__NR_getcwd, buf, sizeof(buf), 0, 0, 0, 0);
    if (n < 0)
        return (int)n;
    return buf[0] == '/' ? 0 : -ENOENT;
}

/* No magic links: /proc/self/fd/N names whatever N happens to be, in this process or a later one. */
static int open_dir(int at, const char *path)
{
    return sys_openat2(at, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
}

static int enter(const char *path)
{
    int fd = open_dir(AT_FDCWD, path);
    int err = fd < 0 ? fd : sys_fchdir(fd);
    if (fd >= 0)
        sys_close(fd);
    return err;
}

/* The next component of a path goes to `name`, of 256 bytes; what comes after it is returned. */
static const char *component(const char *path, char *name)
{
    size_t n = 0;
    while (*path == '/')
        path++;
    while (path[n] && path[n] != '/' && n < 256)
        n++;
    if (n == 256)
        return NULL;
    memcpy(name, path, n);
    name[n] = 0;
    return path + n;
}

static int make_dirs(const char *path)
{
    char name[256];
    int at = open_dir(AT_FDCWD, "/");
    while (at >= 0 && (path = component(path, name)) && *name) {
        int next = open_dir(at, name);
        if (next == -ENOENT) {
            int err = sys_mkdirat(at, name, 0755);
            next = err && err != -EEXIST ? err : open_dir(at, name);
        }
        sys_close(at);
        at = next;
    }
    if (at < 0)
        return at;
    sys_close(at);
    return path ? 0 : -ENAMETOOLONG;
}

/* Tried with the privileges of now; when that is refused, again after the ids have changed (EX-08). */
int op_chdir(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *path = op_str(c, op, 0);
    if (c->chdir_done)
        return 0;
    int err = enter(path);
    if (err == -ENOENT && (op->flags & CHDIR_CREATE)) {
        err = make_dirs(path);
        *detail = D_CREATE;
        if (!err)
            err = enter(path);
    }
    if (err == -EACCES && (op->flags & CHDIR_FIRST_TRY))
        return 0;
    if (err)
        return err;
    *detail = D_CWD;
    c->chdir_done = 1;
    return check_cwd();
}

static const char *path_variable(const struct ctx *c)
{
    const char *found = NULL;
    for (char **e = c->envp; *e; e++)
        if (str_starts(*e, "PATH="))
            found = *e + 5;
    return found ? found : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int runnable(const char *path)
{
    struct statx st;
    int err = sys_statx(AT_FDCWD, path, 0, STATX_TYPE, &st);
    if (err)
        return err;
    if ((st.stx_mode & S_IFMT) == S_IFDIR)
        return -EISDIR;
    err = (int)SYS(__NR_faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS, 0, 0);
    if (err == -ENOSYS) /* before 5.8: real ids, which are the effective ones here */
        err = (int)SYS(__NR_faccessat, AT_FDCWD, path, 1, 0, 0, 0);
    return err;
}

int op_lookup(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *name = c->argv[0];
    size_t len = strlen(name);
    int seen = 0;
    (void)op;
    for (size_t i = 0; i < len; i++)
        if (name[i] == '/') {
            c->exec_path = name;
            int err = runnable(name);
            return err == -EISDIR ? -EACCES : err;
        }
    for (const char *p = path_variable(c); len; p++) {
        size_t n = 0;
        while (p[n] && p[n] != ':')
            n++;
        /* An empty or relative entry would search the working directory: never (CVE class of Go's exec). */
        if (p[0] == '/' && n + len + 2 <= sizeof(resolved)) {
            memcpy(resolved, p, n);
            resolved[n] = '/';
            memcpy(resolved + n + 1, name, len + 1);
            int err = runnable(resolved);
            if (!err) {
                c->exec_path = resolved;
                return 0;
            }
            if (err == -EACCES)
                seen = err;
        }
        p += n;
        if (!*p)
            break;
    }
    *detail = D_NOT_FOUND;
    return seen ? seen : -ENOENT;
}

/* From here the creating verb may end, so the tie to it is cut; whoever sends GO is told the rest. */
int op_wait_start(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct msg m = {.type = MSG_READY, .step = c->step};
    int listener = op_fd(c, op);
    int err = sys_prctl(PR_SET_PDEATHSIG, 0, 0, 0);
    *detail = D_PARENT;
    if (!err)
        err = msg_send(c->sync, &m, -1);
    if (err)
        return err;
    sys_close(c->sync);
    for (;;) {
        c->sync = (int)SYS(__NR_accept4, listener, 0, 0, O_CLOEXEC, 0, 0);
        if (c->sync < 0 && c->sync != -EINTR && c->sync != -ECONNABORTED)
            die(125);
        if (c->sync < 0)
            continue;
        if (msg_recv(c->sync, &m, NULL, 0, NULL) == 0 && m.type == MSG_GO)
            break;
        sys_close(c->sync); /* the starter died before it said go: wait for the next one */
    }
    sys_close(listener);
    return 0;
}

int op_close_fds(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    unsigned first = 3 + (unsigned)op->num[0];
    (void)c;
    (void)detail;
    int err = (int)SYS(__NR_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC, 0, 0, 0);
    if (err != -ENOSYS && err != -EINVAL)
        return err;
    /* Before 5.11. No /proc/self/fd here: after a join that is the container's to forge. */
    for (unsigned fd = first; fd < CLOEXEC_SCAN_MAX; fd++)
        (void)sys_fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

/* Ignored signals survive execve, and Python ignores SIGPIPE (SECURITY.md EX-25). */
void default_signals(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } act;
    memset(&act, 0, sizeof(act));
    for (int sig = 1; sig <= 64; sig++)
        (void)SYS(__NR_rt_sigaction, sig, &act, 0, 8, 0, 0);
}

static void empty_mask(void)
{
    uint64_t none = 0;
    (void)SYS(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8, 0, 0);
}

int op_exec(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *path = c->exec_path ? c->exec_path : c->argv[0];
    (void)op;
    if (!c->signals_done)
        default_signals();
    empty_mask();
    int err = nofile_final(c);
    if (!err)
        err = sys_prctl(PR_SET_PDEATHSIG, 0, 0, 0);
    if (err)
        return err;
    err = (int)SYS(__NR_execve, path, c->argv, c->envp, 0, 0, 0);
    *detail = err == -ENOENT && !c->exec_path ? D_NOT_FOUND : D_NONE;
    return err;
}
