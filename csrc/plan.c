/* Check a packed plan completely, then make the pointers that execve wants (SECURITY.md CV-19). */
#include "exec.h"

#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define PROT_READ 1
#define PROT_WRITE 2

/* The blob ends with NUL, so a string that starts inside the data area also ends there. */
static int str_ok(const struct plan_header *h, uint32_t off)
{
    return !off || (off >= h->data_off && off < h->total);
}

/* A counted array of uint32 at off, and when `strings`, each of them a string. */
static int array_ok(const unsigned char *blob, const struct plan_header *h, uint32_t off,
                    int strings)
{
    uint32_t n, at;
    if (!off)
        return 1;
    if (off < h->data_off || off > h->total || h->total - off < 4)
        return 0;
    memcpy(&n, blob + off, 4);
    if (n > (h->total - off - 4) / 4)
        return 0;
    for (uint32_t i = 0; strings && i < n; i++) {
        memcpy(&at, blob + off + 4 + 4 * (size_t)i, 4);
        if (!at || !str_ok(h, at))
            return 0;
    }
    return 1;
}

static int known(uint16_t code)
{
    return (code >= OP_OOM_SCORE_ADJ && code <= OP_KEYRING) ||
           (code >= OP_PROPAGATION && code <= OP_CONSOLE) ||
           (code >= OP_BOUNDING && code <= OP_HOME);
}

/* How many strings the op follows without asking whether they are there. */
static int strings_needed(uint16_t code)
{
    switch (code) {
    case OP_TIME_OFFSETS: return 1;
    case OP_MOUNT_OVERLAY: return 2;
    case OP_MOUNT_FS: return 2;
    case OP_MOUNT_BIND: return 1;
    case OP_REMOUNT: return 1;
    case OP_MKNOD: return 1;
    case OP_SYMLINK: return 2;
    case OP_MASK_PATH: return 1;
    case OP_READONLY_PATH: return 1;
    case OP_SYSCTL: return 2;
    case OP_HOSTNAME: return 1;
    case OP_DOMAINNAME: return 1;
    case OP_CHDIR: return 1;
    default: return 0;
    }
}

static int op_ok(const unsigned char *blob, const struct plan_header *h, const struct plan_op *op)
{
    if (!known(op->code))
        return 0;
    for (int s = 0; s < 3; s++)
        if (!str_ok(h, op->str[s]) || (s < strings_needed(op->code) && !op->str[s]))
            return 0;
    return array_ok(blob, h, op->list, 1) && array_ok(blob, h, op->list2, 1) &&
           array_ok(blob, h, op->nums, 0);
}

int plan_check(const unsigned char *blob, size_t size, uint32_t nfds)
{
    struct plan_header h;
    struct plan_op op;
    uint32_t argc;
    if (size < sizeof(h) || size > PLAN_MAX_BYTES)
        return -EINVAL;
    memcpy(&h, blob, sizeof(h));
    if (h.magic != PLAN_MAGIC || h.version != PLAN_VERSION || h.total != size)
        return -EINVAL;
    if (!h.nops || h.nops > PLAN_MAX_OPS || h.ops_off != sizeof(h))
        return -EINVAL;
    if (h.data_off != h.ops_off + h.nops * (uint32_t)sizeof(op) || h.data_off >= size)
        return -EINVAL;
    if (blob[size - 1])
        return -EINVAL;
    for (uint32_t i = 0; i < h.nops; i++) {
        memcpy(&op, blob + h.ops_off + i * sizeof(op), sizeof(op));
        if (op.fd < -1 || (op.fd >= 0 && (uint32_t)op.fd >= nfds))
            return -EINVAL;
        if (!op_ok(blob, &h, &op) || (op.code == OP_EXEC) != (i == h.nops - 1))
            return -EINVAL;
    }
    if (!op.list) /* the last one, EXEC: argv[0] is looked at without asking */
        return -EINVAL;
    memcpy(&argc, blob + op.list, 4);
    return argc ? 0 : -EINVAL;
}

static void *map(size_t size, int fd)
{
    long p = SYS(__NR_mmap, 0, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    return p < 0 && p > -4096 ? NULL : (void *)p;
}

static void fill(const struct ctx *c, uint32_t list, char **out)
{
    uint32_t n = list_len(c, list);
    for (uint32_t i = 0; i < n; i++)
        out[i] = (char *)(uintptr_t)list_str(c, list, i);
    out[n] = NULL;
}

/* The plan is read into private memory before it is checked: what was checked is what runs. */
int plan_load(struct ctx *c, int fd)
{
    struct statx st;
    int err = sys_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st);
    if (err < 0)
        return err;
    if (st.stx_size < sizeof(struct plan_header) || st.stx_size > PLAN_MAX_BYTES)
        return -EINVAL;
    size_t size = (size_t)st.stx_size, got = 0;
    unsigned char *blob = map(size, -1);
    if (!blob)
        return -ENOMEM;
    while (got < size) {
        long n = SYS(__NR_pread64, fd, blob + got, size - got, got, 0, 0);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EINVAL;
        got += (size_t)n;
    }
    err = plan_check(blob, size, c->nfds);
    if (err)
        return err;
    c->plan = blob;
    c->ops = (const struct plan_op *)(blob + sizeof(struct plan_header));
    c->nops = ((const struct plan_header *)blob)->nops;
    const struct plan_op *last = &c->ops[c->nops - 1];
    uint32_t argc = list_len(c, last->list), envc = list_len(c, last->list2);
    char **vec = map(((size_t)argc + envc + 3 /* two ends, and HOME */) * sizeof(char *), -1);
    if (!vec)
        return -ENOMEM;
    c->argv = vec;
    c->envp = vec + argc + 1;
    fill(c, last->list, c->argv);
    fill(c, last->list2, c->envp);
    return 0;
}
