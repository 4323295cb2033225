/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the cache that all tools share looks on disk as they expect it, what they leave there is
 * found, and nothing of theirs is harmed.
 * Method: files are brought as a fetch brings them, then names, links, modes and texts are
 * compared; other tools' ways of keeping a file are planted; a table of system calls plays
 * file systems without links and caches that are only read, and sees what is flushed.
 */
#include <errno.h>
#include <sys/file.h>
#include <time.h>

#include "base/sys.h"
#include "stored.h"

#define REPO   "hub/models--org--name"
#define SHA256 "8c8a1c3a8a3bd4a4d5fb1e9b1cfd3a3b8b4a3a4f5b6c7d8e9f0a1b2c3d4e5f60"

static const struct wl_log quiet;
static struct wl_config config;

static struct wl_store open_store(const char *cache, const char *commit)
{
    struct wl_store store;
    struct wload_error err = {0};

    CHECK_OK(wl_store_init(&store, &wl_store_hub, &config, &quiet, WL_HUB_MODEL, "org/name",
                           tree_path(cache), commit, &err),
             &err);
    return store;
}

static struct wl_listing listing_of(struct wl_listing_file *files, uint32_t count)
{
    return (struct wl_listing){.files = files, .count = count, .is_complete = true};
}

static void begin(struct wl_store *store, const struct wl_listing *listing)
{
    struct wload_error err = {0};

    CHECK_OK(store->ops->begin(store, listing, &err), &err);
}

static void bring(struct wl_store *store, const struct wl_listing_file *file, const char *text)
{
    struct wload_error err = {0};

    CHECK_EQ(store->ops->find(store, file, &err), 0);
    CHECK_OK(stored_fetch(store, file, text, &err), &err);
    CHECK_EQ(store->ops->find(store, file, &err), 1);
}

static const char *in_repo(const char *cache, const char *fmt, const char *name)
{
    char path[512];
    char whole[640];

    (void)snprintf(path, sizeof(path), "%s%s", fmt, name);
    (void)snprintf(whole, sizeof(whole), "%s/models--org--name/%s", cache, path);
    return tree_path(whole);
}

/* ---- The layout --------------------------------------------------------------------- */

static void check_tree(const struct wl_store *store, const struct wl_listing *listing)
{
    struct wl_listing kept = {0};
    struct wload_error err = {0};

    CHECK_EQ(stored_status(tree_path(REPO "/trees/" STORED_COMMIT ".json")).st_mode & 07777, 0640);
    CHECK_OK(wl_store_listing(store, &kept, &err), &err);
    CHECK(kept.is_complete);
    CHECK_EQ(kept.count, listing->count);
    for (uint32_t i = 0; i < kept.count; i++) {
        CHECK_STR(kept.files[i].name, listing->files[i].name);
        CHECK_STR(kept.files[i].hash, listing->files[i].hash);
        CHECK_EQ(kept.files[i].size_bytes, listing->files[i].size_bytes);
    }
    wl_listing_clear(&kept);
}

static void check_layout(void)
{
    struct wl_listing_file files[] = {stored_file("a/b/c.json", "{}", false),
                                      stored_file("model.safetensors", "weights", true)};
    struct wl_listing listing = listing_of(files, 2);
    struct wl_store store = open_store("hub", STORED_COMMIT);
    struct wload_error err = {0};
    char target[128];
    mode_t mask = umask(0027);

    begin(&store, &listing);
    check_tree(&store, &listing);
    CHECK_EQ(stored_count(tree_path(REPO "/snapshots"), ""), 0); /* nothing points there yet */
    CHECK(access(tree_path(REPO "/refs"), F_OK) != 0);
    bring(&store, &files[0], "{}");
    bring(&store, &files[1], "weights");
    (void)umask(mask);

    (void)snprintf(target, sizeof(target), "../../../../blobs/%s", files[0].hash);
    stored_check_link(tree_path(REPO "/snapshots/" STORED_COMMIT "/a/b/c.json"), target);
    stored_check_text(tree_path(REPO "/snapshots/" STORED_COMMIT "/a/b/c.json"), "{}");
    (void)snprintf(target, sizeof(target), "../../blobs/%s", files[1].hash);
    stored_check_link(tree_path(REPO "/snapshots/" STORED_COMMIT "/model.safetensors"), target);
    stored_check_text(in_repo("hub", "blobs/", files[1].hash), "weights");
    CHECK_EQ(stored_status(in_repo("hub", "blobs/", files[1].hash)).st_mode, S_IFREG | 0640);
    (void)snprintf(target, sizeof(target), "hub/.locks/models--org--name/%s.lock", files[1].hash);
    CHECK_EQ(stored_status(tree_path(target)).st_mode, S_IFREG | 0664);

    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    stored_check_text(tree_path(REPO "/refs/main"), STORED_COMMIT);
    CHECK_OK(store.ops->finish(&store, "refs/pr/1", &err), &err);
    stored_check_text(tree_path(REPO "/refs/refs/pr/1"), STORED_COMMIT);
    CHECK_OK(store.ops->finish(&store, STORED_COMMIT, &err), &err); /* means itself already */
    CHECK_EQ(stored_count(tree_path(REPO "/refs"), ""), 2);
    CHECK_EQ(store.ops->finish(&store, "../../main", &err), WLOAD_ERR_INVALID);

    wl_store_hub_note_absent(&store, "x/missing.json");
    wl_store_hub_note_absent(&store, "x/missing.json");
    stored_check_text(tree_path(REPO "/.no_exist/" STORED_COMMIT "/x/missing.json"), "");

    /* Two blobs, two links, two locks, two refs, a tree, a marker, the tag; no temporary. */
    CHECK_EQ(stored_count(tree_path("hub"), ""), 11);
    wl_store_clear(&store);
}

/* What is there already is left as it is, unless it is of no use. */
static void check_notes(void)
{
    struct wl_listing_file files[] = {stored_file("a.json", "{}", false)};
    struct wl_listing listing = listing_of(files, 1);
    struct wl_store store = open_store("notes", STORED_COMMIT);
    const char *tree = "notes/models--org--name/trees/" STORED_COMMIT ".json";
    const char *tag = "notes/CACHEDIR.TAG";
    char text[64] = "";
    ino_t inode;
    int fd;

    begin(&store, &listing);
    fd = open(tree_path(tag), O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQ(read(fd, text, 44), 44);
    CHECK_EQ(close(fd), 0);
    CHECK_STR(text, "Signature: 8a477f597d28d172789f06886806bc55\n");

    inode = stored_status(tree_path(tree)).st_ino;
    tree_write_text(tag, "mine");
    begin(&store, &listing);
    stored_check_text(tree_path(tag), "mine");
    CHECK_EQ(stored_status(tree_path(tree)).st_ino, inode);
    tree_write_text(tree, "{\"format_version\": 2}");
    begin(&store, &listing);
    CHECK(stored_status(tree_path(tree)).st_ino != inode);

    CHECK_EQ(unlink(tree_path(tree)), 0);
    listing.is_complete = false; /* it would be taken for all there is */
    begin(&store, &listing);
    CHECK(access(tree_path(tree), F_OK) != 0);
    wl_store_clear(&store);
}

/* Nothing is made on the way to an answer, and nothing unchecked becomes a path. */
static void check_refusals(void)
{
    struct wl_listing_file file = stored_file("a.json", "{}", false);
    struct wl_store store;
    struct wl_lock lock;
    struct wl_listing listing;
    struct wload_error err = {0};
    char hash[WL_HUB_HASH_BYTES];

    CHECK_EQ(wl_store_init(&store, &wl_store_hub, &config, &quiet, WL_HUB_MODEL, "../x",
                           tree_path("none"), STORED_COMMIT, &err),
             WLOAD_ERR_SPEC);
    CHECK_EQ(wl_store_init(&store, &wl_store_hub, &config, &quiet, WL_HUB_MODEL, "org/name",
                           tree_path("none"), "../../etc", &err),
             WLOAD_ERR_FORMAT);
    store = open_store("none", STORED_COMMIT);
    CHECK_EQ(store.ops->find(&store, &file, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err), 0);
    CHECK_EQ(wl_store_listing(&store, &listing, &err), WLOAD_ERR_NOT_FOUND);
    CHECK(!wl_store_hash(&store, "a.json", hash));
    CHECK(wl_store_file_path(&store, "../a.json") == NULL);
    CHECK(wl_store_file_path(&store, "/etc/passwd") == NULL);
    (void)snprintf(file.hash, sizeof(file.hash), "../../x");
    CHECK_EQ(store.ops->lock(&store, &file, &lock, &err), WLOAD_ERR_FORMAT);
    CHECK(access(tree_path("none"), F_OK) != 0);
    wl_store_clear(&store);
}

/* ---- Refs --------------------------------------------------------------------------- */

static int read_ref(const char *revision, char commit[WL_HUB_COMMIT_BYTES])
{
    struct wload_error err = {0};

    return wl_store_hub_ref(tree_path("refs"), WL_HUB_MODEL, "org/name", revision, commit, &err);
}

static unsigned reads_before_whole;

/* The writer truncates first and writes later. */
static ssize_t late_pread(int fd, void *buffer, size_t size, off_t offset)
{
    if (reads_before_whole > 0 && --reads_before_whole == 0) {
        tree_write_text("refs/models--org--name/refs/main", STORED_OTHER);
    }
    return pread(fd, buffer, size, offset);
}

static void check_refs(void)
{
    const char *ref = "refs/models--org--name/refs/main";
    struct wl_store store = open_store("refs", STORED_COMMIT);
    struct wl_sys table = wl_sys_real;
    struct wload_error err = {0};
    char commit[WL_HUB_COMMIT_BYTES];
    struct timespec before, after;
    int64_t took_ms;
    ino_t inode;

    CHECK_EQ(read_ref("main", commit), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(read_ref("../main", commit), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(read_ref(STORED_OTHER, commit), WLOAD_OK);
    CHECK_STR(commit, STORED_OTHER);
    tree_write_text(ref, STORED_COMMIT "\n");
    CHECK_EQ(read_ref("main", commit), WLOAD_OK);
    CHECK_STR(commit, STORED_COMMIT);

    tree_write_text(ref, "");
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    CHECK_EQ(read_ref("main", commit), WLOAD_ERR_NOT_FOUND);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    took_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    CHECK(took_ms >= 99); /* five times twenty, for the writer to finish */
    tree_write_text(ref, "ref: refs/heads/main");
    CHECK_EQ(read_ref("main", commit), WLOAD_ERR_NOT_FOUND);
    table.pread = late_pread;
    reads_before_whole = 3;
    wl_sys = &table;
    CHECK_EQ(read_ref("main", commit), WLOAD_OK);
    wl_sys = &wl_sys_real;
    CHECK_STR(commit, STORED_OTHER);

    /* Written if it says anything else, whole, once the snapshot is there; else untouched. */
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    CHECK_EQ(access(tree_path("refs/models--org--name/snapshots/" STORED_COMMIT), F_OK), 0);
    stored_check_text(tree_path(ref), STORED_COMMIT);
    inode = stored_status(tree_path(ref)).st_ino;
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    CHECK_EQ(stored_status(tree_path(ref)).st_ino, inode);
    tree_write_text(ref, STORED_COMMIT "\n"); /* with which other tools find nothing */
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    stored_check_text(tree_path(ref), STORED_COMMIT);

    tree_write_text("elsewhere", STORED_OTHER);
    CHECK_EQ(unlink(tree_path(ref)), 0);
    CHECK_EQ(symlink("../../../elsewhere", tree_path(ref)), 0);
    CHECK(read_ref("main", commit) < 0);
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    stored_check_text(tree_path("elsewhere"), STORED_OTHER);
    CHECK(S_ISREG(stored_status(tree_path(ref)).st_mode));
    wl_store_clear(&store);
}

/* ---- Other ways of keeping a file --------------------------------------------------- */

/* A blob that is a link into the store which all repositories share. */
static void check_shared_blob(void)
{
    struct wl_listing_file file = stored_file("model.safetensors", "weights", true);
    struct wl_store store = open_store("shared", STORED_COMMIT);
    const char *payload = "shared/blobs/8c/" SHA256;
    struct wload_error err = {0};
    char hash[WL_HUB_HASH_BYTES];
    char *moved = NULL;

    tree_write_text(payload, "weights");
    begin(&store, &(struct wl_listing){0});
    CHECK_EQ(symlink("../../blobs/8c/" SHA256, in_repo("shared", "blobs/", file.hash)), 0);
    CHECK_EQ(store.ops->find(&store, &file, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err),
             1); /* the link is all that was missing */
    CHECK_EQ(store.ops->find(&store, &file, &err), 1);
    CHECK(wl_store_hash(&store, file.name, hash));
    CHECK_STR(hash, file.hash); /* of the first link, not of the last */

    tree_write_text(payload, "WEIGHTS");
    CHECK_OK(wl_store_quarantine(&store, &file, &moved, &err), &err);
    stored_check_text(tree_path(payload), "WEIGHTS"); /* others use it */
    CHECK(S_ISLNK(stored_status(moved).st_mode));
    wl_sys->free(moved);
    CHECK_EQ(store.ops->find(&store, &file, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err), 0);

    CHECK_EQ(symlink("../../blobs/8c/" SHA256, in_repo("shared", "blobs/", file.hash)), 0);
    CHECK_OK(stored_bring(&store, &file, "weights", &err), &err); /* as with --force */
    CHECK(S_ISREG(stored_status(in_repo("shared", "blobs/", file.hash)).st_mode));
    stored_check_text(tree_path(payload), "WEIGHTS");

    CHECK_EQ(unlink(in_repo("shared", "blobs/", file.hash)), 0);
    CHECK_EQ(symlink("../../blobs/8c/gone", in_repo("shared", "blobs/", file.hash)), 0);
    bring(&store, &file, "weights"); /* it may dangle at any time: missing */
    wl_store_clear(&store);
}

static const char *const snapshot_file =
    "links/models--org--name/snapshots/" STORED_COMMIT "/a.json";

static void check_links(void)
{
    struct wl_listing_file file = stored_file("a.json", "content", true);
    struct wl_listing_file unknown = {.name = file.name, .size_bytes = file.size_bytes};
    struct wl_store store = open_store("links", STORED_COMMIT);
    struct wload_error err = {0};
    char target[128];

    (void)snprintf(target, sizeof(target), "../../blobs/%s", file.hash);
    begin(&store, &(struct wl_listing){0});
    CHECK_EQ(symlink("../../blobs/gone", tree_path(snapshot_file)), 0);
    bring(&store, &file, "content"); /* a link that dangles is a missing file */
    stored_check_link(tree_path(snapshot_file), target);

    CHECK_EQ(unlink(tree_path(snapshot_file)), 0);
    tree_write_text(snapshot_file, "content"); /* tools without links keep the file itself */
    CHECK_EQ(store.ops->find(&store, &file, &err), 1);
    CHECK_EQ(store.ops->find(&store, &unknown, &err), 1);
    tree_write_text(snapshot_file, "cut");
    CHECK_EQ(store.ops->find(&store, &file, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err), 1);
    stored_check_link(tree_path(snapshot_file), target);

    tree_write_text("links/models--org--name/blobs/x", "");
    CHECK_EQ(truncate(in_repo("links", "blobs/", file.hash), 3), 0);
    CHECK_EQ(store.ops->find(&store, &file, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err), 0); /* too short to be it */
    bring(&store, &file, "content");
    CHECK_EQ(store.ops->adopt(&store, &unknown, &never_canceled, &err), 1);
    CHECK_EQ(unlink(tree_path(snapshot_file)), 0);
    CHECK_EQ(store.ops->adopt(&store, &unknown, &never_canceled, &err), 0);
    CHECK_EQ(stored_count(tree_path("links"), ".link"), 0);
    wl_store_clear(&store);
}

/* A folder that is a link would have files written, or taken away, elsewhere; one that takes a
 * whole repository to another disk is its owner's. */
static void check_planted(void)
{
    static const char *const folders[] = {
        "planted/models--org--name/snapshots/" STORED_COMMIT "/sub",
        "planted/models--org--name/snapshots/" STORED_COMMIT,
        "planted/models--org--name/snapshots",
    };
    struct wl_listing_file file = stored_file("sub/a.json", "content", false);
    struct wl_store store = open_store("planted", STORED_COMMIT);
    struct wload_error err = {0};
    char blob[128];
    char *moved;

    tree_write_text("other/sub/a.json", "precious");
    tree_write_text("other/" STORED_COMMIT "/sub/a.json", "precious");
    tree_make_folders("disk/repo/x");
    tree_make_folders("planted/x");
    (void)snprintf(blob, sizeof(blob), "disk/repo/blobs/%s", file.hash);
    CHECK_EQ(symlink("../disk/repo", tree_path("planted/models--org--name")), 0);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        tree_make_folders(folders[i]);
        CHECK_EQ(symlink(tree_path(i == 0 ? "other/sub" : "other"), tree_path(folders[i])), 0);
        CHECK_EQ(stored_fetch(&store, &file, "content", &err), WLOAD_ERR_IO);
        CHECK(strstr(err.message, folders[i]) && strstr(err.message, "symbolic link"));
        CHECK_EQ(wl_store_quarantine(&store, &file, &moved, &err), WLOAD_ERR_IO);
        tree_write_text(blob, "content"); /* and a link to it is all that is missing */
        CHECK_EQ(stored_fetch(&store, &file, "content", &err), WLOAD_ERR_IO);
        CHECK_EQ(unlink(tree_path(folders[i])), 0);
        CHECK_EQ(symlink("nowhere", tree_path(folders[i])), 0);
        CHECK_EQ(stored_fetch(&store, &file, "content", &err), WLOAD_ERR_IO);
        CHECK_EQ(unlink(tree_path(folders[i])), 0);
        CHECK_EQ(unlink(tree_path(blob)), 0);
        CHECK(i == 2 || rmdir(tree_path(folders[i + 1])) == 0);
    }
    tree_make_folders("disk/repo/refs/x");
    CHECK_EQ(symlink(tree_path("other"), tree_path("disk/repo/refs/b")), 0);
    CHECK_EQ(store.ops->finish(&store, "b/main", &err), WLOAD_ERR_IO);
    stored_check_text(tree_path("other/sub/a.json"), "precious");
    stored_check_text(tree_path("other/" STORED_COMMIT "/sub/a.json"), "precious");
    CHECK_EQ(stored_count(tree_path("other"), ""), 2);

    begin(&store, &(struct wl_listing){0});
    bring(&store, &file, "content");
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    stored_check_text(tree_path("disk/repo/snapshots/" STORED_COMMIT "/sub/a.json"), "content");
    wl_store_clear(&store);
}

/* A link to a disk that is not mounted, or a file, where a folder may be a link: whoever meets it
 * says so by one code. */
static void check_obstacles(void)
{
    static const char *const obstacles[] = {"away/models--org--name/blobs", "away/.locks"};
    struct wl_listing_file file = stored_file("a.json", "content", false);
    struct wl_listing listing = listing_of(&file, 1);
    struct wl_store store = open_store("away", STORED_COMMIT);

    tree_make_folders("away/models--org--name/x");
    for (size_t i = 0; i < 2 * (sizeof(obstacles) / sizeof(obstacles[0])); i++) {
        const char *path = tree_path(obstacles[i / 2]);
        int sys_errno = i % 2 == 0 ? ENOENT : ENOTDIR;
        struct wload_error err = {0};
        struct wl_partial_place place;
        struct wl_partial partial;
        struct wl_lock lock;

        if (sys_errno == ENOENT) {
            CHECK_EQ(symlink("/nonexistent/disk", path), 0);
        } else {
            tree_write_text(obstacles[i / 2], "");
        }
        if (i < 2) {
            CHECK_EQ(store.ops->begin(&store, &listing, &err), WLOAD_ERR_IO);
            CHECK_EQ(err.sys_errno, sys_errno);
            CHECK(strstr(err.message, "blobs") != NULL);
            CHECK_OK(store.ops->place(&store, &file, &place, &err), &err);
            CHECK_EQ(wl_partial_open(&quiet, &place, false, &partial, &err), WLOAD_ERR_IO);
            wl_store_place_clear(&place);
        } else {
            CHECK_EQ(store.ops->lock(&store, &file, &lock, &err), WLOAD_ERR_IO);
        }
        CHECK_EQ(err.sys_errno, sys_errno);
        CHECK_EQ(unlink(path), 0);
    }
    wl_store_clear(&store);
}

/* A file system that does not tell 'A' from 'a'. */
static int blind_statx(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    char lower[TREE_PATH_BYTES];

    (void)snprintf(lower, sizeof(lower), "%s", path);
    for (char *at = strrchr(lower, '/'); at && *at; at++) {
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 'a' - 'A' : *at);
    }
    return statx(dir, lower, flags, mask, out);
}

static void check_case(const struct wl_store_ops *ops)
{
    const struct wl_listing_file files[] = {stored_file("sub/a.json", "{}", false),
                                            stored_file("sub/A.json", "[]", false)};
    struct wl_sys table = wl_sys_real;
    struct wl_listing listing = {0};
    struct wload_error err = {0};
    struct wl_store store;

    table.statx = blind_statx;
    CHECK_OK(wl_store_init(&store, ops, &config, &quiet, WL_HUB_MODEL, "org/name",
                           tree_path("case"), STORED_COMMIT, &err),
             &err);
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(wl_listing_add(&listing, &files[i], "org/name", &err), &err);
        CHECK_OK(wl_listing_finish(&listing, "org/name", &err), &err);
        begin(&store, &listing); /* where both have room */
        wl_sys = &table;
        CHECK_EQ(store.ops->begin(&store, &listing, &err), i == 0 ? WLOAD_OK : WLOAD_ERR_FORMAT);
        wl_sys = &wl_sys_real;
    }
    CHECK(strstr(err.message, "'sub/A.json' and 'sub/a.json'") != NULL);
    CHECK_EQ(rmdir(store.snapshot_path) == 0, ops == &wl_store_hub); /* nothing was left in it */
    wl_listing_clear(&listing);
    wl_store_clear(&store);
}

static int no_symlinks(const char *target, int dir, const char *path)
{
    (void)target;
    (void)dir;
    (void)path;
    errno = EPERM;
    return -1;
}

/* Real files in the snapshots, each commit with its own. */
static void check_without_links(const char *cache)
{
    struct wl_listing_file files[] = {stored_file("sub/a.json", "content", false)};
    struct wl_listing listing = listing_of(files, 1);
    struct wl_store first = open_store(cache, STORED_COMMIT);
    struct wl_store second = open_store(cache, STORED_OTHER);
    struct wload_error err = {0};
    char hash[WL_HUB_HASH_BYTES];
    char *moved = NULL;

    begin(&first, &listing);
    begin(&second, &(struct wl_listing){0});
    bring(&first, &files[0], "content");
    CHECK(S_ISREG(
        stored_status(in_repo(cache, "snapshots/" STORED_COMMIT "/", "sub/a.json")).st_mode));
    CHECK_EQ(stored_count(in_repo(cache, "blobs", ""), ""), 0);
    CHECK(!wl_store_hash(&first, "sub/a.json", hash)); /* the listing alone says */

    /* What was cached when there were links is copied, and stays for them. */
    tree_write_text("made", "content");
    CHECK_EQ(rename(tree_path("made"), in_repo(cache, "blobs/", files[0].hash)), 0);
    CHECK_EQ(second.ops->adopt(&second, &files[0], &never_canceled, &err), 1);
    CHECK(S_ISREG(
        stored_status(in_repo(cache, "snapshots/" STORED_OTHER "/", "sub/a.json")).st_mode));
    stored_check_text(in_repo(cache, "snapshots/" STORED_OTHER "/", "sub/a.json"), "content");
    stored_check_text(in_repo(cache, "blobs/", files[0].hash), "content");

    CHECK_OK(wl_store_quarantine(&first, &files[0], &moved, &err), &err);
    stored_check_text(moved, "content");
    CHECK(strstr(moved, "/models--org--name/blobs/") && strstr(moved, ".quarantined"));
    CHECK(strstr(moved, files[0].hash) != NULL);
    wl_sys->free(moved);
    CHECK_EQ(first.ops->find(&first, &files[0], &err), 0);
    CHECK_EQ(second.ops->find(&second, &files[0], &err), 1);
    wl_store_clear(&first);
    wl_store_clear(&second);
}

/* ---- A loss of power ---------------------------------------------------------------- */

static ino_t unflushed;  /* the file that was written last; 0: it was flushed */
static unsigned flushes; /* since somebody looked */
static unsigned named;   /* files that got their names */

static ssize_t noted_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct stat status;

    CHECK_EQ(fstat(fd, &status), 0);
    unflushed = status.st_ino;
    return pwrite(fd, data, size, offset);
}

static int noted_fsync(int fd)
{
    struct stat status;

    CHECK_EQ(fstat(fd, &status), 0);
    unflushed = status.st_ino == unflushed ? 0 : unflushed;
    flushes++;
    return 0;
}

static int noted_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    struct stat status;

    CHECK_EQ(fstatat(from_dir, from, &status, AT_SYMLINK_NOFOLLOW), 0);
    if (S_ISREG(status.st_mode)) {
        CHECK(config.never_flushes || status.st_ino != unflushed);
        named++;
    }
    return renameat(from_dir, from, to_dir, to);
}

/* Whatever gets a name that is trusted later is on the disk by then, small or not. */
static void check_flushes(const struct wl_store_ops *ops, const char *root, unsigned count)
{
    struct wl_listing_file files[] = {stored_file("config.json", "{}", false),
                                      stored_file("sub/a.json", "content", false)};
    struct wl_listing listing = listing_of(files, 2);
    struct wl_sys table = wl_sys_real;
    struct wload_error err = {0};
    struct wl_store store;

    table.pwrite = noted_pwrite;
    table.fsync = noted_fsync;
    table.renameat = noted_renameat;
    wl_sys = &table;
    flushes = named = 0;
    CHECK_OK(wl_store_init(&store, ops, &config, &quiet, WL_HUB_MODEL, "org/name", tree_path(root),
                           STORED_COMMIT, &err),
             &err);
    begin(&store, &listing);
    bring(&store, &files[0], "{}");
    bring(&store, &files[1], "content");
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    wl_store_clear(&store);
    wl_sys = &wl_sys_real;
    CHECK_EQ(named, count);
    CHECK_EQ(flushes, config.never_flushes ? 0 : count);
}

/* ---- Caches that are only read, content that is wrong ------------------------------- */

static int read_only_openat(int dir, const char *path, int flags, unsigned mode)
{
    if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) != 0) {
        errno = EROFS;
        return -1;
    }
    return openat(dir, path, flags, mode);
}

static int read_only_mkdirat(int dir, const char *path, mode_t mode)
{
    struct stat status;

    (void)mode;
    errno = fstatat(dir, path, &status, 0) == 0 ? EEXIST : EROFS;
    return -1;
}

static void check_read_only(void)
{
    struct wl_listing_file file = stored_file("a.json", "content", false);
    struct wl_listing_file missing = stored_file("b.json", "more", false);
    struct wl_store store = open_store("theirs", STORED_COMMIT);
    struct wl_sys table = wl_sys_real;
    struct wload_error err = {0};
    char hash[WL_HUB_HASH_BYTES];
    struct wl_lock lock;

    begin(&store, &(struct wl_listing){0});
    bring(&store, &file, "content");
    table.openat = read_only_openat;
    table.mkdirat = read_only_mkdirat;
    wl_sys = &table;
    CHECK_EQ(store.ops->find(&store, &file, &err), 1);
    CHECK_EQ(store.ops->find(&store, &missing, &err), 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &never_canceled, &err), 1);
    CHECK(wl_store_hash(&store, file.name, hash));
    CHECK_OK(store.ops->lock(&store, &missing, &lock, &err), &err);
    CHECK(!lock.is_held);
    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    CHECK_EQ(stored_bring(&store, &missing, "more", &err), WLOAD_ERR_IO);
    CHECK_EQ(err.sys_errno, EROFS);
    wl_sys = &wl_sys_real;
    wl_store_clear(&store);
}

static void check_quarantine(void)
{
    struct wl_listing_file file = stored_file("a.json", "content", true);
    struct wl_listing_file twin = stored_file("x/y/twin.json", "content", true);
    struct wl_listing_file other = stored_file("b.json", "other", true);
    struct wl_store first = open_store("wrong", STORED_COMMIT);
    struct wl_store second = open_store("wrong", STORED_OTHER);
    struct wload_error err = {0};
    struct wl_lock lock;
    char expected[256];
    char *moved = NULL;

    begin(&first, &(struct wl_listing){0});
    begin(&second, &(struct wl_listing){0});
    bring(&first, &file, "content");
    bring(&first, &other, "other");
    CHECK_EQ(stored_fetch(&second, &twin, "content", &err), 1); /* there for the first already */
    CHECK_EQ(second.ops->find(&second, &twin, &err), 1);

    CHECK_OK(first.ops->lock(&first, &file, &lock, &err), &err);
    CHECK_EQ(wl_store_quarantine(&second, &twin, &moved, &err), WLOAD_ERR_LOCKED);
    wl_lock_release(&lock);
    CHECK_OK(wl_store_quarantine(&second, &twin, &moved, &err), &err);
    stored_check_text(moved, "content");
    (void)snprintf(expected, sizeof(expected), "/models--org--name/blobs/%s.", file.hash);
    CHECK(strstr(moved, expected) != NULL);
    CHECK_STR(moved + strlen(moved) - strlen(".01234567.quarantined") + 9, ".quarantined");
    wl_sys->free(moved);
    moved = NULL;

    /* Missing for everybody, and the rest is where it was. */
    CHECK_EQ(first.ops->adopt(&first, &file, &never_canceled, &err), 0);
    CHECK_EQ(second.ops->adopt(&second, &twin, &never_canceled, &err), 0);
    CHECK_EQ(first.ops->find(&first, &other, &err), 1);
    CHECK_EQ(stored_count(tree_path("wrong/models--org--name/snapshots"), ""), 1);
    CHECK_EQ(wl_store_quarantine(&first, &file, &moved, &err), WLOAD_ERR_NOT_FOUND);
    CHECK(moved == NULL);
    bring(&first, &file, "content");
    wl_store_clear(&first);
    wl_store_clear(&second);
}

int main(void)
{
    struct wl_sys table = wl_sys_real;

    check_layout();
    check_notes();
    check_refusals();
    check_refs();
    check_shared_blob();
    check_links();
    check_planted();
    check_obstacles();
    check_case(&wl_store_hub);
    check_case(&wl_store_plain);
    config.has_no_links = true;
    check_without_links("files");
    config.has_no_links = false;
    table.symlinkat = no_symlinks;
    wl_sys = &table;
    check_without_links("impossible");
    wl_sys = &wl_sys_real;
    check_flushes(&wl_store_hub, "power", 2 + 3);       /* the tag, the listing, the ref */
    check_flushes(&wl_store_plain, "plain", 2 + 2 + 3); /* records; the tags, the listing */
    config.never_flushes = true;
    check_flushes(&wl_store_hub, "thrown-away", 2 + 3);
    config.never_flushes = false;
    check_read_only();
    check_quarantine();
    return 0;
}
