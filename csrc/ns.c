/* Namespaces: enter, make, and prove where we are. */
#include "exec.h"

#define SIOCGIFFLAGS 0x8913
#define SIOCSIFFLAGS 0x8914
#define IFF_UP 1

int op_join_ns(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)detail;
    return sys_setns(op_fd(c, op), (int)op->num[0]);
}

int op_unshare(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    (void)detail;
    return sys_unshare(op->num[0]);
}

/* Credentials changed, so the kernel reset what protects us from the container (prctl(2),
 * PR_SET_DUMPABLE and PR_SET_PDEATHSIG): arm both again (SECURITY.md EX-04, EX-20). */
static int rearm(struct ctx *c)
{
    int err = sys_prctl(PR_SET_DUMPABLE, 0, 0, 0);
    return err < 0 ? err : tie_to_parent(c);
}

int op_root_ids(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int err = (int)SYS(__NR_setresgid, 0, 0, 0, 0, 0, 0);
    (void)op;
    (void)detail;
    if (!err)
        err = (int)SYS(__NR_setresuid, 0, 0, 0, 0, 0, 0);
    return err ? err : rearm(c);
}

/* Must be written before any process is born into the namespace (time_namespaces(7)). */
int op_time_offsets(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *text = op_str(c, op, 0);
    int fd = sys_openat(AT_FDCWD, "/proc/self/timens_offsets", O_WRONLY, 0);
    *detail = D_WRITE;
    if (fd < 0)
        return fd;
    int err = write_file(fd, text, strlen(text));
    sys_close(fd);
    return err;
}

/* CLONE_PARENT: the child is the caller's child, who can therefore wait for it. The kernel takes the
 * exit signal from this process and refuses an explicit one (clone3(2)). */
int op_fork(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)op;
    *detail = D_FORK;
    long pid = sys_clone3(CLONE_PARENT, 0, NULL, -1);
    if (pid == -ENOSYS || pid == -EPERM) /* seccomp profiles of outer containers refuse clone3 */
        pid = SYS(__NR_clone, CLONE_PARENT, 0, 0, 0, 0, 0);
    if (pid < 0)
        /* ENOMEM is how the kernel says that the pid namespace has no init any more (EX-18). */
        return (int)pid;
    if (pid > 0) {
        struct msg m = {.type = MSG_PID, .step = c->step, .v = {(uint64_t)pid}};
        die(msg_send(c->sync, &m, -1) ? 125 : 0);
    }
    *detail = D_PARENT;
    return tie_to_parent(c);
}

int op_join_pidfd(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int fd = op_fd(c, op);
    (void)detail;
    int err = sys_setns(fd, (int)op->num[0]);
    if (!err && (op->num[0] & CLONE_NEWUSER)) {
        err = (int)SYS(__NR_setresgid, 0, 0, 0, 0, 0, 0);
        if (!err)
            err = (int)SYS(__NR_setresuid, 0, 0, 0, 0, 0, 0);
        if (!err)
            err = rearm(c);
    }
    if (!err) /* what the container may one day see of us holds no handle of the host (EX-03) */
        sys_close(fd);
    return err;
}

int root_identity(uint64_t id[3])
{
    struct statx st;
    memset(&st, 0, sizeof(st));
    int err = sys_statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &st);
    id[0] = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
    id[1] = st.stx_ino;
    id[2] = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
    return err;
}

/* setns lands on the topmost mount of the namespace's root, which need not be the container's
 * (SECURITY.md EX-05): anything but the recorded one fails closed. */
int op_check_root(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    uint64_t id[3];
    (void)c;
    int err = root_identity(id);
    if (err)
        return err;
    *detail = D_CHECK;
    return memcmp(id, op->num, sizeof(id)) == 0 ? 0 : -ESTALE;
}

int op_report_root(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct msg m = {.type = MSG_ROOT, .step = c->step};
    (void)op;
    (void)detail;
    int err = root_identity(m.v);
    return err ? err : msg_send(c->sync, &m, -1);
}

int op_loopback_up(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct {
        char name[16];
        short flags;
        char pad[22];
    } req;
    (void)c;
    (void)op;
    (void)detail;
    int fd = (int)SYS(__NR_socket, 2 /* AF_INET */, 2 | O_CLOEXEC /* SOCK_DGRAM */, 0, 0, 0, 0);
    if (fd < 0)
        return fd;
    memset(&req, 0, sizeof(req));
    memcpy(req.name, "lo", 3);
    int err = sys_ioctl(fd, SIOCGIFFLAGS, &req);
    if (!err) {
        req.flags = (short)(req.flags | IFF_UP);
        err = sys_ioctl(fd, SIOCSIFFLAGS, &req);
    }
    sys_close(fd);
    return err;
}

int op_hostname(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *name = op_str(c, op, 0);
    (void)detail;
    return (int)SYS(__NR_sethostname, name, strlen(name), 0, 0, 0, 0);
}

int op_domainname(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    const char *name = op_str(c, op, 0);
    (void)detail;
    return (int)SYS(__NR_setdomainname, name, strlen(name), 0, 0, 0, 0);
}

/* A session keyring of the container's own, so that it cannot read the caller's (SECURITY.md EX-14). */
int op_keyring(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)detail;
    long id = SYS(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, op_str(c, op, 0), 0, 0, 0, 0);
    return id < 0 && id != -ENOSYS ? (int)id : 0;
}
