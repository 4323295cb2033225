/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

#define PASSWD_BYTES 16384u
#define LINKS_MAX    40u /* as many as the kernel follows */
#define NAME_CHARS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* ---- Expansion --------------------------------------------------------------------- */

bool wl_path_home(const char *user, char **out)
{
    const char *home = user[0] == '\0' ? getenv("HOME") : NULL;
    struct passwd entry;
    struct passwd *found = NULL;
    char *buffer = wl_sys_array(PASSWD_BYTES, 1);

    *out = NULL;
    if (!buffer) {
        return false;
    }
    if (user[0] != '\0') {
        (void)getpwnam_r(user, &entry, buffer, PASSWD_BYTES, &found);
    } else if (!home || home[0] == '\0') {
        (void)getpwuid_r(getuid(), &entry, buffer, PASSWD_BYTES, &found);
    }
    home = found ? found->pw_dir : home;
    if (home && home[0] != '\0') {
        *out = wl_str_new("%s", home);
    }
    wl_sys->free(buffer);
    return *out || !home || home[0] == '\0';
}

char *wl_path_expand_home(const char *text)
{
    size_t bytes = strcspn(text, "/");
    char *home = NULL;
    char *user;
    char *out = NULL;

    if (text[0] != '~') {
        return wl_str_new("%s", text);
    }
    user = wl_str_new("%.*s", (int)(bytes - 1), text + 1);
    if (user && wl_path_home(user, &home)) {
        out = home ? wl_str_new("%s%s", home, text + bytes) : wl_str_new("%s", text);
    }
    wl_sys->free(home);
    wl_sys->free(user);
    return out;
}

/* Take the "NAME" or "{NAME}" that `text` begins with: its name, and in *taken how many bytes that
 * was.  0: there is none. */
static size_t take_name(const char *text, const char **name, size_t *taken)
{
    bool is_braced = text[0] == '{';
    size_t bytes = strspn(text + is_braced, NAME_CHARS);

    *name = text + is_braced;
    *taken = bytes + (is_braced ? 2 : 0);
    return is_braced && text[1 + bytes] != '}' ? 0 : bytes;
}

/* The value of the variable that `text` begins with, or NULL.  False: no memory. */
static bool value_at(const char *text, size_t *taken, const char **value)
{
    const char *name;
    size_t bytes = take_name(text, &name, taken);
    char *copy = wl_str_new("%.*s", (int)bytes, name);

    *value = copy && bytes > 0 ? getenv(copy) : NULL;
    wl_sys->free(copy);
    return copy != NULL;
}

char *wl_path_expand(const char *text)
{
    char *out = wl_str_new("%s", "");
    char *before;

    while (out && *text) {
        size_t plain = strcspn(text, "$");
        size_t taken = 0;
        const char *value = "";

        before = out;
        if (text[plain] == '$' && !value_at(text + plain + 1, &taken, &value)) {
            out = NULL;
        } else if (!value) {
            plain++; /* the '$' stays */
            taken = 0;
            out = wl_str_new("%s%.*s", before, (int)plain, text);
        } else {
            taken += text[plain] == '$';
            out = wl_str_new("%s%.*s%s", before, (int)plain, text, value);
        }
        wl_sys->free(before);
        text += plain + taken;
    }
    before = out;
    out = before ? wl_path_expand_home(before) : NULL;
    wl_sys->free(before);
    return out;
}

/* ---- Where it leads ------------------------------------------------------------------ */

/* What an open file is called once all links are resolved, or NULL. */
static char *true_name(int fd)
{
    char link[64];
    char name[WL_PATH_BYTES_MAX + 1];
    ssize_t bytes;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bytes = wl_sys->readlinkat(AT_FDCWD, link, name, WL_PATH_BYTES_MAX);
    if (bytes <= 0 || (size_t)bytes == WL_PATH_BYTES_MAX || name[0] != '/') {
        return NULL;
    }
    name[bytes] = '\0';
    return wl_str_new("%s", name);
}

/* The true name of as much of a path as exists; *rest is set to what does not. */
static char *existing_part(char *path, const char **rest)
{
    size_t end = strlen(path);

    for (;;) {
        char cut = path[end];
        const char *name = end > 0 ? path : path[0] == '/' ? "/" : ".";
        char *out;
        int fd;

        path[end] = end > 0 ? '\0' : cut;
        do {
            fd = wl_sys->openat(AT_FDCWD, name, O_PATH | O_CLOEXEC, 0);
        } while (fd < 0 && errno == EINTR);
        path[end] = cut;
        *rest = path + end;
        if (fd >= 0 || end == 0) {
            out = fd >= 0 ? true_name(fd) : NULL;
            if (fd >= 0) {
                (void)wl_sys->close(fd);
            }
            return out;
        }
        while (end > 0 && path[end - 1] == '/') {
            end--;
        }
        while (end > 0 && path[end - 1] != '/') {
            end--;
        }
    }
}

/* Go from the absolute path `base`, which has room, along `rest`, which does not exist. */
static void follow(char *base, const char *rest)
{
    size_t end = strcmp(base, "/") == 0 ? 0 : strlen(base);

    while (*rest) {
        size_t bytes = strcspn(rest, "/");

        if (bytes == 2 && rest[0] == '.' && rest[1] == '.') {
            while (end > 0 && base[--end] != '/') {
            }
        } else if (bytes > 0 && !(bytes == 1 && rest[0] == '.')) {
            base[end++] = '/';
            memcpy(base + end, rest, bytes);
            end += bytes;
        }
        rest += bytes + (rest[bytes] == '/');
    }
    base[end == 0 ? 1 : end] = '\0';
}

/* The length of what the link at base/<first part of rest> points to; 0: there is none. */
static size_t read_link(const char *base, const char *rest, char target[WL_PATH_BYTES_MAX])
{
    char link[WL_PATH_BYTES_MAX];
    int size = snprintf(link, sizeof(link), "%s/%.*s", base, (int)strcspn(rest, "/"), rest);
    ssize_t bytes = -1;

    if (rest[0] != '\0' && size > 0 && (size_t)size < sizeof(link)) {
        bytes = wl_sys->readlinkat(AT_FDCWD, link, target, WL_PATH_BYTES_MAX);
    }
    return bytes > 0 && (size_t)bytes < WL_PATH_BYTES_MAX ? (size_t)bytes : 0;
}

/* What existing_part() took apart, put together; where a link that leads to nothing lies between
 * the two, with what it says in its place.  NULL: no memory. */
static char *join(const char *base, const char *rest, bool *is_link)
{
    char target[WL_PATH_BYTES_MAX];
    size_t bytes = read_link(base, rest, target);
    char *out;

    *is_link = bytes > 0;
    if (bytes > 0) {
        return wl_str_new("%s%s%.*s%s", target[0] == '/' ? "" : base, target[0] == '/' ? "" : "/",
                          (int)bytes, target, rest + strcspn(rest, "/"));
    }
    out = wl_sys_array(strlen(base) + strlen(rest) + 2, 1);
    if (out) {
        memcpy(out, base, strlen(base));
        follow(out, rest);
    }
    return out;
}

static void cut_slashes(char *path)
{
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--) {
        path[end - 1] = '\0';
    }
}

int wl_path_resolve(char **path, struct wload_error *err)
{
    bool is_link = true;

    for (unsigned links = 0; is_link && links < LINKS_MAX; links++) {
        const char *rest;
        char *base = existing_part(*path, &rest);
        char *out;

        if (!base && (*path)[0] == '/') {
            cut_slashes(*path); /* no /proc: it is good as it is, but for those */
            return WLOAD_OK;
        }
        if (!base) {
            return wl_err_set(err, WLOAD_ERR_IO, "cannot tell where '%s' is: use an absolute path",
                              *path);
        }
        out = join(base, rest, &is_link);
        wl_sys->free(base);
        if (!out) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its path", *path);
        }
        wl_sys->free(*path);
        *path = out;
    }
    return WLOAD_OK;
}
