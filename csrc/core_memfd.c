/* Sealed copies: a container that reaches /proc/PID/exe must find nothing it can change (SECURITY.md CV-01). */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int seal(int fd)
{
    if (fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_EXEC) == 0)
        return 0;
    return fcntl(fd, F_ADD_SEALS, SEALS) == 0 ? 0 : -errno; /* before 6.3 */
}

static int copy_all(int from, int to)
{
    struct stat st;
    if (fstat(from, &st))
        return -errno;
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(to, from, NULL, (size_t)left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        left -= n;
    }
    return 0;
}

/* vm.memfd_noexec=2 or an LSM refuses executable memfds: an unlinked file, reopened read-only, is next
 * best, since nobody can hold it open for writing while it runs (SECURITY.md EX-27). */
static int scratch_copy(int from, const char *dir)
{
    char path[64];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0500);
    if (fd < 0)
        return -errno;
    int err = copy_all(from, fd), ro = -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (!err) {
        ro = open(path, O_RDONLY | O_CLOEXEC);
        err = ro < 0 ? -errno : 0;
    }
    close(fd);
    return err ? err : ro;
}

int shim_sealed_copy(const char *path, const char *scratch_dir)
{
    int from = open(path, O_RDONLY | O_CLOEXEC), err;
    if (from < 0)
        return -errno;
    int fd = memfd_create("shim-executor", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("shim-executor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        err = scratch_copy(from, scratch_dir);
        close(from);
        return err;
    }
    err = copy_all(from, fd);
    if (!err)
        err = fchmod(fd, 0555) ? -errno : seal(fd);
    close(from);
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

int shim_sealed_bytes(const char *name, const void *data, uint64_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    for (uint64_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int err = -errno;
            close(fd);
            return err;
        }
        done += (uint64_t)n;
    }
    int err = fcntl(fd, F_ADD_SEALS, SEALS) == 0 ? 0 : -errno;
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}
