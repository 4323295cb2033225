/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a map finds what was added, and only that; keys that a weak hash would
 * throw together cost no more than others.
 * Method: numbers as keys against what is known of them; a hundred thousand keys of
 * one length that differ in few bits, counted in slots walked past.
 */
#include "base/map.h"

#include "test.h"

#define KEY_COUNT 100000u

static char keys[KEY_COUNT][40];

/* The longest run of full slots: what the unluckiest look-up walks past. */
static size_t longest_run(const struct wl_map *map)
{
    size_t longest = 0;
    size_t run = 0;

    for (size_t i = 0; i < map->slot_count; i++) {
        run = map->slots[i].key ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

int main(void)
{
    struct wl_map map = {0};
    uint32_t value;

    CHECK(!wl_map_find(&map, "nothing was added", &value));
    CHECK(wl_map_init(&map, KEY_COUNT));
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "model.layers.%08u.weight", i);
        value = i;
        CHECK(wl_map_add(&map, keys[i], &value));
    }
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        char copy[sizeof(keys[i])];

        memcpy(copy, keys[i], sizeof(copy));
        CHECK(wl_map_find(&map, copy, &value));
        CHECK_EQ(value, i);
        value = UINT32_MAX;
        CHECK(!wl_map_add(&map, copy, &value));
        CHECK_EQ(value, i);
        copy[0] = 'M';
        CHECK(!wl_map_find(&map, copy, &value));
    }
    CHECK(longest_run(&map) < 200);
    wl_map_clear(&map);
    CHECK(!wl_map_find(&map, keys[0], &value));

    CHECK(wl_map_init(&map, 2));
    value = 5;
    CHECK(wl_map_add(&map, "", &value) && wl_map_find(&map, "", &value));
    CHECK_EQ(value, 5);
    wl_map_clear(&map);
    CHECK(!wl_map_init(&map, SIZE_MAX / 16));
    return 0;
}
