/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map from strings to numbers, of a size fixed when it is made.
 *
 * The keys are borrowed.  They may come from a hostile file: the hash is keyed
 * per process, so nobody can choose keys that collide.
 */
#ifndef WL_MAP_H
#define WL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wl_map_slot {
    const char *key; /* NULL: empty */
    uint32_t hash;
    uint32_t value;
};

struct wl_map {
    struct wl_map_slot *slots; /* open addressing, at most half full */
    size_t slot_count;         /* a power of two */
    uint64_t seed[2];
};

/* Room for `key_count` keys.  False: no memory. */
bool wl_map_init(struct wl_map *map, size_t key_count);
void wl_map_clear(struct wl_map *map);

/* False, and *value is that of before, if the key is there already. */
bool wl_map_add(struct wl_map *map, const char *key, uint32_t *value);

/* False: not there. */
bool wl_map_find(const struct wl_map *map, const char *key, uint32_t *value);

#endif /* WL_MAP_H */
