/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every file is hashed whole and judged once, on the caller's thread, against the name that
 * the snapshot's own link gives; what is bad can be moved aside, and nothing else is touched.
 * Method: a cache made by hand of files whose hashes are known from other programs; its files are
 * damaged, removed, and given no hash.  In the end each call of the system fails in turn.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/sys.h"
#include "faults.h"
#include "tree.h"

#define COMMIT      "0123456789abcdef0123456789abcdef01234567"
#define REPO        "cache/models--org--name/"
#define FILES       REPO "snapshots/" COMMIT "/"
#define LARGE_BYTES ((3u << 20) + 5)

#define LISTED_COUNT 10u

/* By sha256sum and git hash-object. */
#define LARGE_HASH "aff2c7498aae939dfb2fb1dc6c0c83fa3708b069428e51338801af7f5dc2bf0f"
#define WRONG_HASH "0cb0541f5cb7cb3549d8769090c44fe1a7744024fa4be439efa54f881bb78956"
#define EMPTY_HASH "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define SMALL_HASH "cb5b2f69babc53f9145b45ad20b9a075d48717ef"
#define SMALL_TEXT "{\"a\": 1}\n"

struct told {
    pthread_t thread;
    uint32_t count;
    uint32_t stop_at; /* 0: never */
    struct {
        char name[64];
        char detail[512];
        int status;
    } files[16];
};

static struct told told;

static int on_file(void *user, const struct wload_snapshot_file *file, int status,
                   const char *detail)
{
    CHECK(user == &told);
    CHECK(pthread_equal(pthread_self(), told.thread));
    CHECK(told.count < WL_COUNT_OF(told.files));
    for (uint32_t i = 0; i < told.count; i++) {
        CHECK(strcmp(told.files[i].name, file->name) != 0);
    }
    (void)snprintf(told.files[told.count].name, sizeof(told.files[0].name), "%s", file->name);
    (void)snprintf(told.files[told.count].detail, sizeof(told.files[0].detail), "%s", detail);
    told.files[told.count++].status = status;
    return told.count == told.stop_at;
}

static int status_of(const char *name)
{
    for (uint32_t i = 0; i < told.count; i++) {
        if (strcmp(told.files[i].name, name) == 0) {
            return told.files[i].status;
        }
    }
    (void)fprintf(stderr, "nothing was told of '%s'\n", name);
    exit(1);
}

static const char *detail_of(const char *name)
{
    CHECK(status_of(name) < 0);
    for (uint32_t i = 0;; i++) {
        if (strcmp(told.files[i].name, name) == 0) {
            return told.files[i].detail;
        }
    }
}

/* ---- A cache ------------------------------------------------------------------------ */

static void link_to(const char *name, const char *target)
{
    tree_make_folders(name);
    (void)unlink(tree_path(name));
    CHECK_EQ(symlink(target, tree_path(name)), 0);
}

static void write_large(const char *name, char at_1m)
{
    char *data = malloc(LARGE_BYTES);

    CHECK(data != NULL);
    memset(data, 'a', LARGE_BYTES);
    data[1u << 20] = at_1m;
    tree_write(name, data, LARGE_BYTES);
    free(data);
}

/* All is well.  Two names have one content; the content of one lies in a store of many caches. */
static void make_cache(void)
{
    write_large(REPO "blobs/" LARGE_HASH, 'a');
    tree_write_text(REPO "blobs/" SMALL_HASH, SMALL_TEXT);
    tree_write_text("shared/0000", "");
    link_to(REPO "blobs/" EMPTY_HASH, "../../../shared/0000");
    tree_write_text(REPO "refs/main", COMMIT);
    link_to(FILES "model.safetensors", "../../blobs/" LARGE_HASH);
    link_to(FILES "unet/again.safetensors", "../../../blobs/" LARGE_HASH);
    link_to(FILES "config.json", "../../blobs/" SMALL_HASH);
    link_to(FILES "empty", "../../blobs/" EMPTY_HASH);
}

static struct wload_snapshot *open_cache(const char *name)
{
    const struct wload_snapshot_options options = {
        .struct_size = sizeof(options),
        .cache_dir = tree_path(name),
        .network = WLOAD_NETWORK_OFF,
    };
    struct wload_snapshot *snapshot;
    struct wload_error err;

    CHECK_OK(wload_snapshot_open(NULL, "org/name", &options, &snapshot, &err), &err);
    CHECK_STR(snapshot->origin, "cache");
    return snapshot;
}

static int verify(struct wload_snapshot *snapshot, bool quarantines, struct wload_error *err)
{
    const struct wload_verify_options options = {
        .struct_size = sizeof(options),
        .quarantines = quarantines,
        .on_file = on_file,
        .user = &told,
    };
    uint32_t stop_at = told.stop_at;

    told = (struct told){.thread = pthread_self(), .stop_at = stop_at};
    return wload_snapshot_verify(snapshot, &options, err);
}

/* ---- Checks ----------------------------------------------------------------------------- */

static void check_good(void)
{
    struct wload_snapshot *snapshot = open_cache("cache");
    struct wload_error err;

    CHECK_OK(verify(snapshot, true, &err), &err);
    CHECK_EQ(told.count, 4);
    for (uint32_t i = 0; i < told.count; i++) {
        CHECK_EQ(told.files[i].status, WLOAD_OK);
        CHECK_STR(told.files[i].detail, "");
    }
    CHECK_EQ(snapshot->missing_count, 0);
    CHECK_OK(wload_snapshot_verify(snapshot, NULL, &err), &err);
    wload_snapshot_free(snapshot);
}

static void check_stop(void)
{
    struct wload_snapshot *snapshot = open_cache("cache");
    struct wload_error err;

    told.stop_at = 2;
    CHECK_EQ(verify(snapshot, false, &err), WLOAD_ERR_CALLBACK);
    CHECK_EQ(err.code, WLOAD_ERR_CALLBACK);
    CHECK_EQ(told.count, 2);
    told.stop_at = 0;
    wload_snapshot_free(snapshot);
}

static void check_damage(void)
{
    struct wload_snapshot *snapshot = open_cache("cache");
    struct wload_error err;

    write_large(REPO "blobs/" LARGE_HASH, 'b');
    tree_write_text("shared/0000", "x");
    CHECK_EQ(verify(snapshot, false, &err), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(err.code, WLOAD_ERR_CHECKSUM);
    CHECK(strncmp(err.message, "'empty': expected " EMPTY_HASH " (git-sha1), got ", 66) == 0);
    CHECK_EQ(told.count, 4);
    CHECK_EQ(status_of("config.json"), WLOAD_OK);
    CHECK_EQ(status_of("empty"), WLOAD_ERR_CHECKSUM);
    CHECK_STR(detail_of("model.safetensors"), "expected " LARGE_HASH " (sha256), got " WRONG_HASH);
    CHECK_STR(detail_of("unet/again.safetensors"), detail_of("model.safetensors"));
    tree_write_text("shared/0000", "");

    /* Cut off: it has not the right size, and so is no present file; but it is bad, not missing. */
    CHECK_EQ(truncate(tree_path(REPO "blobs/" SMALL_HASH), 3), 0);
    CHECK_EQ(verify(snapshot, false, &err), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(status_of("config.json"), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(status_of("empty"), WLOAD_OK);
    tree_write_text(REPO "blobs/" SMALL_HASH, SMALL_TEXT);
    wload_snapshot_free(snapshot);
}

/* The large one is still damaged. */
static void check_quarantine(void)
{
    struct wload_snapshot *snapshot = open_cache("cache");
    struct wload_error err;
    char moved_to[TREE_PATH_BYTES];
    const char *detail;
    struct stat status;

    CHECK_EQ(verify(snapshot, true, &err), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(told.count, 4);
    CHECK_EQ(status_of("model.safetensors"), WLOAD_ERR_CHECKSUM);
    CHECK_EQ(status_of("unet/again.safetensors"), WLOAD_ERR_CHECKSUM);
    CHECK(strstr(detail_of("unet/again.safetensors"), "moved aside with another") != NULL);
    detail = strstr(detail_of("model.safetensors"), WRONG_HASH "; moved to '");
    CHECK(detail != NULL);
    (void)snprintf(moved_to, sizeof(moved_to), "%s", strchr(detail, '\'') + 1);
    moved_to[strlen(moved_to) - 1] = '\0';
    CHECK_EQ(stat(moved_to, &status), 0);
    CHECK_EQ(status.st_size, LARGE_BYTES);
    CHECK(access(tree_path(REPO "blobs/" LARGE_HASH), F_OK) < 0);
    CHECK_EQ(access(tree_path(REPO "blobs/" SMALL_HASH), F_OK), 0);
    CHECK_EQ(snapshot->missing_count, 2);

    CHECK_OK(verify(snapshot, true, &err), &err);
    CHECK_EQ(status_of("model.safetensors"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(status_of("unet/again.safetensors"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(status_of("config.json"), WLOAD_OK);
    wload_snapshot_free(snapshot);
}

/* Files instead of links: nothing here says what they must be. */
static void check_unknown(void)
{
    struct wload_snapshot *snapshot;
    struct wload_error err;

    make_cache();
    CHECK_EQ(unlink(tree_path(FILES "config.json")), 0);
    tree_write_text(FILES "config.json", SMALL_TEXT);
    snapshot = open_cache("cache");
    CHECK_OK(verify(snapshot, true, &err), &err);
    CHECK_EQ(told.count, 4);
    CHECK_EQ(status_of("config.json"), WLOAD_ERR_UNSUPPORTED);
    CHECK_EQ(status_of("model.safetensors"), WLOAD_OK);
    wload_snapshot_free(snapshot);
    CHECK_EQ(unlink(tree_path(FILES "config.json")), 0);
    make_cache();
}

/* A link tells of its file although the content is gone. */
static void check_gone(void)
{
    struct wload_snapshot *snapshot;
    struct wload_error err;

    CHECK_EQ(unlink(tree_path(REPO "blobs/" LARGE_HASH)), 0);
    snapshot = open_cache("cache");
    CHECK_EQ(snapshot->missing_count, 2);
    CHECK_OK(verify(snapshot, true, &err), &err);
    CHECK_EQ(told.count, 4);
    CHECK_EQ(status_of("model.safetensors"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(status_of("unet/again.safetensors"), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(status_of("config.json"), WLOAD_OK);
    wload_snapshot_free(snapshot);
    make_cache();
}

static atomic_uint tree_opens;

static int counting_openat(int dir, const char *path, int flags, unsigned mode)
{
    if (strstr(path, "/trees/")) {
        atomic_fetch_add(&tree_opens, 1);
    }
    return wl_sys_real.openat(dir, path, flags, mode);
}

/* Of files instead of links the listing tells the hashes: it is read once, however many files there
 * are and whatever is wrong with them. */
static void check_listed(void)
{
    const struct wl_sys *before = wl_sys;
    struct wl_sys table = *wl_sys;
    struct wload_snapshot *snapshot;
    char tree[2048] = "{\"format_version\": 1, \"files\": {";
    char name[128];
    struct wload_error err;

    for (unsigned i = 0; i < LISTED_COUNT; i++) {
        size_t used = strlen(tree);

        (void)snprintf(tree + used, sizeof(tree) - used,
                       "%s\"%u.json\": {\"size\": %zu, \"blob_id\": \"" SMALL_HASH "\"}",
                       i > 0 ? ", " : "", i, strlen(SMALL_TEXT));
        (void)snprintf(name, sizeof(name), "listed/models--org--name/snapshots/" COMMIT "/%u.json",
                       i);
        tree_write_text(name, i % 2 ? "{\"a\": 2}\n" : SMALL_TEXT);
    }
    (void)snprintf(tree + strlen(tree), sizeof(tree) - strlen(tree), "}}");
    tree_write_text("listed/models--org--name/trees/" COMMIT ".json", tree);
    tree_write_text("listed/models--org--name/refs/main", COMMIT);

    table.openat = counting_openat;
    wl_sys = &table;
    snapshot = open_cache("listed");
    CHECK_EQ(snapshot->file_count, LISTED_COUNT);
    CHECK_EQ(verify(snapshot, true, &err), WLOAD_ERR_CHECKSUM);
    wl_sys = before;
    CHECK_EQ(told.count, LISTED_COUNT);
    CHECK_EQ(status_of("0.json"), WLOAD_OK);
    CHECK(strstr(detail_of("1.json"), "expected " SMALL_HASH " (git-sha1), got ") != NULL);
    CHECK(strstr(detail_of("1.json"), "; moved to '") != NULL);
    CHECK_EQ(snapshot->missing_count, LISTED_COUNT / 2);
    CHECK_EQ(atomic_load(&tree_opens), 1);
    wload_snapshot_free(snapshot);
}

/* A path has no hashes; where they are told is said of one that was filled. */
static void check_path(void)
{
    const char *const paths[] = {tree_path("cache"), tree_path("filled")};
    struct wload_snapshot *snapshot;
    struct wload_error err;

    tree_write_text("filled/.cache/huggingface/.gitignore", "*");
    for (size_t i = 0; i < WL_COUNT_OF(paths); i++) {
        CHECK_OK(wload_snapshot_open(NULL, paths[i], NULL, &snapshot, &err), &err);
        CHECK_EQ(verify(snapshot, i > 0, &err), WLOAD_ERR_UNSUPPORTED);
        CHECK_EQ(told.count, 0);
        CHECK(strstr(err.message, "org/name") != NULL);
        CHECK((strstr(err.message, "as its local directory") != NULL) == (i > 0));
        wload_snapshot_free(snapshot);
    }
}

static void check_nowhere(void)
{
    const struct wload_snapshot_options options = {.struct_size = sizeof(options),
                                                   .cache_dir = tree_path("none"),
                                                   .network = WLOAD_NETWORK_OFF};
    struct wload_snapshot *snapshot;
    struct wload_error err;

    CHECK_OK(wload_snapshot_open(NULL, "org/name", &options, &snapshot, &err), &err);
    CHECK_STR(snapshot->origin, "");
    CHECK_EQ(verify(snapshot, true, &err), WLOAD_ERR_NOT_FOUND);
    CHECK_STR(err.message, "'org/name' is not on this machine");
    wload_snapshot_free(snapshot);
}

/* Whatever fails: an error, or all is well; never a file that is told to be good and is not. */
static void check_faults(void)
{
    struct faults faults = {.fail_at = 1};
    uint64_t calls;
    uint32_t failures = 0;

    write_large(REPO "blobs/" LARGE_HASH, 'b');
    do {
        struct wload_snapshot *snapshot = open_cache("cache");
        struct wload_error err = {0};
        int rc;

        faults_begin(&faults);
        rc = verify(snapshot, false, &err);
        CHECK_EQ(faults_live_blocks(), 0);
        calls = faults_end();
        CHECK(rc < 0 && err.code == rc && err.message[0] != '\0');
        for (uint32_t i = 0; i < told.count; i++) {
            CHECK(told.files[i].status != WLOAD_OK ||
                  strstr(told.files[i].name, ".safetensors") == NULL);
        }
        failures += rc != WLOAD_ERR_CHECKSUM;
        faults.fail_at++;
        wload_snapshot_free(snapshot);
    } while (calls >= faults.fail_at - 1);
    CHECK(failures > 5);
    faults = (struct faults){.is_short = true};
    write_large(REPO "blobs/" LARGE_HASH, 'a');
    faults_begin(&faults);
    check_good();
    (void)faults_end();
}

int main(void)
{
    CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
    CHECK_EQ(unsetenv("AIM_CACHE_PATH"), 0);
    make_cache();
    check_good();
    check_stop();
    check_damage();
    check_quarantine();
    check_unknown();
    check_gone();
    check_listed();
    check_path();
    check_nowhere();
    check_faults();
    return 0;
}
