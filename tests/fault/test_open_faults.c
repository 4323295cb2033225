/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: opening a model survives the failure of any one system call or allocation, cJSON's
 * included; short reads and interruptions change nothing.
 * Method: fail the first call, the second, ... until a run makes fewer.  After each: an error with
 * a message, unless the call was one that may fail (a close, a thread more); no memory, no
 * descriptor left.  Once with the header threads, once on one thread alone.
 */
#include "faults.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/sys.h"
#include "tree.h"
#include "wload.h"

static atomic_uint calls;
static atomic_uint noise;
static atomic_int live_blocks;
static unsigned fail_at; /* 0: never */
static bool is_alone;    /* no thread can be had */
static bool is_slow;     /* reads are short, and every other call is interrupted */
static atomic_bool was_harmless;

static bool is_hit(void)
{
    return atomic_fetch_add(&calls, 1) + 1 == fail_at;
}

static bool is_interrupted(void)
{
    if (is_slow && atomic_fetch_add(&noise, 1) % 2 == 0) {
        errno = EINTR;
        return true;
    }
    return false;
}

#define FAIL(code, failure) \
    do {                    \
        if (is_hit()) {     \
            errno = (code); \
            return failure; \
        }                   \
    } while (0)

static void *faulty_alloc(size_t size)
{
    void *memory;

    FAIL(ENOMEM, NULL);
    memory = wl_sys_real.alloc(size);
    atomic_fetch_add(&live_blocks, memory != NULL);
    return memory;
}

static void faulty_free(void *memory)
{
    atomic_fetch_sub(&live_blocks, memory != NULL);
    wl_sys_real.free(memory);
}

static int faulty_openat(int dir, const char *path, int flags, unsigned mode)
{
    FAIL(EMFILE, -1);
    return is_interrupted() ? -1 : wl_sys_real.openat(dir, path, flags, mode);
}

static int faulty_close(int fd)
{
    if (is_hit()) {
        atomic_store(&was_harmless, true);
    }
    return wl_sys_real.close(fd);
}

static int faulty_set_flags(int fd, int flags)
{
    FAIL(EIO, -1);
    return wl_sys_real.set_flags(fd, flags);
}

static int faulty_fstat(int fd, struct stat *out)
{
    FAIL(EIO, -1);
    return wl_sys_real.fstat(fd, out);
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset)
{
    FAIL(EIO, -1);
    return is_interrupted() ? -1
                            : wl_sys_real.pread(fd, buffer, is_slow && size > 3 ? 3 : size, offset);
}

static DIR *faulty_fdopendir(int fd)
{
    FAIL(ENOMEM, NULL);
    return wl_sys_real.fdopendir(fd);
}

static struct dirent *faulty_readdir(DIR *dir)
{
    FAIL(EIO, NULL);
    return wl_sys_real.readdir(dir);
}

static int faulty_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    if (is_alone) {
        return EAGAIN;
    }
    if (is_hit()) {
        atomic_store(&was_harmless, true);
        return EAGAIN;
    }
    return wl_sys_real.thread_start(thread, run, argument);
}

static void begin(unsigned fail, bool alone, bool slow)
{
    static struct wl_sys table;
    static cJSON_Hooks hooks = {.malloc_fn = faulty_alloc, .free_fn = faulty_free};

    table = wl_sys_real;
    table.alloc = faulty_alloc;
    table.free = faulty_free;
    table.openat = faulty_openat;
    table.close = faulty_close;
    table.set_flags = faulty_set_flags;
    table.fstat = faulty_fstat;
    table.pread = faulty_pread;
    table.fdopendir = faulty_fdopendir;
    table.readdir = faulty_readdir;
    table.thread_start = faulty_thread_start;
    fail_at = fail;
    is_alone = alone;
    is_slow = slow;
    atomic_store(&calls, 0);
    atomic_store(&live_blocks, 0);
    atomic_store(&was_harmless, false);
    wl_sys = &table;
    cJSON_InitHooks(&hooks);
}

static void end(void)
{
    wl_sys = &wl_sys_real;
    cJSON_InitHooks(NULL);
}

static void expect_whole(struct wload_model *model, uint32_t tensor_count)
{
    CHECK_EQ(wload_model_info(model)->tensor_count, tensor_count);
    wload_model_free(model);
}

/* Returns how many calls a good run makes. */
static unsigned fail_each(const char *spec, const char *variant, uint32_t tensor_count, bool alone)
{
    struct wload_model_options options = {.struct_size = sizeof(options), .variant = variant};
    unsigned descriptors = faults_open_descriptors();

    for (unsigned at = 1;; at++) {
        struct wload_error err = {0};
        struct wload_model *model = NULL;
        bool was_reached;
        int rc;

        begin(at, alone, false);
        rc = wload_model_open(NULL, spec, &options, &model, &err);
        was_reached = atomic_load(&calls) >= at;
        CHECK_EQ(err.code, rc);
        if (rc == WLOAD_OK) {
            expect_whole(model, tensor_count);
            CHECK(!was_reached || atomic_load(&was_harmless));
        } else {
            CHECK(was_reached && !atomic_load(&was_harmless));
            CHECK(err.message[0] != '\0');
            CHECK(model == NULL);
        }
        end();
        CHECK_EQ(atomic_load(&live_blocks), 0);
        CHECK_EQ(faults_open_descriptors(), descriptors);
        if (!was_reached) {
            return at - 1;
        }
    }
}

static void check(const char *spec, const char *variant, uint32_t tensor_count)
{
    struct wload_model_options options = {.struct_size = sizeof(options), .variant = variant};
    struct wload_error err = {0};
    struct wload_model *model;
    unsigned alone = fail_each(spec, variant, tensor_count, true);
    unsigned together = fail_each(spec, variant, tensor_count, false);

    CHECK(alone > 30 && together >= alone);
    printf("%s: survived %u faults\n", strrchr(spec, '/') + 1, alone + together);

    begin(0, false, true);
    CHECK_OK(wload_model_open(NULL, spec, &options, &model, &err), &err);
    expect_whole(model, tensor_count);
    end();
}

int main(void)
{
    tree_write_weights("sharded/a.safetensors",
                       "{\"__metadata__\":{\"format\":\"pt\"},\"\\u00e9\":{\"dtype\":\"U8\","
                       "\"shape\":[2,2,1,1,1],\"data_offsets\":[0,4]}}",
                       4);
    tree_write_tensors("sharded/b.safetensors", "b extra c d e f g h i j k l");
    tree_write_tensors("sharded/c.safetensors", "m");
    tree_write_text("sharded/model.safetensors.index.json",
                    "{\"metadata\":{\"total_size\":9},\"weight_map\":{\"b\":\"b.safetensors\","
                    "\"\\u00e9\":\"\\u0061.safetensors\",\"c\":\"b.safetensors\","
                    "\"m\":\"c.safetensors\",\"d\":\"b.safetensors\"}}");
    check(tree_path("sharded"), NULL, 5);

    tree_write_text("pipe/model_index.json", "{\"_class_name\":\"P\",\"vae\":[\"d\",\"V\"],"
                                             "\"unet\":[\"d\",\"U\"],\"tokenizer\":[\"t\",\"T\"],"
                                             "\"gone\":[\"t\",\"G\"],\"a\":1,\"b\":2,\"c\":3,"
                                             "\"d\":4,\"e\":5}");
    tree_write_text("pipe/tokenizer/vocab.json", "{}");
    tree_write_tensors("pipe/vae/diffusion_pytorch_model.safetensors", "v");
    tree_write_tensors("pipe/vae/diffusion_pytorch_model.fp16.safetensors", "v w");
    tree_write_tensors("pipe/unet/s.safetensors", "x y");
    tree_write_text("pipe/unet/diffusion_pytorch_model.safetensors.index.json",
                    "{\"weight_map\":{\"x\":\"s.safetensors\",\"y\":\"s.safetensors\"}}");
    check(tree_path("pipe"), "fp16", 4);
    return 0;
}
