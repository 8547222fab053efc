#include "plan_blob.h"

#include <assert.h>

struct maker {
    unsigned char *out;
    size_t at, room;
};

static uint32_t put(struct maker *m, const void *data, size_t n)
{
    uint32_t at = (uint32_t)m->at;
    assert(n <= m->room - m->at);
    memcpy(m->out + m->at, data, n);
    m->at += n;
    return at;
}

static uint32_t put_str(struct maker *m, const char *s) { return put(m, s, strlen(s) + 1); }

static uint32_t put_array(struct maker *m, const uint32_t *values, uint32_t n)
{
    uint32_t at = put(m, &n, sizeof(n));
    put(m, values, n * sizeof(*values));
    return at;
}

unsigned char *blob_copy(const unsigned char *from, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    assert(copy);
    memcpy(copy, from, size);
    return copy;
}

size_t blob_valid(unsigned char *out, size_t room)
{
    struct plan_op op[5];
    struct plan_header head = {PLAN_MAGIC, PLAN_VERSION, 0,
                               5,          sizeof(head), sizeof(head) + sizeof(op)};
    struct maker m = {out, head.data_off, room};
    memset(op, 0, sizeof(op));
    for (int i = 0; i < 5; i++)
        op[i].fd = -1;
    op[0].code = OP_JOIN_NS;
    op[0].fd = 1;
    op[1].code = OP_MOUNT_FS;
    op[1].str[0] = put_str(&m, "/tmp");
    op[1].str[1] = put_str(&m, "tmpfs");
    op[1].str[2] = put_str(&m, "");
    uint32_t options[] = {put_str(&m, "size=1m"), put_str(&m, "mode=755")};
    op[1].list = put_array(&m, options, 2);
    op[2].code = OP_SETGROUPS;
    uint32_t groups[] = {0, 1000, UINT32_MAX};
    op[2].nums = put_array(&m, groups, 3);
    op[3].code = OP_HOSTNAME;
    op[3].str[0] = put_str(&m, "host");
    op[4].code = OP_EXEC;
    uint32_t argv[] = {put_str(&m, "/bin/sh"), put_str(&m, "-c"), put_str(&m, "exit")};
    op[4].list = put_array(&m, argv, 3);
    op[4].list2 = put_array(&m, argv, 0);
    put(&m, "", 1);
    head.total = (uint32_t)m.at;
    memcpy(out, &head, sizeof(head));
    memcpy(out + sizeof(head), op, sizeof(op));
    return m.at;
}

static uint64_t walk_list(const struct ctx *c, uint32_t off)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < list_len(c, off); i++)
        sum += strlen(list_str(c, off, i));
    return sum;
}

uint64_t blob_walk(const unsigned char *blob, uint32_t nfds)
{
    static int fds[PLAN_MAX_FDS];
    struct ctx c = {.plan = blob, .fds = fds, .nfds = nfds};
    struct plan_header h;
    uint64_t sum = 0;
    memcpy(&h, blob, sizeof(h));
    c.ops = (const struct plan_op *)(blob + sizeof(h));
    for (uint32_t i = 0; i < h.nops; i++) {
        const struct plan_op *op = &c.ops[i];
        assert(op->fd < (int)nfds);
        sum += op->code + op->num[3] + (uint64_t)op_fd(&c, op);
        for (int s = 0; s < 3; s++)
            sum += op->str[s] ? strlen(op_str(&c, op, s)) : 0;
        sum += walk_list(&c, op->list) + walk_list(&c, op->list2);
        for (uint32_t n = 0; n < list_len(&c, op->nums); n++)
            sum += list_u32(&c, op->nums, n);
    }
    const struct plan_op *last = &c.ops[h.nops - 1];
    assert(last->code == OP_EXEC);
    assert(list_len(&c, last->list) > 0);
    return sum;
}
