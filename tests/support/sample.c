/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/io_uring.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define TENSORS_MAX 400
#define HEADER_MAX  (TENSORS_MAX * 160)

static char dir[SAMPLE_PATH_BYTES];
static uint64_t state;

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_dir(void)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *sample_dir(void)
{
    if (dir[0] == '\0') {
        const char *base = getenv("TMPDIR");

        (void)snprintf(dir, sizeof(dir), "%s/wload-test-XXXXXX", base ? base : "/tmp");
        CHECK(mkdtemp(dir) != NULL);
        CHECK(atexit(remove_dir) == 0);
    }
    return dir;
}

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Every sixth tensor is small and odd: what comes behind it is unaligned for its type. */
static size_t put_tensor(char *header, size_t used, unsigned index, uint64_t *at, uint64_t left)
{
    static const struct {
        const char *name;
        unsigned bytes;
    } types[] = {{"F32", 4}, {"BF16", 2}, {"U8", 1}, {"I64", 8}, {"F8_E4M3", 1}, {"F16", 2}};
    unsigned type = (unsigned)(next() % 6);
    uint64_t count = index % 6 == 5 ? next() % 7 : 1 + next() % (left / 4 + 2);
    char shape[64];

    if (index % 11 == 3) {
        count = 1;
        (void)snprintf(shape, sizeof(shape), "%s", "");
    } else {
        (void)snprintf(shape, sizeof(shape), "%" PRIu64, count);
    }
    used += (size_t)snprintf(header + used, HEADER_MAX - used,
                             "%s\"layer.%u.weight\":{\"dtype\":\"%s\",\"shape\":[%s],"
                             "\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                             index ? "," : "", index, types[type].name, shape, *at,
                             *at + count * types[type].bytes);
    *at += count * types[type].bytes;
    return used;
}

static void put_random(int fd, uint64_t size_bytes)
{
    static uint64_t block[8192];

    while (size_bytes > 0) {
        size_t size = size_bytes < sizeof(block) ? (size_t)size_bytes : sizeof(block);

        for (size_t i = 0; i < sizeof(block) / sizeof(block[0]); i++) {
            block[i] = next();
        }
        CHECK_EQ(write(fd, block, size), (ssize_t)size);
        size_bytes -= size;
    }
}

const char *sample_write(const char *name, uint64_t size_bytes, uint64_t seed)
{
    static char path[SAMPLE_PATH_BYTES * 2];
    static char header[HEADER_MAX];
    uint64_t at = 0;
    uint64_t header_bytes;
    size_t used = 1;
    int fd;

    state = seed * 0x9e3779b97f4a7c15u + 1;
    header[0] = '{';
    for (unsigned i = 0; i < TENSORS_MAX && (at < size_bytes || i < 24); i++) {
        used = put_tensor(header, used, i, &at, at < size_bytes ? size_bytes - at : 0);
    }
    header[used++] = '}';
    while (used % 8 != 0) {
        header[used++] = ' ';
    }
    header_bytes = used;
    (void)snprintf(path, sizeof(path), "%s/%s", sample_dir(), name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, &header_bytes, sizeof(header_bytes)), sizeof(header_bytes));
    CHECK_EQ(write(fd, header, used), (ssize_t)used);
    put_random(fd, at);
    CHECK_EQ(fsync(fd), 0);
    CHECK_EQ(close(fd), 0);
    return path;
}

int sample_is_equal(const struct wload_model *model, const struct wload_tensor *tensor,
                    uint64_t tensor_offset, const void *data, uint64_t size_bytes)
{
    int fd = open(wload_model_file(model, tensor->file_index)->path, O_RDONLY | O_CLOEXEC);
    void *expected = malloc(size_bytes + 1);
    int is_equal;

    CHECK(fd >= 0 && expected != NULL);
    CHECK_EQ(pread(fd, expected, size_bytes, (off_t)(tensor->file_offset + tensor_offset)),
             (ssize_t)size_bytes);
    is_equal = size_bytes == 0 || memcmp(expected, data, size_bytes) == 0;
    free(expected);
    (void)close(fd);
    return is_equal;
}

bool sample_has_uring(void)
{
    struct io_uring_params params = {0};
    long fd = syscall(SYS_io_uring_setup, 1, &params);

    if (fd < 0) {
        printf("without io_uring: %s\n", strerror(errno));
        return false;
    }
    CHECK_EQ(close((int)fd), 0);
    return true;
}
