/* HOME for a process whose environment has none: from the container's own /etc/passwd, as runc does.
 * The file is the container's and may be hostile: read as the process's user, regular files only,
 * bounded, and never by libc's NSS (SECURITY.md CV-26, CV-31). */
#include "exec.h"

#define PASSWD_MAX (1 << 20)
#define HOME_MAX 4096

struct scan {
    uint64_t want, uid;
    unsigned field; /* of name:password:uid:gid:gecos:home:shell */
    int bad, found;
    size_t len;
};

static char home[sizeof("HOME=") + HOME_MAX];

static void end_of_line(struct scan *s)
{
    if (!s->bad && s->field >= 6 && s->uid == s->want && s->len && home[5] == '/') {
        home[5 + s->len] = 0;
        s->found = 1;
    }
    s->field = 0;
    s->uid = 0;
    s->bad = 0;
    s->len = 0;
}

static void feed(struct scan *s, char ch)
{
    if (ch == '\n') {
        end_of_line(s);
    } else if (ch == ':') {
        s->field++;
    } else if (s->field == 2) {
        if (ch < '0' || ch > '9' || s->uid > UINT32_MAX)
            s->bad = 1;
        else
            s->uid = s->uid * 10 + (uint64_t)(ch - '0');
    } else if (s->field == 5) {
        if (s->len >= HOME_MAX || !ch)
            s->bad = 1;
        else
            home[5 + s->len++] = ch;
    }
}

static int scan_passwd(struct scan *s)
{
    static char buf[4096];
    struct statx st;
    int fd = sys_openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    long n = sys_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st);
    if (n == 0 && (st.stx_mode & S_IFMT) == S_IFREG)
        for (long total = 0; !s->found && total < PASSWD_MAX; total += n) {
            n = sys_read(fd, buf, sizeof(buf));
            if (n <= 0)
                break;
            for (long i = 0; i < n && !s->found; i++)
                feed(s, buf[i]);
        }
    if (!s->found)
        end_of_line(s);
    sys_close(fd);
    return s->found;
}

int op_home(struct ctx *c, const struct plan_op *op, uint32_t *detail)
{
    struct scan s = {.want = op->num[0]};
    char **end = c->envp;
    (void)detail;
    for (; *end; end++)
        if (str_starts(*end, "HOME="))
            return 0;
    memcpy(home, "HOME=", 5);
    if (!scan_passwd(&s))
        memcpy(home, "HOME=/", 7);
    end[0] = home; /* plan_load left room for one more */
    end[1] = NULL;
    return 0;
}
