/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a store survives the failure of any one call it makes: what has a final name is whole, and
 * the next run repairs the rest.
 * Method: bring two names of one content, half of it in a first go, give the commit a name and put
 * the content aside again; fail the first call, the second, ... until a run makes fewer.  After
 * each: success or an error with a message, no memory and no descriptor left, every file absent
 * or whole; then a run without faults finds its way and leaves no temporary.  For both layouts,
 * and without links; once more with short reads and writes.
 */
#include "faults.h"

#include "base/base.h"
#include "base/sys.h"
#include "stored.h"

#define TEXT_BYTES (2 * WL_PARTIAL_BLOCK_BYTES + 100)
#define HALF_BYTES WL_PARTIAL_BLOCK_BYTES

static const struct wl_log quiet;
static struct wl_config config;
static char text[TEXT_BYTES + 1];
static struct wl_listing_file files[2];

/* The content in two goes, as after a process that died. */
static int bring_in_parts(struct wl_store *store, struct wload_error *err)
{
    struct wl_partial_place place;
    struct wl_partial partial;
    int rc = store->ops->place(store, &files[0], &place, err);

    if (rc < 0) {
        return rc;
    }
    rc = wl_partial_open(&store->log, &place, false, &partial, err);
    if (rc == WLOAD_OK) {
        rc = wl_partial_write(&partial, 0, 0, text, HALF_BYTES, err);
        wl_partial_close(&partial);
    }
    (void)wl_partial_peek(&place);
    rc = rc < 0 ? rc : wl_partial_open(&store->log, &place, false, &partial, err);
    wl_store_place_clear(&place);
    if (rc < 0) {
        return rc;
    }
    rc = wl_partial_set_io(&partial, &store->log, WLOAD_IO_AUTO, err);
    for (uint64_t at = 0, end; wl_partial_gap(&partial, at, &at, &end) && rc == WLOAD_OK;) {
        rc = wl_partial_write(&partial, at, at, text + at, end - at, err);
    }
    rc = rc < 0 ? rc : store->ops->publish(store, &files[0], &partial, err);
    wl_partial_close(&partial);
    return rc;
}

static int fetch_first(struct wl_store *store, struct wload_error *err)
{
    struct wl_lock lock;
    int rc = store->ops->lock(store, &files[0], &lock, err);

    if (rc < 0) {
        return rc;
    }
    rc = store->ops->adopt(store, &files[0], &never_canceled, err);
    rc = rc == 0 ? bring_in_parts(store, err) : rc;
    wl_lock_release(&lock);
    return rc < 0 ? rc : WLOAD_OK;
}

static int read_back(struct wl_store *store, struct wload_error *err)
{
    struct wl_listing listing = {0};
    char commit[WL_HUB_COMMIT_BYTES];
    int rc;

    if (store->ops != &wl_store_hub) {
        rc = wl_store_plain_expect(store, "", &listing, err);
        wl_listing_clear(&listing);
        return rc;
    }
    wl_store_hub_note_absent(store, "c/none.json");
    rc = wl_store_hub_ref(store->root, WL_HUB_MODEL, "org/name", "main", commit, err);
    rc = rc < 0 ? rc : wl_store_listing(store, &listing, err);
    wl_listing_clear(&listing);
    return rc;
}

static int use_store(struct wl_store *store, struct wload_error *err)
{
    const struct wl_listing listing = {.files = files,
                                       .count = 2,
                                       .is_complete = true,
                                       .folded = {"x", "X"}};
    char hash[WL_HUB_HASH_BYTES];
    int rc = store->ops->begin(store, &listing, err);

    rc = rc < 0 ? rc : fetch_first(store, err);
    rc = rc < 0 ? rc : stored_fetch(store, &files[1], text, err);
    rc = rc < 0 ? rc : store->ops->finish(store, "main", err);
    rc = rc < 0 ? rc : read_back(store, err);
    (void)wl_store_hash(store, files[1].name, hash);
    for (uint32_t i = 0; i < 2 && rc >= 0; i++) {
        rc = store->ops->find(store, &files[i], err);
    }
    return rc < 0 ? rc : WLOAD_OK;
}

static int run(const struct wl_store_ops *ops, const char *root, bool quarantines,
               struct wload_error *err)
{
    struct wl_store store;
    char *moved = NULL;
    int rc = wl_store_init(&store, ops, &config, &quiet, WL_HUB_MODEL, "org/name", root,
                           STORED_COMMIT, err);

    if (rc < 0) {
        return rc;
    }
    rc = quarantines ? wl_store_quarantine(&store, &files[1], &moved, err) : use_store(&store, err);
    wl_sys->free(moved);
    wl_store_clear(&store);
    return rc;
}

/* ---- What is on the disk ------------------------------------------------------------ */

static void check_whole(const char *path)
{
    static char there[TEXT_BYTES + 1];
    int fd = open(path, O_RDONLY);

    if (fd < 0) {
        return; /* absent, or a link that dangles */
    }
    memset(there, 0, sizeof(there));
    CHECK_EQ(read(fd, there, sizeof(there)), TEXT_BYTES);
    CHECK_EQ(close(fd), 0);
    CHECK(memcmp(there, text, TEXT_BYTES) == 0);
}

/* A small file: absent, or beginning and ending as it should. */
static void check_small(const char *path, const char *start, char last)
{
    char there[4096] = "";
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    ssize_t size;

    if (fd < 0) {
        return;
    }
    size = read(fd, there, sizeof(there) - 1);
    CHECK(size > 0);
    CHECK_EQ(close(fd), 0);
    CHECK(strncmp(there, start, strlen(start)) == 0);
    CHECK_EQ(there[size - 1], last);
}

static const char *below(const char *root, const char *name)
{
    static char paths[4][TREE_PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    CHECK(snprintf(path, TREE_PATH_BYTES, "%s/%s", root, name) < TREE_PATH_BYTES);
    return path;
}

static void check_disk(const struct wl_store_ops *ops, const char *root)
{
    char name[256];

    if (ops == &wl_store_hub) {
        (void)snprintf(name, sizeof(name), "models--org--name/blobs/%s", files[0].hash);
        check_whole(below(root, name));
        for (unsigned i = 0; i < 2; i++) {
            (void)snprintf(name, sizeof(name), "models--org--name/snapshots/" STORED_COMMIT "/%s",
                           files[i].name);
            check_whole(below(root, name));
        }
        check_small(below(root, "models--org--name/refs/main"), STORED_COMMIT,
                    STORED_COMMIT[strlen(STORED_COMMIT) - 1]);
        check_small(below(root, "models--org--name/trees/" STORED_COMMIT ".json"), "{", '}');
        check_small(below(root, "CACHEDIR.TAG"), "Signature: ", '\n');
    } else {
        check_whole(below(root, files[0].name));
        check_whole(below(root, files[1].name));
        for (unsigned i = 0; i < 2; i++) {
            (void)snprintf(name, sizeof(name), ".cache/huggingface/download/%s.metadata",
                           files[i].name);
            check_small(below(root, name), STORED_COMMIT "\n", '\n');
        }
        check_small(below(root, ".cache/huggingface/.gitignore"), "*", '*');
    }
}

static uint64_t run_failing(const struct wl_store_ops *ops, const char *root, bool quarantines,
                            const struct faults *faults, int *rc)
{
    unsigned descriptors = faults_open_descriptors();
    struct wload_error err = {0};
    uint64_t calls;

    faults_begin(faults);
    *rc = run(ops, root, quarantines, &err);
    CHECK_EQ(faults_live_blocks(), 0);
    calls = faults_end();
    CHECK_EQ(faults_open_descriptors(), descriptors);
    if (*rc < 0) {
        CHECK_EQ(err.code, *rc);
        CHECK(err.message[0] != '\0');
    }
    return calls;
}

static void check_run(const struct wl_store_ops *ops, const char *root, bool quarantines)
{
    struct wload_error err = {0};

    CHECK_OK(run(ops, root, quarantines, &err), &err);
}

/* A link that dangles, as other tools leave when they remove a blob. */
static void plant_link(const char *label)
{
    char name[256];

    (void)snprintf(name, sizeof(name), "%s/models--org--name/snapshots/" STORED_COMMIT "/%s", label,
                   files[1].name);
    tree_make_folders(name);
    CHECK_EQ(symlink("../../gone", tree_path(name)), 0);
}

/* Both halves of a life: filling and putting aside. */
static void check_each_call(const struct wl_store_ops *ops, const char *label, bool quarantines)
{
    uint64_t fail_at;

    for (fail_at = 1;; fail_at++) {
        const struct faults faults = {.fail_at = fail_at};
        char root[TREE_PATH_BYTES];
        char name[64];
        int rc;

        (void)snprintf(name, sizeof(name), "%s-%d-%" PRIu64, label, quarantines, fail_at);
        (void)snprintf(root, sizeof(root), "%s", tree_path(name));
        if (ops == &wl_store_hub) {
            plant_link(name);
        }
        if (quarantines) {
            check_run(ops, root, false);
        }
        if (run_failing(ops, root, quarantines, &faults, &rc) < fail_at) {
            CHECK_EQ(rc, WLOAD_OK);
            break;
        }
        check_disk(ops, root);
        check_run(ops, root, false);
        check_disk(ops, root);
        CHECK_EQ(stored_count(root, ".incomplete"), 0);
        CHECK_EQ(stored_count(root, ".link"), 0);
    }
    CHECK(fail_at > (quarantines ? 20 : 100));
}

static void check_short(const struct wl_store_ops *ops, const char *label)
{
    const struct faults faults = {.is_short = true};
    int rc;

    (void)run_failing(ops, tree_path(label), false, &faults, &rc);
    CHECK_EQ(rc, WLOAD_OK);
    check_disk(ops, tree_path(label));
}

static void check_layout(const struct wl_store_ops *ops, const char *label)
{
    check_each_call(ops, label, false);
    check_each_call(ops, label, true);
    check_short(ops, label);
}

int main(void)
{
    for (size_t i = 0; i < TEXT_BYTES; i++) {
        text[i] = (char)('a' + (i * 7 + i / 311) % 26);
    }
    files[0] = stored_file("a.safetensors", text, true);
    files[1] = stored_file("b/c/d.safetensors", text, true);
    check_layout(&wl_store_hub, "hub");
    check_layout(&wl_store_plain, "plain");
    config.has_no_links = true;
    check_layout(&wl_store_hub, "files");
    return 0;
}
