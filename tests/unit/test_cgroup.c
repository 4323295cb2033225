/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the memory limit of the control group is found where it is and nowhere else; ring, window
 * and connections, where nobody says how much, are what it bears, and never too little to work.
 * Method: a table of system calls that serves control groups as a case has them, in plain reads
 * and in reads that are short and interrupted; a case whose file has no text cannot be read.
 * Then jobs, and fetches of nothing, under limits.
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/cgroup.h"
#include "base/str.h"
#include "base/sys.h"
#include "cache/fetch.h"
#include "faults.h"
#include "loader/job.h"
#include "tree.h"

#define UNKNOWN    UINT64_MAX
#define MIB        (1ull << 20)
#define GIB        (1ull << 30)
#define UNREADABLE NULL
#define LIST       "/proc/self/cgroup"
#define V2         "/sys/fs/cgroup"
#define BESIDE     "/sys/fs/cgroup/unified"
#define V1         "/sys/fs/cgroup/memory"

struct file {
    const char *path;
    const char *text;
};

static const struct row {
    const char *name;
    struct file files[10];
    struct wl_cgroup_memory expected;
} rows[] = {
    {"the tighter one is above",
     {{LIST, "0::/pod/box\n"},
      {V2 "/pod/box/memory.max", "1073741824\n"},
      {V2 "/pod/box/memory.current", "0\n"},
      {V2 "/pod/memory.max", "536870912\n"},
      {V2 "/pod/memory.current", "4096\n"},
      {V2 "/memory.max", "max\n"},
      {V2 "/other/memory.max", "1\n"},
      {V2 "/pod/box/below/memory.max", "1\n"}},
     {512 * MIB, 512 * MIB - 4096, 512 * MIB}},
    {"the tighter one is below",
     {{LIST, "0::/pod/box\n"},
      {V2 "/pod/box/memory.max", "4096\n"},
      {V2 "/pod/box/memory.current", "5000\n"},
      {V2 "/pod/memory.max", "536870912\n"},
      {V2 "/pod/memory.current", "0\n"}},
     {4096, 0, 4096}},
    {"the tighter one has more left",
     {{LIST, "0::/pod/box\n"},
      {V2 "/pod/box/memory.max", "536870912\n"},
      {V2 "/pod/box/memory.current", "0\n"},
      {V2 "/pod/memory.max", "1073741824\n"},
      {V2 "/pod/memory.current", "1073741823\n"}},
     {512 * MIB, 1, GIB}},
    {"the root of a namespace",
     {{LIST, "0::/\n"}, {V2 "/memory.max", "100\n"}, {V2 "/memory.current", "1\n"}},
     {100, 99, 100}},
    {"nothing may be used",
     {{LIST, "0::/\n"}, {V2 "/memory.max", "0\n"}, {V2 "/memory.current", "0\n"}},
     {0, 0, 0}},
    {"nobody says what is used",
     {{LIST, "0::/\n"}, {V2 "/memory.max", "100\n"}},
     {100, UNKNOWN, UNKNOWN}},
    {"no limit",
     {{LIST, "0::/pod\n"}, {V2 "/pod/memory.max", "max\n"}, {V2 "/memory.max", "max\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"a group that is no more",
     {{LIST, "0::/pod/box (deleted)\n"}, {V2 "/pod/memory.max", "100\n"}},
     {100, UNKNOWN, UNKNOWN}},
    {"a group outside of the namespace",
     {{LIST, "0::/../pod\n0::/..\n"}, {V2 "/memory.max", "100\n"}, {V2 "/pod/memory.max", "100\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"a name that begins with dots",
     {{LIST, "0::/..pod\n"}, {V2 "/..pod/memory.max", "100\n"}},
     {100, UNKNOWN, UNKNOWN}},
    {"version 1",
     {{LIST, "9:cpu:/pod\n4:memory:/pod/box\n0::/\n"},
      {V1 "/pod/box/memory.limit_in_bytes", "300\n"},
      {V1 "/pod/box/memory.usage_in_bytes", "100\n"},
      {V1 "/pod/memory.limit_in_bytes", "200\n"},
      {V1 "/pod/memory.usage_in_bytes", "120\n"},
      {V1 "/memory.limit_in_bytes", "9223372036854771712\n"},
      {V1 "/memory.usage_in_bytes", "5000\n"}},
     {200, 80, 200}},
    {"version 1, mounted with others",
     {{LIST, "4:cpuset,memory,cpu:/\n"}, {V1 "/memory.limit_in_bytes", "300\n"}},
     {300, UNKNOWN, UNKNOWN}},
    {"version 1, of which a container sees its own group alone",
     {{LIST, "4:memory:/docker/0123\n"}, {V1 "/memory.limit_in_bytes", "300\n"}},
     {300, UNKNOWN, UNKNOWN}},
    {"version 1 without a limit",
     {{LIST, "4:memory:/\n"}, {V1 "/memory.limit_in_bytes", "9223372036854771712\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"controllers of other names",
     {{LIST, "1:name=memory:/\n2:memoryx:/\n3:emory,mem,:/\n"},
      {V1 "/memory.limit_in_bytes", "300\n"},
      {V2 "/memory.max", "300\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"both versions",
     {{LIST, "4:memory:/one\n0::/other\n"},
      {V1 "/one/memory.limit_in_bytes", "300\n"},
      {BESIDE "/other/memory.max", "200\n"},
      {BESIDE "/one/memory.max", "1\n"},
      {V1 "/other/memory.limit_in_bytes", "1\n"}},
     {200, UNKNOWN, UNKNOWN}},
    {"lines that are none",
     {{LIST, "\n:\n::\n:::\nabc\n0:\n0::\n0::pod\n0:/pod\nmemory:/\n0::/box\n"},
      {V2 "/memory.max", "max\n"},
      {V2 "/pod/memory.max", "1\n"},
      {V2 "/box/memory.max", "300\n"},
      {V1 "/memory.limit_in_bytes", "1\n"}},
     {300, UNKNOWN, UNKNOWN}},
    {"a line without its end",
     {{LIST, "0::/"}, {V2 "/memory.max", "1\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"no list", {{V2 "/memory.max", "1\n"}}, {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"an empty list", {{LIST, ""}, {V2 "/memory.max", "1\n"}}, {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"a list that cannot be read",
     {{LIST, UNREADABLE}, {V2 "/memory.max", "1\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
    {"a limit that cannot be read",
     {{LIST, "0::/pod\n"}, {V2 "/pod/memory.max", UNREADABLE}, {V2 "/memory.max", "300\n"}},
     {300, UNKNOWN, UNKNOWN}},
    {"what is used cannot be read",
     {{LIST, "0::/\n"}, {V2 "/memory.max", "300\n"}, {V2 "/memory.current", UNREADABLE}},
     {300, UNKNOWN, UNKNOWN}},
    {"what is used is no number",
     {{LIST, "0::/\n"}, {V2 "/memory.max", "300\n"}, {V2 "/memory.current", "some\n"}},
     {300, UNKNOWN, UNKNOWN}},
    {"limits that are no numbers",
     {{LIST, "0::/1/2/3/4/5/6/7\n"},
      {V2 "/memory.max", ""},
      {V2 "/1/memory.max", "\n"},
      {V2 "/1/2/memory.max", "-18446744073709551615\n"},
      {V2 "/1/2/3/memory.max", "12x\n"},
      {V2 "/1/2/3/4/memory.max", " 12\n"},
      {V2 "/1/2/3/4/5/memory.max", "12"},
      {V2 "/1/2/3/4/5/6/memory.max", "99999999999999999999999\n"},
      {V2 "/1/2/3/4/5/6/7/memory.max", "0000000000000000000000000000000000000012\n"}},
     {UNKNOWN, UNKNOWN, UNKNOWN}},
};

/* ---- The table ------------------------------------------------------------------------ */

static const struct file *files; /* of the case at hand */
static size_t file_count;
static unsigned opened; /* files of control groups, or tries */
static uint64_t mapped_bytes;
static unsigned reads;

static bool is_ours(const char *path)
{
    return strncmp(path, V2, strlen(V2)) == 0 || strcmp(path, LIST) == 0;
}

static int serve(const char *text)
{
    int fd = text ? memfd_create("test_cgroup", MFD_CLOEXEC)
                  : open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(!text || write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static int fake_openat(int dir, const char *path, int flags, unsigned mode)
{
    if (!is_ours(path)) {
        return wl_sys_real.openat(dir, path, flags, mode);
    }
    CHECK((flags & (O_ACCMODE | O_CREAT | O_CLOEXEC)) == O_CLOEXEC);
    CHECK(!strstr(path, "/../"));
    CHECK(strcmp(path, LIST) == 0 || wl_str_ends(path, "/memory.max") ||
          wl_str_ends(path, "/memory.current") || wl_str_ends(path, "_in_bytes"));
    opened++;
    for (size_t i = 0; i < file_count; i++) {
        if (files[i].path && strcmp(path, files[i].path) == 0) {
            return serve(files[i].text);
        }
    }
    errno = ENOENT;
    return -1;
}

static ssize_t shy_pread(int fd, void *buffer, size_t size, off_t offset)
{
    if (++reads % 2 != 0) {
        errno = EINTR;
        return -1;
    }
    return wl_sys_real.pread(fd, buffer, wl_min(size, 3), offset);
}

static void *no_alloc(size_t size)
{
    (void)size;
    return NULL;
}

static void *watched_mmap(void *address, size_t size, int protection, int flags, int fd,
                          off_t offset)
{
    mapped_bytes += size;
    return wl_sys_real.mmap(address, size, protection, flags, fd, offset);
}

/* ---- What is found ---------------------------------------------------------------------- */

static void check_found(const char *name, const struct wl_cgroup_memory *expected)
{
    unsigned descriptors = faults_open_descriptors();
    struct wl_cgroup_memory memory = wl_cgroup_memory();

    if (memcmp(&memory, expected, sizeof(memory)) != 0) {
        (void)fprintf(stderr, "%s: %" PRIu64 ", %" PRIu64 " of %" PRIu64 "\n", name,
                      memory.limit_bytes, memory.free_bytes, memory.free_of_bytes);
        exit(1);
    }
    CHECK_EQ(faults_open_descriptors(), descriptors);
}

static void check_rows(void)
{
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        files = rows[i].files;
        file_count = WL_COUNT_OF(rows[i].files);
        check_found(rows[i].name, &rows[i].expected);
    }
}

/* Lists as no kernel writes them: `before`, that many of `filler`, and `after`. */
static void check_long(const char *before, char filler, size_t count, const char *after,
                       uint64_t limit_bytes)
{
    char *list = calloc(1, strlen(before) + count + strlen(after) + 1);
    const struct file own[] = {{LIST, list}, {V2 "/memory.max", "300\n"}};
    const struct wl_cgroup_memory expected = {limit_bytes, UNKNOWN, UNKNOWN};

    CHECK(list);
    memcpy(list, before, strlen(before));
    memset(list + strlen(before), filler, count);
    memcpy(list + strlen(before) + count, after, strlen(after));
    files = own;
    file_count = WL_COUNT_OF(own);
    check_found("a long list", &expected);
    free(list);
}

static void check_long_ones(void)
{
    check_long("0::/", 'a', 4000, "\n", 300);
    check_long("0::/", 'a', 4080, "\n", 300); /* no room for the file's name behind it */
    check_long("0::/", 'a', 5000, "\n", UNKNOWN);
    check_long("0::/", 'a', 5000, "\n0::/\n", 300);
    check_long("0::", '/', 4000, "\n", 300);
    check_long("0::", '/', 60000, "\n", UNKNOWN);
    check_long("1:", 'a', 60000, ":/\n0::/\n", 300);
    check_long("", ':', 60000, "\n0::/\n", 300);
    check_long("0::/\n", 'a', 100000, "\n", 300);
    check_long("", '\n', 100000, "0::/\n", UNKNOWN); /* beyond what is read */
    check_long("0::/", 'a', 100000, "\n0::/\n", UNKNOWN);
}

/* ---- What is made of it -------------------------------------------------------------------- */

static struct file group[2] = {{LIST, "0::/\n"}, {V2 "/memory.max", NULL}};
static unsigned said;

static void take_line(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    (void)user;
    (void)component;
    if (strstr(line, "control group")) {
        CHECK_EQ(level, WLOAD_LOG_INFO);
        said++;
    }
}

static void set_limit(uint64_t bytes)
{
    static char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes);
    group[1].text = bytes == UNKNOWN ? "max\n" : text;
    files = group;
    file_count = WL_COUNT_OF(group);
    opened = said = 0;
}

static const struct ring_row {
    uint64_t limit;
    uint64_t chunk; /* as asked for; 0: not */
    uint64_t staging;
    uint64_t chunk_expected;
    uint64_t staging_expected;
    bool is_said;
} ring_rows[] = {
    {UNKNOWN, 0, 0, 8 * MIB, 256 * MIB, false},
    {GIB, 0, 0, 8 * MIB, 256 * MIB, false},
    {GIB - 1, 0, 0, 8 * MIB, 248 * MIB, true},
    {512 * MIB, 0, 0, 8 * MIB, 128 * MIB, true},
    {128 * MIB, 0, 0, 8 * MIB, 32 * MIB, true},
    {96 * MIB, 0, 0, 4 * MIB, 24 * MIB, true},
    {18 * MIB, 0, 0, MIB, 4 * MIB, true},
    {8 * MIB, 0, 0, MIB, 2 * MIB, true},
    {0, 0, 0, MIB, 2 * MIB, true},
    {96 * MIB, MIB / 4, 0, MIB / 4, 24 * MIB, true},
    {100 * MIB, 8 * MIB, 0, 8 * MIB, 24 * MIB, true},
    {96 * MIB, 64 * MIB, 0, 64 * MIB, 128 * MIB, true},
    {96 * MIB, 128 * MIB, 0, 128 * MIB, 256 * MIB, false},
    {96 * MIB, 256 * MIB, 0, 256 * MIB, 512 * MIB, false},
    {UNKNOWN, 512 * MIB, 0, 512 * MIB, GIB, false}, /* a ring is never less than two chunks */
    {UNKNOWN, GIB, 0, GIB, 2 * GIB, false},
    {UNKNOWN, 0, 32 * MIB, 8 * MIB, 32 * MIB, false}, /* a small one makes chunks smaller */
    {UNKNOWN, 0, 31 * MIB, 4 * MIB, 31 * MIB, false},
    {UNKNOWN, 0, 4 * MIB, MIB, 4 * MIB, false},
    {UNKNOWN, 0, MIB / 8, MIB / 16, MIB / 8, false},
    {UNKNOWN, 0, MIB / 16, MIB / 16, MIB / 16, false},
    {96 * MIB, 0, 256 * MIB, 8 * MIB, 256 * MIB, false}, /* who says how large means it */
    {96 * MIB, 2 * MIB, 512 * MIB, 2 * MIB, 512 * MIB, false},
};

static void check_ring(struct wload_model *model, const struct ring_row *row)
{
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .chunk_bytes = row->chunk,
                                        .staging_bytes = row->staging};
    struct wload_error err;
    struct wload_job *job;

    set_limit(row->limit);
    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    CHECK_EQ(job->options.chunk_bytes, row->chunk_expected);
    CHECK_EQ(job->options.staging_bytes, row->staging_expected);
    CHECK_EQ(said, row->is_said);
    CHECK_EQ(opened > 0, row->staging == 0);
    CHECK_OK(wload_job_run(job, -1, &err), &err);
    wload_job_free(job);
}

static int on_chunk(void *user, const struct wload_chunk *chunk)
{
    *(uint64_t *)user += chunk->size_bytes;
    wload_chunk_release(chunk);
    return 0;
}

/* The smallest ring that there is by default, all of it through that ring. */
static void check_smallest_ring(struct wload_model *model, uint32_t reader_kind)
{
    uint64_t bytes = 0;
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .reader_kind = reader_kind,
                                        .on_chunk = on_chunk,
                                        .user = &bytes};
    struct wload_stats stats = {.struct_size = sizeof(stats)};
    struct wload_error err;
    struct wload_job *job;

    set_limit(0);
    CHECK_OK(wload_job_start(model, &options, &job, &err), &err);
    CHECK_OK(wload_job_run(job, -1, &err), &err);
    wload_job_stats(job, &stats);
    CHECK_EQ(bytes, wload_model_info(model)->tensor_bytes);
    CHECK(stats.staging_bytes > 0 && stats.staging_bytes <= 2 * MIB);
    wload_job_free(job);
}

static void check_rings(void)
{
    const struct wload_context_options options = {.struct_size = sizeof(options),
                                                  .log = take_line,
                                                  .log_level = WLOAD_LOG_INFO};
    struct wload_job_options wrong = {.struct_size = sizeof(wrong)};
    struct wload_context *context;
    struct wload_model *model;
    struct wload_error err;
    struct wload_job *job;

    CHECK_OK(wload_context_new(&options, &context, &err), &err);
    CHECK_OK(wload_model_open(context, sample_write("model.safetensors", 9 * MIB, 1), NULL, &model,
                              &err),
             &err);
    for (size_t i = 0; i < WL_COUNT_OF(ring_rows); i++) {
        check_ring(model, &ring_rows[i]);
    }
    check_smallest_ring(model, WLOAD_READER_AUTO);
    check_smallest_ring(model, WLOAD_READER_PREAD);
    for (unsigned shift = 31; shift < 64; shift++) { /* too large; so is twice as much */
        set_limit(96 * MIB);
        wrong.chunk_bytes = 1ull << shift;
        CHECK_EQ(wload_job_start(model, &wrong, &job, &err), WLOAD_ERR_INVALID);
        CHECK(strstr(err.message, "chunk_bytes"));
    }
    wload_model_free(model);
    wload_context_free(context);
}

/* ---- A fetch of nothing: its window is there all the same ---- */

static int begin(struct wl_store *store, const struct wl_listing *listing, struct wload_error *err)
{
    (void)store;
    (void)listing;
    (void)err;
    return WLOAD_OK;
}

static int finish(struct wl_store *store, const char *revision, struct wload_error *err)
{
    (void)store;
    (void)revision;
    (void)err;
    return WLOAD_OK;
}

static void check_window(uint64_t limit, uint32_t connections, uint64_t blocks, bool is_said)
{
    static const struct wl_store_ops ops = {.name = "none", .begin = begin, .finish = finish};
    static char name[] = "org/model", folder[] = "/";
    struct wload_fetch_options options = {.struct_size = sizeof(options),
                                          .connection_count = connections};
    struct wl_snapshot snapshot = {
        .shown = {.origin = ""},
        .log = {.line = take_line, .level = WLOAD_LOG_INFO},
        .spec = {.path = name},
        .store = {.ops = &ops, .repo_path = folder},
    };
    struct wload_error err;

    set_limit(limit);
    mapped_bytes = 0;
    CHECK_OK(wl_snapshot_fetch(&snapshot, &options, WL_FETCH_ALL, &err), &err);
    CHECK_EQ(mapped_bytes, blocks * WL_WINDOW_BLOCK_BYTES);
    CHECK_EQ(said, is_said);
}

static void check_windows(void)
{
    uint64_t provers = wl_min(wl_sys_cpu_count(), 8);

    check_window(UNKNOWN, 0, 512, false);
    check_window(GIB, 0, 512, false);
    check_window(GIB - 1, 0, 511, true);
    check_window(512 * MIB, 4, 256, true);
    check_window(256 * MIB, 0, 128, true);
    check_window(0, 0, 1 + 2 * provers, true);
    check_window(0, 16, 24 + 2 * provers, true);
    check_window(0, 256, 384 + 2 * provers, true);
}

static void check_connections(uint64_t limit, uint32_t asked_for, uint32_t expected)
{
    const struct wl_log log = {0};
    const struct wl_config config = {0};
    struct wl_transfer transfer;
    struct wload_error err;

    set_limit(limit);
    CHECK_OK(wl_transfer_init(&transfer, &config, &log, asked_for, &err), &err);
    CHECK_EQ(transfer.connection_count, expected);
    wl_transfer_clear(&transfer);
}

static void check_all_connections(void)
{
    check_connections(UNKNOWN, 0, 16);
    check_connections(256 * MIB, 0, 16);
    check_connections(256 * MIB - 1, 0, 15);
    check_connections(96 * MIB, 0, 6);
    check_connections(96 * MIB, 16, 16);
    check_connections(0, 0, 1);
    check_connections(0, 256, 256);
}

int main(void)
{
    struct wl_sys table = wl_sys_real;
    const struct wl_cgroup_memory nothing = {UNKNOWN, UNKNOWN, UNKNOWN};

    table.openat = fake_openat;
    wl_sys = &table;
    check_rows();
    check_long_ones();
    table.pread = shy_pread;
    check_rows();
    table.pread = wl_sys_real.pread;
    set_limit(300);
    table.alloc = no_alloc;
    check_found("no memory", &nothing);
    table.alloc = wl_sys_real.alloc;
    check_rings();
    check_all_connections();
    table.mmap = watched_mmap;
    check_windows();
    wl_sys = &wl_sys_real;
    (void)wl_cgroup_memory(); /* whatever there is here */
    return 0;
}
