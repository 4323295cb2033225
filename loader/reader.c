/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/reader.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"

static const struct wl_reader_ops *const readers[] = {&wl_reader_uring, &wl_reader_pread};

/* What was refused comes before what is used. */
static void prefix_note(struct wl_reader *reader, const char *refusals)
{
    char how[WL_NOTE_BYTES];

    memcpy(how, reader->note, sizeof(how));
    (void)snprintf(reader->note, sizeof(reader->note), "%.120s%.120s", refusals, how);
}

int wl_reader_open(enum wload_reader_kind kind, const struct wl_reader_request *request,
                   struct wl_reader **out, struct wload_error *err)
{
    char refusals[WL_NOTE_BYTES] = "";

    for (size_t i = 0; i < WL_COUNT_OF(readers); i++) {
        struct wload_error why;
        size_t used = strlen(refusals);
        int rc;

        if (kind != WLOAD_READER_AUTO && kind != readers[i]->kind) {
            continue;
        }
        rc = readers[i]->open(request, out, &why);
        if (rc == WLOAD_OK) {
            prefix_note(*out, refusals);
            WL_LOG(request->log, WLOAD_LOG_INFO, "reader", "%s: %s", readers[i]->name,
                   (*out)->note);
            return WLOAD_OK;
        }
        if (kind != WLOAD_READER_AUTO || i + 1 == WL_COUNT_OF(readers)) {
            if (err) {
                *err = why;
            }
            return rc;
        }
        (void)snprintf(refusals + used, sizeof(refusals) - used, "%.100s; ", why.message);
    }
    return wl_err_set(err, WLOAD_ERR_INVALID, "there is no reader of kind %d", (int)kind);
}
