/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <endian.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/base.h"
#include "base/sys.h"

/* ---- SipHash-1-3: fast, and unpredictable without its key ------------------ */

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint32_t hash_of(const uint64_t seed[2], const char *key)
{
    size_t size = strlen(key);
    uint64_t last = (uint64_t)size << 56;
    uint64_t word;
    uint64_t v[4];

    v[0] = seed[0] ^ 0x736f6d6570736575u;
    v[1] = seed[1] ^ 0x646f72616e646f6du;
    v[2] = seed[0] ^ 0x6c7967656e657261u;
    v[3] = seed[1] ^ 0x7465646279746573u;
    for (; size >= sizeof(word); key += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, key, sizeof(word));
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < size; i++) {
        last |= (uint64_t)(unsigned char)key[i] << (8 * i);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    word = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(word ^ word >> 32);
}

/* ---- The map ---------------------------------------------------------------- */

bool wl_map_init(struct wl_map *map, size_t key_count)
{
    size_t slot_count = 8;

    while (slot_count / 2 < key_count) {
        slot_count *= 2;
    }
    /* Sixteen random bytes that the kernel gives every process. */
    memcpy(map->seed, (const void *)(uintptr_t)getauxval(AT_RANDOM), sizeof(map->seed));
    map->slots = wl_sys_array(slot_count, sizeof(map->slots[0]));
    map->slot_count = map->slots ? slot_count : 0;
    return map->slots != NULL;
}

void wl_map_clear(struct wl_map *map)
{
    wl_sys->free(map->slots);
    *map = (struct wl_map){0};
}

/* The slot that holds the key, or the empty one where it belongs. */
static struct wl_map_slot *slot_of(const struct wl_map *map, const char *key, uint32_t hash)
{
    for (size_t i = hash;; i++) {
        struct wl_map_slot *slot = &map->slots[i & (map->slot_count - 1)];

        if (!slot->key || (slot->hash == hash && strcmp(slot->key, key) == 0)) {
            return slot;
        }
    }
}

bool wl_map_add(struct wl_map *map, const char *key, uint32_t *value)
{
    uint32_t hash = hash_of(map->seed, key);
    struct wl_map_slot *slot = slot_of(map, key, hash);

    if (slot->key) {
        *value = slot->value;
        return false;
    }
    *slot = (struct wl_map_slot){.key = key, .hash = hash, .value = *value};
    return true;
}

bool wl_map_find(const struct wl_map *map, const char *key, uint32_t *value)
{
    struct wl_map_slot *slot;

    if (map->slot_count == 0) {
        return false;
    }
    slot = slot_of(map, key, hash_of(map->seed, key));
    if (!slot->key) {
        return false;
    }
    *value = slot->value;
    return true;
}
