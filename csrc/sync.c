/* Messages between the executor and the process that started it. */
#include "exec.h"

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define POLLHUP 0x10
#define POLLRDHUP 0x2000

struct iov {
    void *base;
    size_t len;
};
struct mhdr {
    void *name;
    uint32_t namelen;
    struct iov *iov;
    size_t iovlen;
    void *control;
    size_t controllen;
    uint32_t flags;
};
struct cmsg {
    size_t len;
    int level, type;
    int fds[PLAN_MAX_FDS];
};

int msg_send(int fd, const struct msg *m, int pass_fd)
{
    struct iov iov = {(void *)(uintptr_t)m, sizeof(*m)};
    struct cmsg cm;
    struct mhdr h = {.iov = &iov, .iovlen = 1};
    long n;
    if (pass_fd >= 0) {
        cm.len = offsetof(struct cmsg, fds) + sizeof(int);
        cm.level = SOL_SOCKET;
        cm.type = SCM_RIGHTS;
        cm.fds[0] = pass_fd;
        h.control = &cm;
        h.controllen = offsetof(struct cmsg, fds) + sizeof(long);
    }
    do
        n = SYS(__NR_sendmsg, fd, &h, MSG_NOSIGNAL, 0, 0, 0);
    while (n == -EINTR);
    return n < 0 ? (int)n : 0;
}

/* 0, -EPIPE when the peer is gone, -EPROTO for anything that is not one whole message. */
int msg_recv(int fd, struct msg *m, int *fds, uint32_t max, uint32_t *nfds)
{
    static struct cmsg cm; /* large, and the executor is single-threaded */
    struct iov iov = {m, sizeof(*m)};
    struct mhdr h = {.iov = &iov, .iovlen = 1, .control = &cm, .controllen = sizeof(cm)};
    long n;
    do
        n = SYS(__NR_recvmsg, fd, &h, MSG_CMSG_CLOEXEC, 0, 0, 0);
    while (n == -EINTR);
    if (n < 0)
        return (int)n;
    uint32_t got = 0;
    if (h.controllen >= offsetof(struct cmsg, fds) && cm.level == SOL_SOCKET &&
        cm.type == SCM_RIGHTS)
        got = (uint32_t)((cm.len - offsetof(struct cmsg, fds)) / sizeof(int));
    for (uint32_t i = 0; i < got; i++)
        if (fds && i < max)
            fds[i] = cm.fds[i];
        else
            sys_close(cm.fds[i]);
    if (nfds)
        *nfds = got < max ? got : max;
    if (n == 0)
        return -EPIPE;
    return n == sizeof(*m) && !(h.flags & (MSG_TRUNC | MSG_CTRUNC)) ? 0 : -EPROTO;
}

_Noreturn void fail(struct ctx *c, int err, uint32_t detail)
{
    struct msg m = {
        .type = MSG_ERROR, .step = c->step, .err = err < 0 ? -err : err, .detail = detail};
    (void)msg_send(c->sync, &m, -1);
    die(125);
}

int sync_point(struct ctx *c, uint64_t number)
{
    struct msg m = {.type = MSG_SYNC, .step = c->step, .v = {number}};
    int err = msg_send(c->sync, &m, -1);
    if (!err)
        err = msg_recv(c->sync, &m, NULL, 0, NULL);
    if (!err && m.type != MSG_GO)
        err = -EPROTO;
    return err;
}

int tie_to_parent(struct ctx *c)
{
    struct {
        int fd;
        short events, revents;
    } p = {c->sync, POLLRDHUP, 0};
    struct {
        long sec, nsec;
    } now = {0, 0};
    int err = sys_prctl(PR_SET_PDEATHSIG, 9, 0, 0);
    if (err < 0)
        return err;
    long n = SYS(__NR_ppoll, &p, 1, &now, 0, 8, 0);
    return n > 0 && (p.revents & (POLLHUP | POLLRDHUP)) ? -EPIPE : 0;
}
