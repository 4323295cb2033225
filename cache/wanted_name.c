/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/wanted_name.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "base/sys.h"

#define INDEX_SUFFIX ".json"
#define KEY_BYTES    (WL_PATH_BYTES_MAX + 2)

static const char *const weights_suffixes[] = {
    ".safetensors", ".bin",       ".pt",        ".pth",       ".ckpt",  ".h5",       ".msgpack",
    ".onnx",        ".onnx_data", ".onnx.data", ".gguf",      ".ggml",  ".ot",       ".tflite",
    ".pkl",         ".pickle",    ".npz",       ".pb",        ".keras", ".pdparams", ".nemo",
    ".mlmodel",     ".engine",    ".joblib",    ".llamafile",
};

/* Stems of which a dot and a word behind them is a variant, whatever else is there. */
static const char *const known_stems[] = {
    "model", "diffusion_pytorch_model", "pytorch_model", "tf_model", "flax_model", "adapter_model"};

/* ---- One name -------------------------------------------------------------------------- */

/* A name taken apart: STEM[-SHARD-of-SHARDS][.WORD].SUFFIX, or STEM.SUFFIX.index[.WORD].json, the
 * middle in either order. */
struct part {
    const char *name; /* without folders */
    size_t stem_bytes;
    const char *word; /* what may be a variant; not terminated, NULL: none */
    size_t word_bytes;
};

static size_t digits_before(const char *name, size_t end)
{
    size_t begin = end;

    while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') {
        begin--;
    }
    return end - begin;
}

/* Take "-00001-of-00002" off the end of the stem. */
static void take_shard(struct part *part)
{
    size_t end = part->stem_bytes;
    size_t digits = digits_before(part->name, end);

    end -= digits;
    if (digits == 0 || end < 4 || memcmp(part->name + end - 4, "-of-", 4) != 0) {
        return;
    }
    end -= 4;
    digits = digits_before(part->name, end);
    end -= digits;
    if (digits > 0 && end > 1 && part->name[end - 1] == '-') {
        part->stem_bytes = end - 1;
    }
}

/* Take ".fp16" off the end of the stem: the variant asked for, or any word. */
static void take_word(struct part *part, const char *asked)
{
    size_t bytes = strlen(asked);
    size_t at = part->stem_bytes;

    if (at > bytes + 1 && part->name[at - bytes - 1] == '.' &&
        memcmp(part->name + at - bytes, asked, bytes) == 0) {
        at -= bytes;
    } else {
        while (at > 0 && part->name[at - 1] != '.') {
            at--;
        }
        if (at < 2 || at == part->stem_bytes ||
            !((part->name[at] | 0x20) >= 'a' && (part->name[at] | 0x20) <= 'z')) {
            return;
        }
    }
    part->word = part->name + at;
    part->word_bytes = part->stem_bytes - at;
    part->stem_bytes = at - 1;
}

/* "index", "index.WORD" or "WORD.index" between the suffix of the weights and ".json". */
static bool split_index(struct part *part, const char *middle)
{
    static const char index[] = "index";
    const size_t index_bytes = sizeof(index) - 1;
    size_t bytes = strlen(middle) - strlen(INDEX_SUFFIX);

    if (bytes < index_bytes) {
        return false;
    }
    if (bytes == index_bytes) {
        return memcmp(middle, index, bytes) == 0;
    }
    part->word_bytes = bytes - index_bytes - 1;
    if (memcmp(middle, index, index_bytes) == 0 && middle[index_bytes] == '.') {
        part->word = middle + index_bytes + 1;
        return true;
    }
    part->word = middle;
    return middle[part->word_bytes] == '.' &&
           memcmp(middle + part->word_bytes + 1, index, index_bytes) == 0;
}

/* Where the suffix of weights begins in the name of an index, and the text behind it. */
static bool find_index(const char *name, struct part *part)
{
    for (size_t i = 0; i < WL_COUNT_OF(weights_suffixes); i++) {
        const char *at = strstr(name, weights_suffixes[i]);
        size_t bytes = strlen(weights_suffixes[i]);

        if (at && at > name && at[bytes] == '.' && strlen(at + bytes) > strlen(INDEX_SUFFIX)) {
            *part = (struct part){.name = name, .stem_bytes = (size_t)(at - name)};
            if (split_index(part, at + bytes + 1)) {
                return true;
            }
        }
    }
    return false;
}

/* False: the name is of no weights. */
static bool split(const char *full_name, const char *asked, struct part *part)
{
    const char *slash = strrchr(full_name, '/');
    const char *name = slash ? slash + 1 : full_name;

    if (wl_str_ends(name, INDEX_SUFFIX)) {
        if (!find_index(name, part)) {
            return false;
        }
        if (!part->word) {
            take_word(part, asked);
        }
        return true;
    }
    for (size_t i = 0; i < WL_COUNT_OF(weights_suffixes); i++) {
        if (wl_str_ends(name, weights_suffixes[i])) {
            *part = (struct part){.name = name,
                                  .stem_bytes = strlen(name) - strlen(weights_suffixes[i])};
            take_shard(part);
            take_word(part, asked);
            take_shard(part);
            return true;
        }
    }
    return false;
}

bool wl_wanted_is_weights(const char *name)
{
    struct part part;

    return split(name, "", &part);
}

/* ---- All names ---------------------------------------------------------------------------- */

/* What there is of each stem, folder by folder. */
enum {
    HAS_PLAIN = 1,
    HAS_ASKED = 2
};

struct stems {
    struct wl_map map; /* to numbers */
    char **keys;
    uint8_t *has;
    uint32_t count;
    const char *asked;
    uint32_t asked_count;
};

static bool is_asked(const struct stems *stems, const struct part *part)
{
    return part->word && strlen(stems->asked) == part->word_bytes &&
           memcmp(stems->asked, part->word, part->word_bytes) == 0;
}

/* The folder and the stem, with `has_word` and the word, too. */
static void make_key(const char *full_name, const struct part *part, bool has_word,
                     char key[KEY_BYTES])
{
    (void)snprintf(key, KEY_BYTES, "%.*s%.*s%s%.*s", (int)(part->name - full_name), full_name,
                   (int)part->stem_bytes, part->name, has_word ? "." : "",
                   has_word ? (int)part->word_bytes : 0, has_word ? part->word : "");
}

static unsigned has_key(const struct stems *stems, const char *key)
{
    uint32_t number;

    return wl_map_find(&stems->map, key, &number) ? stems->has[number] : 0;
}

static bool note_name(struct stems *stems, const char *full_name)
{
    char key[KEY_BYTES];
    struct part part;
    uint32_t number = stems->count;

    if (!split(full_name, stems->asked, &part)) {
        return true;
    }
    make_key(full_name, &part, part.word && !is_asked(stems, &part), key);
    if (!wl_map_find(&stems->map, key, &number)) {
        stems->keys[number] = wl_str_new("%s", key);
        if (!stems->keys[number]) {
            return false;
        }
        (void)wl_map_add(&stems->map, stems->keys[number], &number);
        stems->count++;
    }
    stems->has[number] |= is_asked(stems, &part) ? HAS_ASKED : HAS_PLAIN;
    stems->asked_count += is_asked(stems, &part);
    return true;
}

static bool is_known_stem(const struct part *part)
{
    for (size_t i = 0; i < WL_COUNT_OF(known_stems); i++) {
        if (strlen(known_stems[i]) == part->stem_bytes &&
            memcmp(known_stems[i], part->name, part->stem_bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the file is of another variant, or plain while the variant asked for is there. */
static bool is_dropped(const struct stems *stems, const char *full_name)
{
    char key[KEY_BYTES];
    struct part part;

    if (!split(full_name, stems->asked, &part) || is_asked(stems, &part)) {
        return false;
    }
    make_key(full_name, &part, false, key);
    if (part.word && (is_known_stem(&part) || has_key(stems, key) != 0)) {
        return true;
    }
    make_key(full_name, &part, part.word != NULL, key);
    return (has_key(stems, key) & HAS_ASKED) != 0;
}

int wl_wanted_drop_variants(const struct wl_listing *listing, uint32_t begin, uint32_t end,
                            const char *repo, const char *variant, bool *is_wanted,
                            struct wload_error *err)
{
    struct stems stems = {
        .asked = variant,
        .keys = wl_sys_array(end - begin, sizeof(stems.keys[0])),
        .has = wl_sys_array(end - begin, sizeof(stems.has[0])),
    };
    bool is_noted = stems.keys && stems.has && wl_map_init(&stems.map, end - begin);
    int rc = WLOAD_OK;

    for (uint32_t i = begin; i < end && is_noted; i++) {
        is_noted = note_name(&stems, listing->files[i].name);
    }
    if (!is_noted) {
        rc = wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for %u files", repo, end - begin);
    } else if (stems.asked_count == 0) {
        rc = wl_err_set(err, WLOAD_ERR_NOT_FOUND, "'%s' has no weights of variant '%s'", repo,
                        variant);
    }
    for (uint32_t i = begin; i < end && rc == WLOAD_OK; i++) {
        is_wanted[i] = is_wanted[i] && !is_dropped(&stems, listing->files[i].name);
    }
    for (uint32_t i = 0; i < stems.count; i++) {
        wl_sys->free(stems.keys[i]);
    }
    wl_map_clear(&stems.map);
    wl_sys->free(stems.has);
    wl_sys->free(stems.keys);
    return rc;
}
