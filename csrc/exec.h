/* The op interpreter's context and the op functions, one file per topic. */
#ifndef SHIM_EXEC_H
#define SHIM_EXEC_H

#include "plan.h"
#include "sys.h"

struct ctx {
    const unsigned char *plan; /* validated by plan_check */
    const struct plan_op *ops;
    uint32_t nops;
    const int *fds; /* what op.fd indexes */
    uint32_t nfds;
    int sync;       /* SOCK_SEQPACKET to the parent, later to `start`; closed by execve */
    int rootfd;     /* the new root before pivot_root, else -1 */
    uint32_t step;  /* index of the op that runs */
    int chdir_done;
    int nofile_set;
    int signals_done; /* the spawner has put its own, and so its children's, in order */
    uint64_t nofile[2];    /* exact RLIMIT_NOFILE, applied last: earlier it would starve open() */
    char **argv, **envp;   /* built at load time: nothing is allocated later */
    const char *exec_path; /* argv[0] resolved */
};

/* All op functions: 0 or -errno, *detail says which part (enum plan_detail). */
typedef int op_fn(struct ctx *c, const struct plan_op *op, uint32_t *detail);

static inline const char *op_str(const struct ctx *c, const struct plan_op *op, int i)
{
    return op->str[i] ? (const char *)c->plan + op->str[i] : NULL;
}
static inline uint32_t list_len(const struct ctx *c, uint32_t off)
{
    uint32_t n = 0;
    if (off)
        memcpy(&n, c->plan + off, sizeof(n));
    return n;
}
static inline uint32_t list_u32(const struct ctx *c, uint32_t off, uint32_t i)
{
    uint32_t v;
    memcpy(&v, c->plan + off + 4 + 4 * (size_t)i, sizeof(v));
    return v;
}
static inline const char *list_str(const struct ctx *c, uint32_t off, uint32_t i)
{
    return (const char *)c->plan + list_u32(c, off, i);
}
static inline int op_fd(const struct ctx *c, const struct plan_op *op)
{
    return op->fd < 0 ? -1 : c->fds[op->fd]; /* range checked by plan_check */
}

/* plan.c */
int plan_check(const unsigned char *blob, size_t size, uint32_t nfds);
int plan_load(struct ctx *c, int fd);

/* sync.c */
int msg_send(int fd, const struct msg *m, int pass_fd);
int msg_recv(int fd, struct msg *m, int *fds, uint32_t max, uint32_t *nfds);
_Noreturn void fail(struct ctx *c, int err, uint32_t detail);
int sync_point(struct ctx *c, uint64_t number);
/* Arm PDEATHSIG; a parent that is already gone is seen as a hang-up of the sync socket. */
int tie_to_parent(struct ctx *c);

/* run.c */
_Noreturn void run_plan(struct ctx *c);

/* ns.c */
op_fn op_join_ns, op_unshare, op_root_ids, op_time_offsets, op_fork, op_join_pidfd, op_check_root;
op_fn op_report_root, op_loopback_up, op_hostname, op_domainname, op_keyring;
int root_identity(uint64_t id[3]);

/* creds.c */
op_fn op_oom_score_adj, op_rlimit, op_bounding, op_setgroups, op_setids, op_caps, op_no_new_privs;
op_fn op_umask;
int nofile_final(struct ctx *c);

/* final.c */
op_fn op_home; /* home.c */
op_fn op_setsid, op_chdir, op_lookup, op_wait_start, op_close_fds, op_exec;
void default_signals(void);
int write_file(int fd, const char *text, size_t n);

/* path.c: everything below the new root goes through these (SECURITY.md CV-08, CV-11) */
/* O_PATH descriptor of `path` inside root, symlinks resolved as if root were "/". */
int root_open(int root, const char *path, uint64_t flags);
/* The same, creating missing directories (0755) and, when dir == 0, an empty file at the end. */
int root_make(int root, const char *path, int dir);
/* O_PATH descriptor of the parent directory of `path` (made when missing); *base = last component. */
int root_parent(int root, const char *path, const char **base);

/* mount.c, root.c, dev.c, tty.c */
op_fn op_propagation, op_root_bind, op_mount_overlay, op_mount_fs, op_mount_bind, op_remount;
op_fn op_mask_path, op_readonly_path, op_pivot_root, op_sysctl, op_root_attr;
op_fn op_mknod, op_symlink, op_console;

/* serve.c */
_Noreturn void serve(int fd);

/* wait.c */
_Noreturn void wait_mode(const int *fds, int n, char **argv, char **env);

#endif
