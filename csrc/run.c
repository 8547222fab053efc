/* The interpreter: one op after the other, the first failure reported and final. */
#include "exec.h"

static int op_sync(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    int err = sync_point(c, op->num[0]);
    if (err == -EPIPE)
        *detail = D_PARENT;
    return err;
}

static op_fn *lookup(uint16_t code)
{
    switch (code) {
    case OP_OOM_SCORE_ADJ: return op_oom_score_adj;
    case OP_RLIMIT: return op_rlimit;
    case OP_JOIN_NS: return op_join_ns;
    case OP_UNSHARE: return op_unshare;
    case OP_SYNC: return op_sync;
    case OP_ROOT_IDS: return op_root_ids;
    case OP_TIME_OFFSETS: return op_time_offsets;
    case OP_FORK: return op_fork;
    case OP_SETSID: return op_setsid;
    case OP_JOIN_PIDFD: return op_join_pidfd;
    case OP_CHECK_ROOT: return op_check_root;
    case OP_LOOPBACK_UP: return op_loopback_up;
    case OP_KEYRING: return op_keyring;
    case OP_PROPAGATION: return op_propagation;
    case OP_ROOT_BIND: return op_root_bind;
    case OP_MOUNT_OVERLAY: return op_mount_overlay;
    case OP_MOUNT_FS: return op_mount_fs;
    case OP_MOUNT_BIND: return op_mount_bind;
    case OP_REMOUNT: return op_remount;
    case OP_MKNOD: return op_mknod;
    case OP_SYMLINK: return op_symlink;
    case OP_MASK_PATH: return op_mask_path;
    case OP_READONLY_PATH: return op_readonly_path;
    case OP_PIVOT_ROOT: return op_pivot_root;
    case OP_SYSCTL: return op_sysctl;
    case OP_HOSTNAME: return op_hostname;
    case OP_DOMAINNAME: return op_domainname;
    case OP_ROOT_ATTR: return op_root_attr;
    case OP_REPORT_ROOT: return op_report_root;
    case OP_CONSOLE: return op_console;
    case OP_BOUNDING: return op_bounding;
    case OP_SETGROUPS: return op_setgroups;
    case OP_SETIDS: return op_setids;
    case OP_CAPS: return op_caps;
    case OP_NO_NEW_PRIVS: return op_no_new_privs;
    case OP_UMASK: return op_umask;
    case OP_CHDIR: return op_chdir;
    case OP_LOOKUP: return op_lookup;
    case OP_WAIT_START: return op_wait_start;
    case OP_HOME: return op_home;
    case OP_CLOSE_FDS: return op_close_fds;
    case OP_EXEC: return op_exec;
    default: return NULL;
    }
}

_Noreturn void run_plan(struct ctx *c)
{
    for (c->step = 0; c->step < c->nops; c->step++) {
        const struct plan_op *op = &c->ops[c->step];
        uint32_t detail = D_NONE;
        op_fn *fn = lookup(op->code);
        int err = fn ? fn(c, op, &detail) : -EINVAL;
        if (!fn)
            detail = D_PLAN;
        if (err < 0)
            fail(c, err, detail);
    }
    fail(c, -EINVAL, D_PLAN); /* op_exec does not return */
}
