/* Limits, ids and capabilities of the process to be. */
#include "exec.h"

#define RLIMIT_NOFILE 7

static int set_rlimit(uint64_t resource, const uint64_t lim[2], uint64_t old[2])
{
    return (int)SYS(__NR_prlimit64, 0, resource, lim, old, 0, 0);
}

/* The host's /proc: this runs before any namespace is joined. */
int op_oom_score_adj(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    char text[24];
    int64_t value = (int64_t)op->num[0];
    size_t n = 0;
    (void)c;
    if (value < 0)
        text[n++] = '-';
    n += str_decimal(text + n, value < 0 ? 0 - op->num[0] : op->num[0]);
    *detail = D_WRITE;
    int fd = sys_openat(AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY, 0);
    if (fd < 0)
        return fd;
    int err = write_file(fd, text, n);
    sys_close(fd);
    return err;
}

/* Raising a hard limit needs CAP_SYS_RESOURCE in the first user namespace, so limits are set before
 * joining; only RLIMIT_NOFILE's lowering waits for nofile_final. */
int op_rlimit(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    uint64_t lim[2] = {op->num[1], op->num[2]}, cur[2];
    (void)detail;
    if (op->num[0] == RLIMIT_NOFILE) {
        c->nofile_set = 1;
        memcpy(c->nofile, lim, sizeof(lim));
        int err = set_rlimit(RLIMIT_NOFILE, NULL, cur);
        if (err)
            return err;
        for (int i = 0; i < 2; i++)
            if (lim[i] < cur[i])
                lim[i] = cur[i];
    }
    return set_rlimit(op->num[0], lim, NULL);
}

int nofile_final(struct ctx *c)
{
    return c->nofile_set ? set_rlimit(RLIMIT_NOFILE, c->nofile, NULL) : 0;
}

int op_bounding(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    (void)detail;
    for (unsigned cap = 0; cap < 64; cap++) {
        if (op->num[0] >> cap & 1)
            continue;
        int err = sys_prctl(PR_CAPBSET_DROP, cap, 0, 0);
        if (err == -EINVAL)
            break; /* past the kernel's last capability */
        if (err == -EPERM && sys_prctl(PR_CAPBSET_READ, cap, 0, 0) == 0)
            err = 0; /* not there and no right to drop it: nothing to do */
        if (err)
            return err;
    }
    return 0;
}

/* In a user namespace with setgroups denied nothing can be kept or set: fine when nothing is asked for,
 * an error otherwise (SECURITY.md EX-09). */
int op_setgroups(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    uint32_t n = list_len(c, op->nums);
    const unsigned char *ids = op->nums ? c->plan + op->nums + 4 : NULL;
    int err = (int)SYS(__NR_setgroups, n, ids, 0, 0, 0, 0);
    if (err == -EPERM) {
        *detail = D_SETGROUPS_DENIED;
        return n ? err : 0;
    }
    return err;
}

int op_setids(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    uint64_t uid = op->num[0], gid = op->num[1];
    *detail = D_NONE;
    int err = sys_prctl(PR_SET_KEEPCAPS, 1, 0, 0);
    if (!err)
        err = (int)SYS(__NR_setresgid, gid, gid, gid, 0, 0, 0);
    if (!err)
        err = (int)SYS(__NR_setresuid, uid, uid, uid, 0, 0, 0);
    if (!err)
        err = sys_prctl(PR_SET_KEEPCAPS, 0, 0, 0);
    if (!err)
        err = sys_prctl(PR_SET_DUMPABLE, 0, 0, 0); /* the change of ids reset it (EX-04) */
    return err ? err : tie_to_parent(c);
}

/* What this process does not hold cannot be granted; the spec wants no error for that (config.md,
 * process.capabilities), so the sets are cut to what is permitted. */
int op_caps(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof(data));
    int err = (int)SYS(__NR_capget, &head, data, 0, 0, 0, 0);
    if (err)
        return err;
    uint64_t have = data[0].permitted | (uint64_t)data[1].permitted << 32;
    uint64_t permitted = op->num[1] & have, effective = op->num[0] & permitted;
    uint64_t inheritable = op->num[2] & have;
    for (int i = 0; i < 2; i++) {
        data[i].permitted = (uint32_t)(permitted >> 32 * i);
        data[i].effective = (uint32_t)(effective >> 32 * i);
        data[i].inheritable = (uint32_t)(inheritable >> 32 * i);
    }
    err = (int)SYS(__NR_capset, &head, data, 0, 0, 0, 0);
    if (err)
        return err;
    *detail = D_AMBIENT;
    err = sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0);
    for (unsigned long cap = 0; !err && cap < 64; cap++)
        if (op->num[3] & permitted & inheritable & 1ull << cap)
            err = sys_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0);
    (void)c;
    return err;
}

int op_no_new_privs(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    (void)op;
    (void)detail;
    return sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0);
}

int op_umask(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    (void)c;
    (void)detail;
    SYS(__NR_umask, op->num[0], 0, 0, 0, 0, 0);
    return 0;
}
