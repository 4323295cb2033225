/* SPDX-License-Identifier: Apache-2.0 */
/* The cache that loads look into and that downloads go to, or what exists of the way there. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "bench/probe.h"
#include "bench/snapshot.h"

/* Cut from the end of an absolute path what does not exist. */
static void cut_to_existing(char *path)
{
    struct stat status;

    while (stat(path, &status) < 0 && errno == ENOENT && strcmp(path, "/") != 0) {
        char *slash = strrchr(path, '/');

        slash[slash == path] = '\0';
    }
}

/* What a download does first there: make a directory.  0 or an errno. */
static int try_to_make(const char *path)
{
    char *name = wl_str_new("%s/.wload-doctor-XXXXXX", path);
    int error = ENOMEM;

    if (name) {
        error = mkdtemp(name) && rmdir(name) == 0 ? 0 : errno;
    }
    wl_sys->free(name);
    return error;
}

static void judge(struct probe_finding *finding, const char *path, const char *existing)
{
    int error = try_to_make(existing);

    if (error != 0) {
        probe_judge(finding, PROBE_DEGRADED, error,
                    "no download can be kept: '%s' takes no new directory", existing);
        probe_remedy(finding, "set HF_HUB_CACHE or HF_HOME to a directory that you may write to");
    } else if (strcmp(path, existing) == 0) {
        probe_judge(finding, PROBE_OK, 0, "can be written to");
    } else {
        probe_judge(finding, PROBE_OK, 0, "not there yet, can be made in '%s'", existing);
    }
}

void probe_cache(struct probe_findings *findings)
{
    char *path = snapshot_cache_path();
    bool is_nowhere = path && path[0] == '~';
    char *existing = NULL;
    struct probe_finding *finding;

    if (path && !is_nowhere && wl_path_resolve(&path, NULL) == WLOAD_OK) {
        existing = wl_str_new("%s", path);
    }
    if (existing) {
        cut_to_existing(existing);
        if (access(existing, R_OK) == 0) {
            probe_path(findings, existing);
        }
    }
    finding = probe_add(findings, "cache", path ? path : "");
    if (existing) {
        judge(finding, path, existing);
    } else {
        probe_judge(finding, PROBE_DEGRADED, 0, "nobody can tell where it is");
        probe_remedy(finding, "set HF_HOME to an absolute path");
    }
    wl_sys->free(existing);
    wl_sys->free(path);
}
