/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wload - bring model weights from disk or a hub into host or GPU memory.
 *
 *   wload_model_open()   spec string -> files found, tensors indexed, no weights read
 *   wload_job_start()    tensors chosen, reads planned, device opened
 *   wload_job_run()      on_landed() is called once per tensor, as it lands
 *
 * The whole of a simple load; after it the weights stay in `arena`:
 *
 *   struct wload_job_options options = {.struct_size = sizeof(options), .arena = arena,
 *                                       .on_landed = remember_address};
 *   rc = wload_model_open(NULL, "./model", NULL, &model, &err);
 *   rc = wload_job_start(model, &options, &job, &err);
 *   rc = wload_job_run(job, -1, &err);
 *   wload_job_free(job);
 *
 * Rules that hold for every function in this file:
 *
 * Results    0 is success and a negative value is an enum wload_status.  A
 *            positive value means only what the function's comment says.
 *            Outputs are written on success only.
 * Errors     The last argument of a function that can fail in more than one way
 *            is `struct wload_error *err`.  It may be NULL.  On failure its code
 *            equals the value returned; otherwise it is left as it was.
 * Options    Structs that begin with `struct_size` are filled by the caller:
 *            set struct_size to sizeof, leave the rest zero for the default
 *            written beside each field.  A NULL options pointer is all defaults.
 * Ownership  new/open/start hand the caller one reference; the matching free
 *            ends it.  A child keeps its parent alive, so handles may be freed
 *            in any order.
 * NULL       A handle that is NULL is refused with WLOAD_ERR_INVALID; getters
 *            answer NULL or nothing; free, cancel and release do nothing.
 * Borrowing  A const pointer from a getter belongs to the handle it came from
 *            and lives as long as that handle.
 * Threads    A context and an opened model are immutable: share them freely.  A
 *            job belongs to the thread that started it; wload_job_cancel() and
 *            wload_chunk_release() may be called by any thread, wload_job_free()
 *            by any when no other uses the job.  Any number of jobs may run at
 *            once, each on a thread of its own.
 * Callbacks  Run on the thread that calls the function they serve, never on a
 *            hidden one; wload_log_fn alone is called by any thread.
 *            They may call getters, wload_job_cancel(), wload_chunk_release()
 *            and wload_arena_read(), nothing else of this library.
 * Signals    No handler is set and no mask is changed.  Threads of the library begin
 *            with the mask of the caller.  A connection that breaks raises no SIGPIPE.
 * Units      Bytes are uint64_t and end in _bytes or _offset.  Times are int64_t
 *            and end in _ms or _ns.
 * Strings    UTF-8.  Names from files may hold any character but NUL: escape
 *            them before they reach a terminal.
 */
#ifndef WLOAD_H
#define WLOAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WLOAD_API       __attribute__((visibility("default")))
#define WLOAD_NODISCARD __attribute__((warn_unused_result))

/* ---- Version ----------------------------------------------------------- */

/* The build reads these three lines; they are written nowhere else. */
#define WLOAD_VERSION_MAJOR 0
#define WLOAD_VERSION_MINOR 1
#define WLOAD_VERSION_PATCH 0

#define WLOAD_VERSION_NUMBER \
    (WLOAD_VERSION_MAJOR * 10000 + WLOAD_VERSION_MINOR * 100 + WLOAD_VERSION_PATCH)

/* The version of the library at run time, in the form of WLOAD_VERSION_NUMBER. */
WLOAD_API uint32_t wload_version(void);

/* ---- Status ------------------------------------------------------------ */

/*
 * Grouped by who can act on it: -1.. the caller, -20.. this machine, -40.. the
 * network, -60.. the files, -80.. the device.  A number, once released, is never
 * reused; treat an unknown one as WLOAD_ERR_INTERNAL.
 */
#define WLOAD_STATUS_MAP(X)                                           \
    X(OK, 0, "success")                                               \
    X(PENDING, 1, "not finished yet")                                 \
    X(ERR_INVALID, -1, "invalid argument")                            \
    X(ERR_SPEC, -2, "spec string not understood")                     \
    X(ERR_NOT_FOUND, -3, "no such model, file or tensor")             \
    X(ERR_CANCELED, -4, "canceled")                                   \
    X(ERR_CALLBACK, -5, "a callback stopped the load")                \
    X(ERR_NOMEM, -20, "out of memory")                                \
    X(ERR_IO, -21, "input/output error")                              \
    X(ERR_NOSPACE, -22, "no space left in the cache")                 \
    X(ERR_LOCKED, -23, "another process holds the lock")              \
    X(ERR_NETWORK, -40, "network failure")                            \
    X(ERR_HTTP, -41, "the server refused the request")                \
    X(ERR_AUTH, -42, "credentials missing or rejected")               \
    X(ERR_TIMEOUT, -43, "timed out")                                  \
    X(ERR_FORMAT, -60, "malformed weights file")                      \
    X(ERR_CHECKSUM, -61, "content does not match its hash")           \
    X(ERR_UNSUPPORTED, -80, "not supported by this build or machine") \
    X(ERR_DEVICE, -81, "device error")                                \
    X(ERR_INTERNAL, -99, "internal error")

enum wload_status {
#define WLOAD_STATUS_ENUM(name, value, text) WLOAD_##name = (value),
    WLOAD_STATUS_MAP(WLOAD_STATUS_ENUM)
#undef WLOAD_STATUS_ENUM
};

/* A constant, one-line, lower-case English phrase.  Never NULL.  Any int is accepted. */
WLOAD_API const char *wload_strerror(int status);

/*
 * What a failed wload_job_run() left in the tensors' memory: nothing at all, or
 * bytes in any of it.  An engine may hand untouched memory to another loader.
 */
enum wload_memory_state {
    WLOAD_MEMORY_UNTOUCHED,
    WLOAD_MEMORY_PARTLY_WRITTEN
};

/* What went wrong, filled by the first function that found it. */
struct wload_error {
    int code;              /* enum wload_status */
    int sys_errno;         /* errno, or 0 */
    int http_status;       /* for example 404, or 0 */
    int device_code;       /* CUresult or hipError_t, or 0 */
    uint64_t file_offset;  /* where in the file, if the message names one */
    uint32_t memory_state; /* enum wload_memory_state; of wload_job_run() only */
    char message[484];     /* one line, no newline; names the file, URL or tensor */
};

/* ---- Context: configuration shared by models --------------------------- */

struct wload_context;

enum wload_log_level {
    WLOAD_LOG_ERROR = 1,
    WLOAD_LOG_WARN,
    WLOAD_LOG_INFO, /* what was decided, and why */
    WLOAD_LOG_DEBUG /* each step */
};

/* `line` has no newline and dies when the call returns.  Called from any thread. */
typedef void (*wload_log_fn)(void *user, enum wload_log_level level, const char *component,
                             const char *line);

struct wload_context_options {
    size_t struct_size;
    wload_log_fn log; /* NULL: no logging */
    void *log_user;
    uint32_t log_level;         /* enum wload_log_level; 0: WLOAD_LOG_WARN */
    uint32_t trace_event_count; /* newest events kept for wload_context_trace(); 0: no trace */
    const char *log_components; /* of spec, cache, http, index, plan, reader, staging, device, job:
                                 * comma-separated; these are logged at every level.  NULL: none.
                                 * A word that is none of them is logged as an error */
};

WLOAD_API WLOAD_NODISCARD int wload_context_new(const struct wload_context_options *options,
                                                struct wload_context **out,
                                                struct wload_error *err);
WLOAD_API void wload_context_free(struct wload_context *context);

/*
 * Write the events of all jobs so far to `path` as Chrome-trace JSON (one event
 * per read and per copy of a chunk), for chrome://tracing or ui.perfetto.dev.
 * Call it while no job runs.
 */
WLOAD_API WLOAD_NODISCARD int wload_context_trace(struct wload_context *context, const char *path,
                                                  struct wload_error *err);

/* ---- Snapshot: a repository's files, in a cache and on a hub ---------------- */

/*
 * A model may be named instead of located: "org/name", or
 * "hf://[models/|datasets/]org/name[@revision][/subfolder]".  It is looked for
 *
 *   1. as a path, unless it begins with "hf://"
 *   2. in plain directories: $WLOAD_CACHE/org/name, $AIM_CACHE_PATH/org/name
 *   3. in the Hugging Face cache: $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub
 *   4. on the hub: $HF_ENDPOINT, by default https://huggingface.co
 *
 * and the first place that has all that is wanted is taken.  A directory cannot
 * tell what else there should be: for a load it has all if it has weights and what
 * its own indexes and model_index.json name.  The environment variables of the
 * Hugging Face tools mean here what they mean there.
 */

enum wload_scope {
    WLOAD_SCOPE_ALL,  /* every file; with a variant, no weights of another one */
    WLOAD_SCOPE_LOAD, /* what a load takes: safetensors weights, and the small files beside them */
    WLOAD_SCOPE_WEIGHTS /* of these, the weights and their indexes alone */
};

enum wload_network {
    WLOAD_NETWORK_AUTO, /* the hub is asked for what this machine does not have */
    WLOAD_NETWORK_OFF,  /* no socket is opened; so it is with HF_HUB_OFFLINE=1, too */
    WLOAD_NETWORK_FIRST /* the hub is asked first what the revision is now */
};

/*
 * Of a path, the subfolder counts; a revision and patterns are WLOAD_ERR_INVALID.
 * cache_dir and local_dir may begin with "~", and one that is relative is so to the
 * directory that the process is in when this is taken; "" is WLOAD_ERR_INVALID.
 */
struct wload_snapshot_options {
    size_t struct_size;
    const char *revision;       /* branch, tag or commit; NULL: the spec's, or "main" */
    const char *subfolder;      /* only what is below it; NULL: the spec's, or all */
    const char *variant;        /* for example "fp16"; NULL: the plain files */
    const char *const *include; /* patterns, '*' matches '/' too: only these; instead of scope */
    size_t include_count;
    const char *const *exclude; /* patterns: not these; instead of scope.  Of what patterns keep,
                                 * a variant leaves out the weights of others */
    size_t exclude_count;
    const char *cache_dir; /* a Hugging Face cache; NULL: the environment's */
    const char *local_dir; /* instead, without cache_dir: a plain directory to fill; NULL: none */
    const char *token;     /* NULL: the environment's or the one logged in; "": none */
    uint32_t scope;        /* enum wload_scope */
    uint32_t network;      /* enum wload_network */
};

/* Made by the library only, so fields may be appended without breaking callers. */
struct wload_snapshot_file {
    const char *name;   /* in the repository, for example "unet/config.json" */
    const char *path;   /* on this machine; there if is_present */
    const char *digest; /* hex: SHA-256, or 40 digits: SHA-1 of its git blob; "": not known */
    const char *url;    /* where it is downloaded from, without credentials; "": nowhere */
    uint64_t size_bytes;
    uint64_t present_bytes; /* on this machine, also of a download that was broken off; all of them
                             * where another commit has the content, or one of these files brings
                             * it: not to be downloaded */
    uint32_t is_present;    /* not 0: the whole file is at `path` */
};

/* A place that was looked at, and what was found: "no such directory". */
struct wload_place {
    const char *path;
    const char *finding;
};

/* Made by the library only.  Strings are "" where nothing is known. */
struct wload_snapshot {
    const char *repo;     /* "org/name"; "": a path was given */
    const char *kind;     /* "model" or "dataset" */
    const char *revision; /* as asked for */
    const char *commit;   /* 40 hex digits */
    const char *path;     /* the directory, or the file, that a load opens: subfolder included */
    const char *origin; /* where: "path", "directory", "cache" or "hub"; "": nowhere, network off */
    const char *note;   /* why what is told may be out of date: the hub could not be asked */
    const struct wload_snapshot_file *files; /* wanted ones, by name; none if a path was given */
    const struct wload_place *places;        /* in the order of looking */
    uint32_t file_count;
    uint32_t place_count;
    uint32_t missing_count; /* files that are not whole */
    uint64_t total_bytes;
    uint64_t missing_bytes; /* still to be downloaded */
    /* Of files, by wload_snapshot_fetch(), what was thrown away included. */
    uint64_t received_bytes;
    const char *refusal;       /* why the last place that has something of it was passed over */
    uint32_t is_refusal_final; /* not 0: by the list of the commit's files: no download helps */
};

/*
 * Find a snapshot.  Success does not mean that its files are here: see origin and
 * missing_count.  Only with the network on is it an error that a model is nowhere:
 * WLOAD_ERR_NOT_FOUND, WLOAD_ERR_AUTH (the hub wants credentials, or others), or
 * why the hub could not be asked.  `context` may be NULL.
 */
WLOAD_API WLOAD_NODISCARD int wload_snapshot_open(struct wload_context *context, const char *spec,
                                                  const struct wload_snapshot_options *options,
                                                  struct wload_snapshot **out,
                                                  struct wload_error *err);
WLOAD_API void wload_snapshot_free(struct wload_snapshot *snapshot);

struct wload_fetch_progress {
    uint64_t total_bytes;    /* of all wanted files */
    uint64_t present_bytes;  /* of these, on this machine */
    uint64_t received_bytes; /* since the fetch began */
    int64_t elapsed_ns;
    uint32_t file_count;
    uint32_t done_count;
    const char *waiting_for; /* a file that another process downloads, or NULL */
};

struct wload_fetch_options {
    size_t struct_size;
    /* Pieces of files asked for at once, each over a connection, at most 256; while one ends the
     * next may be asked for, over half as many more.  0: 16, or one for each 16 MiB of the control
     * group's memory limit if these are fewer. */
    uint32_t connection_count;
    uint32_t is_forced; /* not 0: download also what is there; with the network off an error */
    uint32_t is_unkept; /* not 0, of a load: weights go to their place alone, no file is left */
    uint32_t io_policy; /* enum wload_io_policy, of what is written; AUTO: O_DIRECT if possible */
    /* Called on the caller's thread, at most ten times a second, and once at the end.  Not 0
     * stops with WLOAD_ERR_CALLBACK.  Of a load, while wload_model_open() downloads small files,
     * and while it waits for headers. */
    int (*on_progress)(void *user, const struct wload_fetch_progress *progress);
    void *user;
};

/*
 * Download what is missing, several files side by side and large ones in several
 * ranges; `snapshot` then tells what is there now.  A file appears under its name
 * when it is whole and its hash is right, never before.  What a broken-off
 * download left, of this or another process, is used, if the file system has
 * locks for all machines that share it; what another process is downloading is
 * waited for.  WLOAD_ERR_NOSPACE: found before the first byte where
 * that can be; WLOAD_ERR_CHECKSUM: the server's content was wrong twice.
 */
WLOAD_API WLOAD_NODISCARD int wload_snapshot_fetch(struct wload_snapshot *snapshot,
                                                   const struct wload_fetch_options *options,
                                                   struct wload_error *err);

struct wload_verify_options {
    size_t struct_size;
    uint32_t quarantines; /* not 0: move bad files aside, so that the next fetch brings them */
    uint32_t reserved;
    /*
     * One file is done, in any order.  WLOAD_OK; WLOAD_ERR_CHECKSUM; WLOAD_ERR_NOT_FOUND: it is
     * not there; WLOAD_ERR_UNSUPPORTED: nothing says which hash it must have; or an error in
     * reading it.  `detail` says more.  Not 0 stops with WLOAD_ERR_CALLBACK.
     */
    int (*on_file)(void *user, const struct wload_snapshot_file *file, int status,
                   const char *detail);
    void *user;
};

/*
 * Hash every wanted file that is there, several at once, and compare.  Returns
 * the first bad one's status; files not there and hashes not known are no failure.
 * WLOAD_ERR_NOT_FOUND: the model is nowhere; WLOAD_ERR_UNSUPPORTED: it is a path.
 */
WLOAD_API WLOAD_NODISCARD int wload_snapshot_verify(struct wload_snapshot *snapshot,
                                                    const struct wload_verify_options *options,
                                                    struct wload_error *err);

/* ---- Model: files found, tensors indexed, no weights read ---------------- */

struct wload_model;

/* Bits per element, smallest to largest; F4 and F6 tensors are packed, whole bytes in all. */
#define WLOAD_DTYPE_MAP(X) \
    X(F4, 1, 4)            \
    X(F6_E2M3, 2, 6)       \
    X(F6_E3M2, 3, 6)       \
    X(BOOL, 4, 8)          \
    X(U8, 5, 8)            \
    X(I8, 6, 8)            \
    X(F8_E5M2, 7, 8)       \
    X(F8_E4M3, 8, 8)       \
    X(F8_E8M0, 9, 8)       \
    X(F8_E4M3FNUZ, 10, 8)  \
    X(F8_E5M2FNUZ, 11, 8)  \
    X(I16, 12, 16)         \
    X(U16, 13, 16)         \
    X(F16, 14, 16)         \
    X(BF16, 15, 16)        \
    X(I32, 16, 32)         \
    X(U32, 17, 32)         \
    X(F32, 18, 32)         \
    X(C64, 19, 64)         \
    X(F64, 20, 64)         \
    X(I64, 21, 64)         \
    X(U64, 22, 64)

enum wload_dtype {
#define WLOAD_DTYPE_ENUM(name, value, bits) WLOAD_##name = (value),
    WLOAD_DTYPE_MAP(WLOAD_DTYPE_ENUM)
#undef WLOAD_DTYPE_ENUM
};

/* Made by the library only, so fields may be appended without breaking callers. */
struct wload_tensor {
    const char *name;       /* in a pipeline "component/name" */
    const char *dtype_name; /* as the file spells it, for example "BF16" */
    const uint64_t *shape;  /* `rank` dimensions in elements, slowest first */
    uint64_t size_bytes;
    uint64_t file_offset; /* from the start of the file */
    uint32_t file_index;
    uint32_t rank;         /* 0: a scalar */
    uint32_t dtype;        /* enum wload_dtype */
    uint32_t element_bits; /* 4, 6, 8, 16, 32 or 64 */
    uint32_t tensor_index; /* this tensor's number in the model */
};

struct wload_file {
    const char *path; /* as opened: the spec's own directory, then the file's name */
    uint64_t size_bytes;
    uint32_t tensor_count; /* of the model's tensors, those that this file holds */
};

struct wload_model_info {
    uint64_t tensor_bytes; /* of all tensors */
    uint32_t tensor_count;
    uint32_t file_count;
    const char *note; /* which components of a pipeline have weights in no format that is loaded,
                       * and so no tensors here; empty: none */
};

struct wload_model_options {
    size_t struct_size;
    const char *variant; /* for example "fp16": the files of that variant; NULL: the plain ones */
    /* Which part, and of a model that is named where to look and how to download what is missing.
     * The scope is what a load takes, the variant that above.  NULL: all defaults. */
    const struct wload_snapshot_options *snapshot;
    const struct wload_fetch_options *fetch;
};

/*
 * Find the files that `spec` means and index their tensors.  Reads headers only:
 * of a model that is named and not on this machine, from the hub.  The small files
 * beside its weights are downloaded here, the weights by the job that loads them.
 *
 *   weights.safetensors         one file
 *   DIR                         model.safetensors, or the shards that the one
 *                               *.safetensors.index.json there names, or every
 *                               *.safetensors file there
 *   DIR with model_index.json   a pipeline: each component's weights
 *   index.json                  the shards that this index names
 *   file://PATH                 any of these by absolute path
 *   org/name, hf://org/name     a snapshot, as above
 *
 * `context` may be NULL: no logging, no trace.  Malformed files are refused with
 * WLOAD_ERR_FORMAT and the rule that they break.
 */
WLOAD_API WLOAD_NODISCARD int wload_model_open(struct wload_context *context, const char *spec,
                                               const struct wload_model_options *options,
                                               struct wload_model **out, struct wload_error *err);
WLOAD_API void wload_model_free(struct wload_model *model);

WLOAD_API const struct wload_model_info *wload_model_info(const struct wload_model *model);

/* Tensors are ordered by file, then by offset.  NULL when out of range. */
WLOAD_API const struct wload_tensor *wload_model_tensor(const struct wload_model *model,
                                                        size_t index);
WLOAD_API const struct wload_file *wload_model_file(const struct wload_model *model, size_t index);

/* The tensor of that name in constant time, or NULL. */
WLOAD_API const struct wload_tensor *wload_model_find(const struct wload_model *model,
                                                      const char *name);

/* ---- Devices and the memory that weights stay in -------------------------- */

enum wload_device_kind {
    WLOAD_DEVICE_AUTO, /* the first GPU, else the host */
    WLOAD_DEVICE_HOST,
    WLOAD_DEVICE_CUDA,
    WLOAD_DEVICE_HIP
};

/* Filled by the library up to struct_size. */
struct wload_device_info {
    size_t struct_size;
    uint32_t kind; /* enum wload_device_kind */
    uint32_t index;
    uint64_t memory_bytes;      /* in all; 0: not known */
    uint64_t memory_free_bytes; /* now; 0: not known */
    uint32_t driver_version;    /* as the driver numbers itself, for example 13000 */
    int32_t numa_node;          /* -1: not known */
    char name[128];
    char pci_address[32]; /* "0000:3b:00.0", or empty */
};

/*
 * Describe one device.  WLOAD_ERR_NOT_FOUND: there is none of that index.
 * WLOAD_ERR_UNSUPPORTED: this machine has no driver for that kind; err says what
 * was looked for.  WLOAD_ERR_DEVICE: there is one, and it does not work.
 */
WLOAD_API WLOAD_NODISCARD int wload_device_describe(enum wload_device_kind kind, uint32_t index,
                                                    struct wload_device_info *info,
                                                    struct wload_error *err);

/*
 * An arena is memory on one device that jobs place tensors in.  It outlives the
 * job, so that the job's staging memory can be freed while the weights stay; and
 * it can take the next job's tensors in place of the last one's, without paying
 * for fresh memory again.  On a GPU a tensor's address in it is a multiple of 256;
 * on the host, of the size of one element, or of 1 if that is less than a byte.
 */
struct wload_arena;

/* Allocates nothing yet: the first job that is given the arena sizes it.  `context` may be NULL. */
WLOAD_API WLOAD_NODISCARD int wload_arena_new(struct wload_context *context,
                                              enum wload_device_kind kind, uint32_t device_index,
                                              struct wload_arena **out, struct wload_error *err);

/* The weights in it are gone.  Free the jobs that land in it first. */
WLOAD_API void wload_arena_free(struct wload_arena *arena);

/* Copy `size_bytes` from `address` in the arena to host memory; waits until it is there. */
WLOAD_API WLOAD_NODISCARD int wload_arena_read(struct wload_arena *arena, const void *address,
                                               uint64_t size_bytes, void *target,
                                               struct wload_error *err);

/* ---- Job: one load of some tensors into one device ---------------------- */

struct wload_job;

enum wload_reader_kind {
    WLOAD_READER_AUTO, /* io_uring where the kernel allows it, else pread */
    WLOAD_READER_URING,
    WLOAD_READER_PREAD
};

enum wload_io_policy {
    WLOAD_IO_AUTO,    /* what the page cache holds from there, the rest with O_DIRECT */
    WLOAD_IO_DIRECT,  /* O_DIRECT or an error */
    WLOAD_IO_BUFFERED /* through the page cache */
};

/*
 * Say where `tensor` shall land: *address must hold size_bytes on the job's
 * device and stay valid until the job is freed.  Called once per chosen tensor,
 * by wload_job_start().  Non-zero stops the job with WLOAD_ERR_CALLBACK.
 *
 * Files of this machine are read into host memory at an address congruent to
 * file_offset modulo 4096 without a copy, but for the ends of a tensor, less than
 * 4096 bytes each, and for tensors of less than 256 KiB that do not lie one behind
 * the other as they do in the file; with WLOAD_IO_BUFFERED at any address.
 */
typedef int (*wload_place_fn)(void *user, const struct wload_tensor *tensor, void **address);

/*
 * `tensor` is complete at `address` and visible to work queued on the device
 * after this call.  `address` is what on_place gave, else aligned as in any arena.
 * In a job with on_chunk it is NULL, and every chunk of the tensor has been
 * released.  Non-zero stops the job with WLOAD_ERR_CALLBACK.
 */
typedef int (*wload_landed_fn)(void *user, const struct wload_tensor *tensor, void *address);

/* A part of one tensor in host memory.  Belongs to the library until released. */
struct wload_chunk {
    const struct wload_tensor *tensor;
    const void *data;
    uint64_t tensor_offset; /* where in the tensor this part begins */
    uint64_t size_bytes;
};

/*
 * Take a chunk.  Chunks come in any order; `chunk` and its data stay valid until
 * wload_chunk_release().  Reading stops when all staging memory is held by
 * chunks not released.  Non-zero stops the job with WLOAD_ERR_CALLBACK, and the
 * chunk counts as released.
 */
typedef int (*wload_chunk_fn)(void *user, const struct wload_chunk *chunk);

/*
 * At most one of these says where tensors land: on_chunk, nowhere: the caller takes
 * host chunks; on_place, where it says; `arena`, in it.  With none of them it is an
 * arena of the job's own, freed with the job.
 */
struct wload_job_options {
    size_t struct_size;
    uint32_t device_kind;  /* enum wload_device_kind; with `arena` 0, or the arena's */
    uint32_t device_index; /* of that kind; with `arena` and a kind, the arena's */
    struct wload_arena *arena;
    const char *const *patterns; /* names or globs: '*' any characters, '?' one; NULL: all */
    size_t pattern_count;        /* each must match a tensor */
    uint32_t reader_kind;        /* enum wload_reader_kind */
    uint32_t io_policy;          /* enum wload_io_policy */
    uint64_t chunk_bytes;        /* one read; a power of two, 64 KiB to 1 GiB; 0: 8 MiB, or less
                                  * where the ring would not hold four */
    uint64_t staging_bytes;      /* at most this much host memory in the ring, one chunk at least;
                                  * 0: 256 MiB, or about a quarter of the control group's memory
                                  * limit if that is less, or two chunks if these are more */
    uint32_t queue_depth;        /* reads in flight, at most 1024; 0: 8 */
    uint32_t reserved;
    wload_place_fn on_place;
    wload_chunk_fn on_chunk;
    wload_landed_fn on_landed; /* NULL: none */
    void *user;                /* first argument of all three */
};

/* Filled by the library up to struct_size. */
struct wload_stats {
    size_t struct_size;
    uint64_t tensor_count;   /* chosen */
    uint64_t tensor_bytes;   /* sum of their sizes */
    uint64_t landed_bytes;   /* of these, landed so far */
    uint64_t direct_bytes;   /* read with O_DIRECT, rounding included */
    uint64_t buffered_bytes; /* read through the page cache, rounding included */
    uint64_t resident_bytes; /* of the bytes to read, in the page cache at the start: sampled */
    uint64_t staging_bytes;  /* host memory that the ring has used */
    uint64_t straight_bytes; /* read into their place, with no staging and no copy */
    uint64_t network_bytes;  /* received of files that are not on this machine */
    int64_t elapsed_ns;      /* inside wload_job_start() and wload_job_run() */
    int64_t wait_storage_ns; /* of these, idle because no read had finished */
    int64_t wait_device_ns;  /* idle because every buffer was being copied or held */
    uint32_t device_kind;    /* as opened */
    uint32_t device_index;
    uint32_t reader_kind;    /* as used: WLOAD_READER_URING or WLOAD_READER_PREAD */
    uint32_t queue_depth;    /* as used */
    const char *reader_note; /* why this reader, and with what; lives as long as the job */
    const char *io_note;     /* why some reads were buffered; empty: all as asked */
    const char *cache_note;  /* why what was received is not kept; empty: it is, or need not be */
};

/*
 * Choose the tensors, decide how each byte is read, open files and device.
 * No weights are read before wload_job_run().  Each file on this machine takes two
 * descriptors until the job is freed, with WLOAD_IO_BUFFERED one.  Each that is
 * downloaded takes three from the first wload_job_run() on until it has its name in
 * the cache, and each connection one; without those of a file it is not kept, and
 * cache_note says so.  The process's limit (RLIMIT_NOFILE) is the caller's to raise.
 */
WLOAD_API WLOAD_NODISCARD int wload_job_start(struct wload_model *model,
                                              const struct wload_job_options *options,
                                              struct wload_job **out, struct wload_error *err);

/*
 * Work for at most `timeout_ms` (-1: until done).  WLOAD_OK: every tensor has
 * landed.  WLOAD_PENDING: call again.  After an error the job can only be freed,
 * and err->memory_state says whether any tensor's memory was written to.  A call
 * from another thread or from a callback of the job is refused, and changes nothing.
 *
 * Files that are not on this machine are read while they come, and their hashes
 * are known last: serve nothing from what has landed before this has returned
 * WLOAD_OK: then each file is proven, and has its name in the cache if that takes
 * it.  WLOAD_ERR_CHECKSUM names a file whose content was wrong, and one of its
 * tensors; nothing of it was kept, and a job started anew downloads it again.
 *
 * What one job downloads, others do not: jobs of the same files, in other processes,
 * too, read it while it comes, and wait while nobody runs that job.  So once it was
 * run, run it to its end or free it, and do not meanwhile run another job of these
 * files to its end on the same thread.  A job that was only started holds up nobody.
 * $WLOAD_LOCK_TIMEOUT limits the wait for one that brings nothing: WLOAD_ERR_LOCKED.
 */
WLOAD_API WLOAD_NODISCARD int wload_job_run(struct wload_job *job, int64_t timeout_ms,
                                            struct wload_error *err);

/* Any thread, any time before free.  A running wload_job_run() returns WLOAD_ERR_CANCELED. */
WLOAD_API void wload_job_cancel(struct wload_job *job);

/* Any thread, once per chunk, before the job is freed. */
WLOAD_API void wload_chunk_release(const struct wload_chunk *chunk);

/* Set stats->struct_size first.  Call on the job's thread. */
WLOAD_API void wload_job_stats(const struct wload_job *job, struct wload_stats *stats);

/*
 * Any thread, when no other uses the job; it need not have run, or not to its end.
 * Waits for reads and copies in flight, so memory given by on_place is quiet when this returns.
 */
WLOAD_API void wload_job_free(struct wload_job *job);

#ifdef __cplusplus
}
#endif

#endif /* WLOAD_H */
