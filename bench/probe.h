/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes of `wload doctor`: each tries one thing that loads use, and adds findings.
 * A finding is one line, and a remedy where something is not as it could be.
 */
#ifndef WLOAD_PROBE_H
#define WLOAD_PROBE_H

#include <stddef.h>

#include "base/library.h"

#define PROBE_FINDINGS_MAX 128

enum probe_verdict {
    PROBE_OK,
    PROBE_DEGRADED, /* loads work, but less well */
    PROBE_ABSENT,   /* not here; loads do without it */
    PROBE_BROKEN    /* here, and stops loads */
};

struct probe_finding {
    const char *name;  /* of the probe, the same for ever */
    char subject[256]; /* the path or device; empty: the machine */
    enum probe_verdict verdict;
    int sys_errno; /* 0: no call failed */
    char text[512];
    char remedy[512]; /* empty: nothing to do */
};

struct probe_findings {
    struct probe_finding items[PROBE_FINDINGS_MAX];
    size_t count;
};

/* One more finding, to be completed by the two functions below.  Beyond the limit the last one is
 * overwritten. */
struct probe_finding *probe_add(struct probe_findings *findings, const char *name,
                                const char *subject);
__attribute__((format(printf, 4, 5))) void probe_judge(struct probe_finding *finding,
                                                       enum probe_verdict verdict, int sys_errno,
                                                       const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void probe_remedy(struct probe_finding *finding,
                                                        const char *fmt, ...);

/* A library that could not be loaded: absent, or here and of no use.  `need` says who can do
 * without. */
void probe_judge_library(struct probe_finding *finding, const struct wl_library *library,
                         const struct wload_error *why, const char *need);

/* io_uring, its features and the limit on locked memory. */
void probe_uring(struct probe_findings *findings);
/* Reading files at `path`, with and without O_DIRECT. */
void probe_path(struct probe_findings *findings, const char *path);
/* The cache of models: can it be written to?  And the same as of a path. */
void probe_cache(struct probe_findings *findings);
/* Page cache, huge pages, control group, NUMA, open files. */
void probe_machine(struct probe_findings *findings);
/* The library that downloads need, and the one that `wload serve` needs. */
void probe_libcurl(struct probe_findings *findings);
void probe_microhttpd(struct probe_findings *findings);
/* GPUs, their drivers, and kernels for them. */
void probe_devices(struct probe_findings *findings);

#endif /* WLOAD_PROBE_H */
