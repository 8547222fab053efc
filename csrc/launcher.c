/* The command `shim`: starts Python isolated on the package that was installed with it.
 *
 * A console-script would start through PATH, PYTHONPATH, .pth files and the caller's site directory,
 * all as root. This finds itself by /proc/self/exe, its prefix from that, the package and the
 * interpreter from the prefix, and trusts nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_SHIM_FAILED 125
#define OLDEST_MINOR 11
#define NEWEST_MINOR 40

static char prefix[4096], interpreter[4352], entry[4352];

/* Where pip puts pure and platform files below a prefix; "" is `pip install --target`. */
static const char *const layouts[] = {
    "/lib/python3.%d/site-packages",   "/lib/python3.%d/dist-packages",
    "/lib64/python3.%d/site-packages", "/local/lib/python3.%d/dist-packages",
    "/lib/python3/dist-packages",      "",
};

static int find_prefix(void)
{
    ssize_t n = readlink("/proc/self/exe", prefix, sizeof(prefix) - 1);
    if (n <= 0 || (size_t)n >= sizeof(prefix) - 1)
        return 0;
    prefix[n] = 0;
    for (int up = 0; up < 2; up++) { /* .../bin/shim */
        char *slash = strrchr(prefix, '/');
        if (!slash)
            return 0;
        *slash = 0;
    }
    return 1;
}

static int find_entry(int minor)
{
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        char layout[64];
        snprintf(layout, sizeof(layout), layouts[i], minor);
        snprintf(entry, sizeof(entry), "%s%s/shim/__main__.py", prefix, layout);
        if (access(entry, R_OK) == 0)
            return 1;
    }
    return 0;
}

/* A virtual environment has its own; elsewhere the one that shim was built with. */
static int find_interpreter(int minor)
{
    snprintf(interpreter, sizeof(interpreter), "%s/bin/python3.%d", prefix, minor);
    if (access(interpreter, X_OK) == 0)
        return 1;
    if (minor != SHIM_PYTHON_MINOR)
        return 0;
    snprintf(interpreter, sizeof(interpreter), "%s", SHIM_PYTHON);
    return access(interpreter, X_OK) == 0;
}

/* Without `site` Python starts faster and reads no .pth file, but sees only what lies beside the
 * package; a distribution may keep the dependencies in another directory. */
static int dependencies_beside(void)
{
    static const char *const names[] = {"cffi", "prctl.py", "psutil", "pyroute2", "yaml"};
    char path[sizeof(entry) + 16];
    int package = (int)(strlen(entry) - strlen("shim/__main__.py"));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%.*s%s", package, entry, names[i]);
        if (access(path, R_OK) != 0)
            return 0;
    }
    return 1;
}

static int find(int minor) { return find_entry(minor) && find_interpreter(minor); }

int main(int argc, char **argv)
{
    if (!find_prefix()) {
        fputs("shim: cannot start: /proc/self/exe is not readable\n", stderr);
        return EXIT_SHIM_FAILED;
    }
    int found = find(SHIM_PYTHON_MINOR);
    for (int minor = OLDEST_MINOR; !found && minor <= NEWEST_MINOR; minor++)
        found = find(minor);
    if (!found) {
        fprintf(stderr, "shim: cannot start: no package shim with its Python below \"%s\"\n",
                prefix);
        return EXIT_SHIM_FAILED;
    }
    char *head[] = {interpreter, dependencies_beside() ? "-IS" : "-I", "-X", "utf8", entry};
    size_t n = sizeof(head) / sizeof(head[0]);
    char **args = calloc(n + (size_t)argc + 1, sizeof(*args));
    if (!args) {
        fputs("shim: cannot start: out of memory\n", stderr);
        return EXIT_SHIM_FAILED;
    }
    memcpy(args, head, sizeof(head));
    for (int i = 1; i < argc; i++)
        args[n++] = argv[i];
    execv(interpreter, args);
    fprintf(stderr, "shim: cannot start \"%s\": ", interpreter);
    perror(NULL);
    return EXIT_SHIM_FAILED;
}
