/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the buffer of a slot that the kernel reads into is faulted in and registered
 * before its first read, once; of one that a thread receives into neither is done, so
 * that no request waits for memory; a slot is free again when its last consumer is done.
 * Method: a reader that counts, and mincore().
 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "loader/staging.h"
#include "test.h"

#define SLOTS      2u
#define SLOT_BYTES (2u << 20) /* a huge page: what is touched in one touches no other */

static uint32_t added[SLOTS];
static uint32_t flushed;

static void count_added(struct wl_reader *reader, uint32_t slot, void *memory, size_t size_bytes)
{
    (void)reader;
    CHECK((uintptr_t)memory % SLOT_BYTES == 0);
    CHECK_EQ(size_bytes, SLOT_BYTES);
    added[slot]++;
}

static void count_flushed(struct wl_reader *reader)
{
    (void)reader;
    flushed++;
}

static uint32_t resident_pages(void *memory)
{
    static unsigned char pages[SLOT_BYTES / 4096];
    uint32_t count = 0;

    CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
    CHECK_EQ(mincore(memory, SLOT_BYTES, pages), 0);
    for (uint32_t i = 0; i < sizeof(pages); i++) {
        count += pages[i] & 1u;
    }
    return count;
}

static void check_consumers(struct wl_staging *staging, uint32_t slot)
{
    wl_staging_filled(staging, slot, 2);
    CHECK(!wl_staging_release(staging, slot));
    CHECK(!wl_staging_is_consumed(staging, slot));
    CHECK(wl_staging_release(staging, slot));
    CHECK(wl_staging_is_consumed(staging, slot));
    wl_staging_free(staging, slot);
}

int main(void)
{
    static const struct wl_reader_ops ops = {.buffer_add = count_added, .flush = count_flushed};
    struct wl_reader reader = {.ops = &ops};
    struct wl_staging staging = {0};
    struct wload_error err;
    uint32_t received, read;

    CHECK_OK(wl_staging_init(&staging, SLOT_BYTES, SLOTS, -1, &err), &err);
    staging.reader = &reader;
    received = wl_staging_take(&staging);
    read = wl_staging_take(&staging);
    CHECK_EQ(wl_staging_take(&staging), WL_SLOT_NONE);

    CHECK_EQ(resident_pages(wl_staging_buffer(&staging, received, true)), 0);
    CHECK_EQ(resident_pages(wl_staging_buffer(&staging, read, false)), SLOT_BYTES / 4096);
    CHECK_EQ(resident_pages(wl_staging_buffer(&staging, received, true)), 0);
    CHECK_EQ(added[received], 0);
    CHECK_EQ(added[read], 1);
    CHECK_EQ(flushed, 2);

    check_consumers(&staging, received);
    CHECK_EQ(wl_staging_take(&staging), received); /* the last used is the first again */
    check_consumers(&staging, received);
    check_consumers(&staging, read);
    CHECK(wl_staging_take(&staging) == read);
    CHECK(wl_staging_buffer(&staging, read, true) != NULL);
    CHECK_EQ(added[read], 1);
    check_consumers(&staging, read);
    wl_staging_clear(&staging);
    return 0;
}
