/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a snapshot that took its commit from the cache's own ref does not turn back a ref that
 * another process has moved since.
 * Method: a cache made by hand is opened without a network; the ref is written anew; then a fetch
 * finds all files there.
 */
#include "tree.h"

#define REPO   "cache/models--org--name/"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define NEWER  "fedcba9876543210fedcba9876543210fedcba98"

static void check_ref(const char *commit)
{
    char text[64] = "";
    int fd = open(tree_path(REPO "refs/main"), O_RDONLY);

    CHECK(fd >= 0);
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    CHECK_EQ(close(fd), 0);
    CHECK_STR(text, commit);
}

int main(void)
{
    const struct wload_snapshot_options options = {
        .struct_size = sizeof(options),
        .cache_dir = tree_path("cache"),
        .network = WLOAD_NETWORK_OFF,
    };
    struct wload_snapshot *snapshot;
    struct wload_error err = {0};

    CHECK_EQ(unsetenv("WLOAD_CACHE"), 0);
    CHECK_EQ(unsetenv("AIM_CACHE_PATH"), 0);
    tree_write_text(REPO "refs/main", COMMIT);
    tree_write_text(REPO "snapshots/" COMMIT "/config.json", "{}");
    CHECK_OK(wload_snapshot_open(NULL, "org/name", &options, &snapshot, &err), &err);
    CHECK_STR(snapshot->commit, COMMIT);

    tree_write_text(REPO "refs/main", NEWER);
    CHECK_OK(wload_snapshot_fetch(snapshot, NULL, &err), &err);
    check_ref(NEWER);
    wload_snapshot_free(snapshot);
    return 0;
}
