/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "bench/command.h"

#define SEQUENCE_BYTES_MAX 4u

/* Characters that move the cursor, end the line or turn the text around them. */
static const struct {
    uint32_t first;
    uint32_t last;
} harmful[] = {
    {0x0, 0x1f},      {0x7f, 0x9f},     {0x61c, 0x61c},   {0x200e, 0x200f},
    {0x2028, 0x202e}, {0x2066, 0x2069}, {0xfeff, 0xfeff},
};

/* Bytes of the well-formed character at `text`, or 0. */
static size_t character(const char *text)
{
    size_t left = strnlen(text, SEQUENCE_BYTES_MAX);

    for (size_t size = 1; size <= left; size++) {
        if (wl_str_is_utf8(text, size)) {
            return size;
        }
    }
    return 0;
}

static uint32_t code_point(const char *text, size_t size)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (unsigned char)text[0] & lead_bits[size];

    for (size_t i = 1; i < size; i++) {
        code = code << 6 | ((unsigned char)text[i] & 0x3f);
    }
    return code;
}

static bool is_harmful(uint32_t code)
{
    for (size_t i = 0; i < WL_COUNT_OF(harmful); i++) {
        if (code >= harmful[i].first && code <= harmful[i].last) {
            return true;
        }
    }
    return false;
}

void text_put_escaped(FILE *out, const char *text)
{
    while (*text) {
        size_t size = character(text);
        uint32_t code = size > 0 ? code_point(text, size) : (unsigned char)*text;

        if (size > 0 && !is_harmful(code)) {
            (void)fwrite(text, 1, size, out);
        } else {
            (void)fprintf(out, size > 1 ? "\\u{%04" PRIX32 "}" : "\\x%02" PRIX32, code);
        }
        text += size > 0 ? size : 1;
    }
}

const char *text_size(uint64_t bytes, char out[TEXT_SIZE_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < WL_COUNT_OF(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, TEXT_SIZE_BYTES, "%.*f %s", unit == 0 ? 0 : 2, value, units[unit]);
    return out;
}

const char *text_speed(double bytes_per_s, char out[TEXT_SIZE_BYTES])
{
    bool is_fast = bytes_per_s >= 1e9;

    (void)snprintf(out, TEXT_SIZE_BYTES, is_fast ? "%.2f GB/s" : "%.1f MB/s",
                   bytes_per_s / (is_fast ? 1e9 : 1e6));
    return out;
}

int text_fail(const struct wload_error *err)
{
    return text_fail_plainly("%s", err->message);
}

int text_fail_plainly(const char *fmt, ...)
{
    char line[sizeof(((struct wload_error *)0)->message) + WL_PATH_BYTES_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    (void)fputs("wload: ", stderr);
    text_put_escaped(stderr, line);
    (void)fputc('\n', stderr);
    return COMMAND_FAILED;
}

void text_add_string(cJSON *object, const char *name, const char *text)
{
    char *escaped = NULL;
    size_t size;
    FILE *out;

    if (wl_str_is_utf8(text, strlen(text))) {
        (void)cJSON_AddStringToObject(object, name, text);
        return;
    }
    out = open_memstream(&escaped, &size);
    if (!out) {
        return;
    }
    text_put_escaped(out, text);
    if (fclose(out) == 0) {
        (void)cJSON_AddStringToObject(object, name, escaped);
    }
    free(escaped);
}

int text_put_json(cJSON *json)
{
    char *text = cJSON_Print(json);

    cJSON_Delete(json);
    if (!text) {
        return text_fail_plainly("no memory for the report");
    }
    (void)puts(text);
    cJSON_free(text);
    return text_finish();
}

/* Why no file of that name can be made: 0 or an errno. */
static int refusal_above(const char *path)
{
    const char *slash = strrchr(path, '/');
    int bytes = slash ? (int)(slash - path) + 1 : 0;
    char *folder;
    int rc;

    if (asprintf(&folder, "%.*s.", bytes, path) < 0) {
        return ENOMEM;
    }
    rc = access(folder, W_OK | X_OK) < 0 ? errno : 0;
    free(folder);
    return rc;
}

int text_check_file(const char *path)
{
    struct wload_error err;
    struct stat status;
    int rc = 0;

    if (stat(path, &status) < 0) {
        rc = errno == ENOENT ? refusal_above(path) : errno;
    } else if (S_ISDIR(status.st_mode)) {
        rc = EISDIR;
    } else if (access(path, W_OK) < 0) {
        rc = errno;
    }
    if (rc == 0) {
        return COMMAND_DONE;
    }
    (void)wl_err_sys(&err, rc, "cannot write '%s'", path);
    return text_fail(&err);
}

/* Why standard output first took no more: an errno; 0: it took all. */
static int write_errno;

void text_flush(void)
{
    int rc = fflush(stdout) != 0 ? errno : ferror(stdout) ? EIO : 0;

    write_errno = write_errno != 0 ? write_errno : rc;
}

int text_finish(void)
{
    text_flush();
    if (write_errno != 0) {
        return text_fail_plainly("cannot write to standard output: %s", strerror(write_errno));
    }
    return COMMAND_DONE;
}
