/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a plain directory holds the files and, apart, what is known about them, as other tools
 * write and read it; a file is trusted for its record or its content, never for its size; what is
 * not there and should be is told by the listings that the directory keeps.
 * Method: files are brought as a fetch brings them, changed, aged and replaced; records are
 * written in every shape that is none, and listings of several commits.
 */
#include <time.h>

#include "base/sys.h"
#include "stored.h"

#define KEPT   "dir/.cache/huggingface"
#define RECORD KEPT "/download/sub/model.safetensors.metadata"
#define PATH   "dir/sub/model.safetensors"
#define NAME   "sub/model.safetensors"

static const struct wl_log quiet;
static const struct wl_config config;

static struct wl_store open_store(const char *commit)
{
    struct wl_store store;
    struct wload_error err = {0};

    CHECK_OK(wl_store_init(&store, &wl_store_plain, &config, &quiet, WL_HUB_MODEL, "org/name",
                           tree_path("dir"), commit, &err),
             &err);
    return store;
}

static int find(const struct wl_store *store, const struct wl_listing_file *file)
{
    struct wload_error err = {0};

    return store->ops->find(store, file, &err);
}

static int adopt(struct wl_store *store, const struct wl_listing_file *file)
{
    struct wload_error err = {0};

    return store->ops->adopt(store, file, &never_canceled, &err);
}

/* Set when the file was last changed. */
static void age(int64_t seconds, long nanoseconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds},
                                      {.tv_sec = seconds, .tv_nsec = nanoseconds}};

    CHECK_EQ(utimensat(AT_FDCWD, tree_path(PATH), times, 0), 0);
}

static void check_record(const char *commit, const char *hash)
{
    struct stat status = stored_status(tree_path(PATH));
    char text[256];

    (void)snprintf(text, sizeof(text), "%s\n%s\n%lld.%06ld\n", commit, hash,
                   (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec / 1000);
    stored_check_text(tree_path(RECORD), text);
}

static void check_layout(void)
{
    struct wl_listing_file files[] = {stored_file(NAME, "weights", true)};
    struct wl_listing listing = {.files = files, .count = 1, .is_complete = true};
    struct wl_store store = open_store(STORED_COMMIT);
    struct wl_partial_place place;
    struct wload_error err = {0};
    char expected[256];
    mode_t mask = umask(0027);

    CHECK_EQ(find(&store, &files[0]), 0);
    CHECK_OK(store.ops->begin(&store, &listing, &err), &err);
    CHECK_OK(stored_fetch(&store, &files[0], "weights", &err), &err);
    (void)umask(mask);
    CHECK_EQ(find(&store, &files[0]), 1);
    stored_check_text(tree_path(PATH), "weights");
    CHECK_EQ(stored_status(tree_path(PATH)).st_mode, S_IFREG | 0640);
    check_record(STORED_COMMIT, files[0].hash);
    stored_check_text(tree_path(KEPT "/.gitignore"), "*");
    CHECK_EQ(access(tree_path(KEPT "/CACHEDIR.TAG"), F_OK), 0);
    CHECK_EQ(access(tree_path(KEPT "/download/sub/model.safetensors.lock"), F_OK), 0);
    CHECK_EQ(stored_status(tree_path(KEPT "/trees/" STORED_COMMIT ".json")).st_mode & 07777, 0640);

    CHECK_OK(store.ops->place(&store, &files[0], &place, &err), &err);
    CHECK_STR(place.folder, tree_path(KEPT "/download/sub"));
    (void)snprintf(expected, sizeof(expected), "xGOKKLRSlIhH692hSVvI1-gpoa8=.%s", files[0].hash);
    CHECK_STR(place.stem, expected);
    CHECK_STR(place.hash, files[0].hash);
    wl_store_place_clear(&place);
    files[0].name = (char *)(uintptr_t) "a.json";
    CHECK_OK(store.ops->place(&store, &files[0], &place, &err), &err);
    CHECK_STR(place.folder, tree_path(KEPT "/download"));
    CHECK(strstr(place.stem, "oZ4zD29_vdP3qrdCp3wWEuQcQmc=.") == place.stem);
    wl_store_place_clear(&place);

    CHECK_OK(store.ops->finish(&store, "main", &err), &err);
    CHECK_EQ(stored_count(tree_path("dir"), ""), 6); /* file, record, lock, tree, two of git's */
    wl_store_clear(&store);
}

/* By its record while the file is not changed, else by its content. */
static void check_trust(bool is_large)
{
    struct wl_listing_file file = stored_file(NAME, "weights", is_large);
    struct wl_listing_file changed = stored_file(NAME, "WEIGHTS", is_large);
    struct wl_listing_file unknown = {.name = file.name, .size_bytes = file.size_bytes};
    struct wl_store store = open_store(STORED_COMMIT);
    struct wl_store other = open_store(STORED_OTHER);
    char hash[WL_HUB_HASH_BYTES];

    (void)unlink(tree_path(RECORD));
    tree_write_text(PATH, "weights");
    CHECK_EQ(find(&store, &unknown), 1); /* a directory that was filled by hand */
    CHECK_EQ(find(&store, &file), 0);
    CHECK(!wl_store_hash(&store, NAME, hash));
    CHECK_EQ(adopt(&store, &changed), 0);
    CHECK_EQ(adopt(&store, &file), 1);
    check_record(STORED_COMMIT, file.hash);
    CHECK_EQ(find(&store, &file), 1);
    CHECK_EQ(find(&store, &changed), 0); /* the size of both is the same */
    CHECK(wl_store_hash(&store, NAME, hash));
    CHECK_STR(hash, file.hash);

    CHECK_EQ(find(&other, &file), 1);
    CHECK_EQ(adopt(&other, &file), 1); /* in another commit it is the same */
    check_record(STORED_OTHER, file.hash);

    tree_write_text(PATH, "WEIGHTS");
    age(stored_status(tree_path(PATH)).st_mtim.tv_sec + 3, 0);
    CHECK_EQ(find(&store, &file), 0);
    CHECK_EQ(adopt(&store, &file), 0);
    CHECK_EQ(adopt(&store, &changed), 1);
    tree_write_text(PATH, "cut");
    CHECK_EQ(adopt(&store, &changed), 0);
    wl_store_clear(&store);
    wl_store_clear(&other);
}

static void check_records(void)
{
    struct wl_listing_file file = stored_file(NAME, "weights", true);
    struct wl_store store = open_store(STORED_COMMIT);
    char text[512];
    const struct {
        const char *fmt; /* of the hash */
        int is_valid;
    } cases[] = {
        {STORED_COMMIT "\n%s\n1700000000.5\n", 1},
        {STORED_COMMIT "\n%s\n1700000000.0\n", 1},
        {STORED_COMMIT "\n%s\n1700000001\n", 1},
        {STORED_COMMIT "\n%s\n1699999999.500000001\n", 1}, /* coarse clocks: a second */
        {STORED_COMMIT "\n%s\n1699999999.499999998\n", 0},
        {STORED_COMMIT "\n%s\n1700000000.1234567890123456789\n", 1},
        {STORED_COMMIT "\n%s\n1700000001", 0},
        {STORED_COMMIT "\n%s\n1700000001\n\n", 0},
        {STORED_COMMIT "\n%s\n", 0},
        {STORED_COMMIT "\n%s\n-1\n", 0},
        {STORED_COMMIT "\n%s\n1e12\n", 0},
        {STORED_COMMIT "\n%s\n99999999999999999999\n", 0},
        {STORED_COMMIT "\n%s \n1700000001\n", 0},
        {"main\n%s\n1700000001\n", 0},
        {"\n%s\n1700000001\n", 0},
        {STORED_COMMIT "\n../%s\n1700000001\n", 0},
        {"", 0},
    };

    tree_write_text(PATH, "weights");
    age(1700000000, 500000000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *at = strstr(cases[i].fmt, "%s");

        (void)snprintf(text, sizeof(text), "%.*s%s%s", at ? (int)(at - cases[i].fmt) : 0,
                       cases[i].fmt, at ? file.hash : "", at ? at + 2 : "");
        tree_write_text(RECORD, text);
        if (find(&store, &file) != cases[i].is_valid) {
            (void)fprintf(stderr, "record %zu\n", i);
            exit(1);
        }
    }
    CHECK_EQ(unlink(tree_path(RECORD)), 0);
    tree_write_text("elsewhere", text);
    CHECK_EQ(symlink("../../../../../elsewhere", tree_path(RECORD)), 0);
    CHECK_EQ(adopt(&store, &file), 1); /* planted: replaced, and what it points to is not */
    stored_check_text(tree_path("elsewhere"), text);
    CHECK(S_ISREG(stored_status(tree_path(RECORD)).st_mode));
    wl_store_clear(&store);
}

/* A file kept on another disk is found, and replaced by name, not in place. */
static void check_linked_file(void)
{
    struct wl_listing_file file = stored_file(NAME, "weights", true);
    struct wl_store store = open_store(STORED_COMMIT);
    struct wload_error err = {0};

    tree_write_text("disk/weights", "weights");
    CHECK_EQ(unlink(tree_path(PATH)), 0);
    CHECK_EQ(symlink("../../disk/weights", tree_path(PATH)), 0);
    CHECK_EQ(adopt(&store, &file), 1);
    CHECK_EQ(find(&store, &file), 1);
    file = stored_file(NAME, "another", true);
    CHECK_OK(stored_fetch(&store, &file, "another", &err), &err);
    stored_check_text(tree_path("disk/weights"), "weights");
    stored_check_text(tree_path(PATH), "another");
    wl_store_clear(&store);
}

static void check_private_names(void)
{
    static const char *const names[] = {".cache/huggingface/x", ".git/config", ".GIT/hooks/x",
                                        ".cache/HuggingFace/download/a.json.metadata"};
    struct wl_store store = open_store(STORED_COMMIT);
    struct wload_error err = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct wl_listing_file file = stored_file(names[i], "x", false);
        struct wl_partial partial = {.fd = -1};
        struct wl_partial_place place;
        struct wl_lock lock;
        char hash[WL_HUB_HASH_BYTES];
        char *moved;

        CHECK_EQ(find(&store, &file), WLOAD_ERR_FORMAT);
        CHECK_EQ(adopt(&store, &file), WLOAD_ERR_FORMAT);
        CHECK_EQ(store.ops->lock(&store, &file, &lock, &err), WLOAD_ERR_FORMAT);
        CHECK_EQ(store.ops->place(&store, &file, &place, &err), WLOAD_ERR_FORMAT);
        CHECK_EQ(store.ops->publish(&store, &file, &partial, &err), WLOAD_ERR_FORMAT);
        CHECK_EQ(wl_store_quarantine(&store, &file, &moved, &err), WLOAD_ERR_FORMAT);
        CHECK(!wl_store_hash(&store, names[i], hash));
        CHECK(strstr(err.message, names[i]) != NULL);
    }
    wl_store_clear(&store);
}

/* A folder that is a link would have files written, or taken away, elsewhere. */
static void check_planted(void)
{
    static const char *const folders[] = {"dir/sub", KEPT "/download/sub", KEPT "/download",
                                          "dir/.cache"};
    struct wl_listing_file file = stored_file(NAME, "another", true);
    struct wl_store store = open_store(STORED_COMMIT);
    struct wload_error err = {0};
    char *moved;

    tree_write_text("other/model.safetensors", "precious");
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        tree_make_folders(folders[i]);
        CHECK_EQ(rename(tree_path(folders[i]), tree_path("kept")), 0);
        CHECK_EQ(symlink(tree_path("other"), tree_path(folders[i])), 0);
        CHECK_EQ(stored_fetch(&store, &file, "another", &err), WLOAD_ERR_IO);
        CHECK(strstr(err.message, folders[i]) && strstr(err.message, "symbolic link"));
        CHECK_EQ(wl_store_quarantine(&store, &file, &moved, &err), WLOAD_ERR_IO);
        CHECK_EQ(i < 3 ? WLOAD_ERR_IO : store.ops->begin(&store, &(struct wl_listing){0}, &err),
                 WLOAD_ERR_IO);
        CHECK_EQ(stored_count(tree_path("other"), ""), 1);
        stored_check_text(tree_path("other/model.safetensors"), "precious");
        CHECK_EQ(unlink(tree_path(folders[i])), 0);
        CHECK_EQ(rename(tree_path("kept"), tree_path(folders[i])), 0);
    }
    CHECK_EQ(stored_fetch(&store, &file, "another", &err), 1); /* it was there all the time */
    wl_store_clear(&store);
}

static void check_quarantine(void)
{
    struct wl_listing_file file = stored_file(NAME, "weights", true);
    struct wl_store store = open_store(STORED_COMMIT);
    struct wload_error err = {0};
    char expected[256];
    char *moved = NULL;

    CHECK_EQ(unlink(tree_path(PATH)), 0);
    CHECK_OK(stored_fetch(&store, &file, "weights", &err), &err);
    tree_write_text(PATH, "WEIGHTS");
    CHECK_OK(wl_store_quarantine(&store, &file, &moved, &err), &err);
    (void)snprintf(expected, sizeof(expected), "%s/%s.", tree_path(KEPT "/quarantine"), file.hash);
    CHECK(strstr(moved, expected) == moved);
    CHECK(strstr(moved, ".quarantined") != NULL);
    stored_check_text(moved, "WEIGHTS");
    wl_sys->free(moved);
    CHECK(access(tree_path(PATH), F_OK) != 0);
    CHECK(access(tree_path(RECORD), F_OK) != 0);
    CHECK_EQ(wl_store_quarantine(&store, &file, &moved, &err), WLOAD_ERR_NOT_FOUND);
    CHECK_OK(stored_fetch(&store, &file, "weights", &err), &err);
    CHECK_EQ(find(&store, &file), 1);
    wl_store_clear(&store);
}

/* Which of the files a, b and c, the last of which is there, are expected with the listings that
 * are kept: "": none but that. */
static void expect(const char *commit, const char *names, int expected_rc)
{
    struct wl_listing here = {0};
    struct wl_store store = open_store("");
    struct wload_error err = {0};
    char found[32] = "";

    CHECK_OK(wl_listing_walk(&quiet, tree_path("dir"), &here, &err), &err);
    CHECK_EQ(wl_store_plain_expect(&store, commit, &here, &err), expected_rc);
    for (uint32_t i = 0; i < here.count; i++) {
        CHECK_EQ(here.files[i].hash[0] != '\0', here.files[i].name[0] != 'c');
        (void)snprintf(found + i, sizeof(found) - i, "%s", here.files[i].name);
    }
    CHECK_STR(found, names);
    CHECK_EQ(here.is_complete, names[1] != '\0');
    wl_listing_clear(&here);
    wl_store_clear(&store);
}

static void keep_listing(const char *commit, const char *names)
{
    struct wl_listing_file files[4];
    struct wl_listing listing = {.files = files, .is_complete = true};
    struct wl_store store = open_store(commit);
    struct wload_error err = {0};
    char name[4][2];

    for (; names[listing.count]; listing.count++) {
        (void)snprintf(name[listing.count], sizeof(name[0]), "%c", names[listing.count]);
        files[listing.count] = stored_file(name[listing.count], "content", false);
    }
    CHECK_OK(store.ops->begin(&store, &listing, &err), &err);
    wl_store_clear(&store);
}

/* By what the directory keeps of a commit, and of several by the one that it has most of. */
static void check_expected(void)
{
    CHECK_EQ(rename(tree_path("dir"), tree_path("earlier")), 0);
    tree_write_text("dir/c", "content");
    expect("", "c", WLOAD_OK);
    expect(STORED_COMMIT, "c", WLOAD_OK);
    keep_listing(STORED_COMMIT, "abc");
    expect("", "abc", WLOAD_OK);
    expect(STORED_COMMIT, "abc", WLOAD_OK);
    expect(STORED_OTHER, "c", WLOAD_ERR_NOT_FOUND);
    keep_listing(STORED_OTHER, "bc");
    expect("", "bc", WLOAD_OK);
    expect(STORED_COMMIT, "abc", WLOAD_OK);
    tree_write_text(KEPT "/trees/" STORED_OTHER ".json", "{}");
    expect("", "abc", WLOAD_OK);
    tree_write_text(KEPT "/trees/" STORED_COMMIT ".json", "{}");
    expect("", "c", WLOAD_OK);
}

/* ---- What takes long ------------------------------------------------------------ */

#define LONG_BYTES (5u << 20)

static atomic_bool is_canceled;
static unsigned reads_left, read_count; /* of content; then comes the cancel */

static ssize_t counting_pread(int fd, void *memory, size_t size_bytes, off_t offset)
{
    if (size_bytes >= 1u << 20) {
        read_count++;
        atomic_store(&is_canceled, --reads_left == 0);
    }
    return wl_sys_real.pread(fd, memory, size_bytes, offset);
}

/* A content is hashed by those alone who say so, and they can be stopped. */
static void check_hashing(void)
{
    static char text[LONG_BYTES + 1];
    struct wl_sys table = wl_sys_real;
    struct wl_store store = open_store(STORED_COMMIT);
    struct wload_error err = {0};
    struct wl_listing_file file;

    memset(text, 'x', LONG_BYTES);
    file = stored_file(NAME, text, true);
    (void)unlink(tree_path(PATH));
    (void)unlink(tree_path(RECORD));
    tree_write_text(PATH, text);
    table.pread = counting_pread;
    wl_sys = &table;
    reads_left = 2;
    CHECK_EQ(store.ops->adopt(&store, &file, NULL, &err), WL_STORE_UNKNOWN);
    CHECK_EQ(read_count, 0);
    CHECK_EQ(store.ops->adopt(&store, &file, &is_canceled, &err), WLOAD_ERR_CANCELED);
    CHECK_EQ(err.code, WLOAD_ERR_CANCELED);
    CHECK_EQ(read_count, 2);
    CHECK(access(tree_path(RECORD), F_OK) != 0);
    CHECK_EQ(adopt(&store, &file), 1);
    read_count = 0;
    CHECK_EQ(store.ops->adopt(&store, &file, NULL, &err), 1); /* by its record */
    CHECK_EQ(read_count, 0);
    wl_sys = &wl_sys_real;
    wl_store_clear(&store);
}

int main(void)
{
    check_layout();
    check_trust(true);
    check_trust(false);
    check_records();
    check_linked_file();
    check_private_names();
    check_planted();
    check_quarantine();
    check_expected();
    check_hashing();
    return 0;
}
