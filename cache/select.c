/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/select.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/sys.h"

#define WEIGHTS_SUFFIX      ".safetensors"
#define INDEX_SUFFIX        ".json"
#define SHARD_DIGITS_MAX    9u
#define CANDIDATE_BYTES_MAX 300

/* Stems that loaders look for by name, the first one first.  Any other ranks behind. */
static const char *const known_stems[] = {"model", "diffusion_pytorch_model"};

enum {
    RANK_MODEL,
    RANK_DIFFUSION,
    RANK_OTHER
};

/* A name taken apart: STEM[-SHARD-of-SHARDS][.VARIANT], in either order. */
struct part {
    const char *name;
    size_t stem_bytes;
    const char *variant; /* not terminated; NULL: none */
    size_t variant_bytes;
    uint32_t shard;
    uint32_t shard_count; /* 0: not one of a set */
    bool is_index;
    bool is_wanted;
};

/* ---- One name ---------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The number whose digits end at name[*end]; moves *end to where they begin. */
static bool take_number(const char *name, size_t *end, uint32_t *number)
{
    size_t begin = *end;
    uint32_t value = 0;

    while (begin > 0 && is_digit(name[begin - 1])) {
        begin--;
    }
    if (begin == *end || *end - begin > SHARD_DIGITS_MAX) {
        return false;
    }
    for (size_t i = begin; i < *end; i++) {
        value = value * 10 + (uint32_t)(name[i] - '0');
    }
    *number = value;
    *end = begin;
    return true;
}

/* Take "-00001-of-00002" off the end of the stem. */
static void take_shard(struct part *part)
{
    static const char middle[] = "-of-";
    const size_t middle_bytes = sizeof(middle) - 1;
    size_t end = part->stem_bytes;
    uint32_t shard, shard_count;

    if (!take_number(part->name, &end, &shard_count) || shard_count == 0 || end < middle_bytes ||
        memcmp(part->name + end - middle_bytes, middle, middle_bytes) != 0) {
        return;
    }
    end -= middle_bytes;
    if (!take_number(part->name, &end, &shard) || end < 2 || part->name[end - 1] != '-') {
        return;
    }
    part->stem_bytes = end - 1;
    part->shard = shard;
    part->shard_count = shard_count;
}

/* Take ".fp16" off the end of the stem: the variant that is asked for, or what may be one. */
static void take_variant(struct part *part, const char *asked)
{
    size_t asked_bytes = asked ? strlen(asked) : 0;
    size_t at = part->stem_bytes;

    if (asked && at > asked_bytes + 1 && part->name[at - asked_bytes - 1] == '.' &&
        memcmp(part->name + at - asked_bytes, asked, asked_bytes) == 0) {
        at -= asked_bytes;
    } else {
        while (at > 0 && part->name[at - 1] != '.') {
            at--;
        }
        if (at < 2 || at == part->stem_bytes || !is_letter(part->name[at])) {
            return;
        }
    }
    part->variant = part->name + at;
    part->variant_bytes = part->stem_bytes - at;
    part->stem_bytes = at - 1;
}

/* "index", "index.VARIANT" or "VARIANT.index" between ".safetensors." and ".json". */
static bool split_index(struct part *part, const char *middle, size_t bytes)
{
    static const char word[] = "index";
    const size_t word_bytes = sizeof(word) - 1;

    part->is_index = true;
    if (bytes < word_bytes) {
        return false;
    }
    if (memcmp(middle, word, word_bytes) == 0) {
        part->variant = middle + word_bytes + 1;
    } else if (memcmp(middle + bytes - word_bytes, word, word_bytes) == 0) {
        part->variant = middle;
    } else {
        return false;
    }
    if (bytes == word_bytes) {
        part->variant = NULL;
        return true;
    }
    part->variant_bytes = bytes - word_bytes - 1;
    return part->variant_bytes > 0 &&
           (part->variant == middle ? middle[part->variant_bytes] : middle[word_bytes]) == '.';
}

static bool split(const char *name, const char *asked, struct part *part)
{
    static const char mark[] = WEIGHTS_SUFFIX ".";
    const char *at = strstr(name, mark);

    *part = (struct part){.name = name};
    if (name[0] == '.') {
        return false; /* hidden: left behind by some tool */
    }
    if (wl_str_ends(name, WEIGHTS_SUFFIX)) {
        part->stem_bytes = strlen(name) - strlen(WEIGHTS_SUFFIX);
        take_shard(part);
        take_variant(part, asked);
        if (part->shard_count == 0) {
            take_shard(part);
        }
        return part->stem_bytes > 0;
    }
    if (!at || !wl_str_ends(name, INDEX_SUFFIX)) {
        return false;
    }
    part->stem_bytes = (size_t)(at - name);
    at += strlen(mark);
    if (strlen(at) <= strlen(INDEX_SUFFIX) ||
        !split_index(part, at, strlen(at) - strlen(INDEX_SUFFIX))) {
        return false;
    }
    if (!part->variant) {
        take_variant(part, asked);
    }
    return part->stem_bytes > 0;
}

bool wl_select_knows(const char *name)
{
    struct part part;

    return split(name, NULL, &part);
}

bool wl_select_is_variant(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (!is_letter(*at) && !is_digit(*at) && !strchr("._-", *at)) {
            return false;
        }
    }
    return text[0] != '\0';
}

static unsigned rank_of(const struct part *part)
{
    for (unsigned i = 0; i < WL_COUNT_OF(known_stems); i++) {
        if (strlen(known_stems[i]) == part->stem_bytes &&
            memcmp(known_stems[i], part->name, part->stem_bytes) == 0) {
            return i;
        }
    }
    return RANK_OTHER;
}

/* ---- All names --------------------------------------------------------------- */

struct choice {
    const char *folder;
    const char *variant;
    struct part *parts;
    uint32_t count;
    uint32_t *picks;
};

static bool same_set(const struct part *a, const struct part *b)
{
    return a->stem_bytes == b->stem_bytes && memcmp(a->name, b->name, a->stem_bytes) == 0 &&
           a->shard_count == b->shard_count && a->variant_bytes == b->variant_bytes &&
           (!a->variant || memcmp(a->variant, b->variant, a->variant_bytes) == 0);
}

/* Whether a file's name is that stem and nothing else, be it with a dot in it. */
static bool is_plain_of(const struct part *part, const char *stem, size_t stem_bytes)
{
    size_t bytes = part->stem_bytes;

    if (part->variant && part->variant == part->name + bytes + 1) {
        bytes += 1 + part->variant_bytes;
    } else if (part->variant) {
        return false;
    }
    return part->name && bytes == stem_bytes && memcmp(part->name, stem, bytes) == 0;
}

/*
 * A dot in a file's name need not mean a variant ("flux.1-dev.safetensors"): it
 * does where loaders know the stem, or where the plain file lies beside it.
 */
static bool is_of_variant(const struct choice *choice, const struct part *part)
{
    if (!part->variant || rank_of(part) < RANK_OTHER) {
        return part->variant != NULL;
    }
    for (uint32_t i = 0; i < choice->count; i++) {
        if (is_plain_of(&choice->parts[i], part->name, part->stem_bytes)) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(const struct choice *choice, const struct part *part)
{
    if (!choice->variant) {
        return !is_of_variant(choice, part);
    }
    return part->variant && strlen(choice->variant) == part->variant_bytes &&
           memcmp(choice->variant, part->variant, part->variant_bytes) == 0;
}

/* What an ambiguity is between, for the message. */
static int refuse_ambiguous(const struct choice *choice, bool (*filter)(const struct part *),
                            struct wload_error *err)
{
    char list[CANDIDATE_BYTES_MAX] = "";
    size_t used = 0;

    for (uint32_t i = 0; i < choice->count; i++) {
        const struct part *part = &choice->parts[i];

        if (part->is_wanted && filter(part) && used + strlen(part->name) + 8 < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s'%s'",
                                     used > 0 ? ", " : "", part->name);
        } else if (part->is_wanted && filter(part)) {
            (void)snprintf(list + used, sizeof(list) - used, " ...");
            break;
        }
    }
    return wl_err_set(err, WLOAD_ERR_SPEC, "'%s' has more than one set of weights, name one: %s",
                      choice->folder, list);
}

static bool is_index(const struct part *part)
{
    return part->is_index;
}

static bool is_weights(const struct part *part)
{
    return !part->is_index;
}

/* The wanted single file of that rank.  Returns 1, or 0 if there is none. */
static int pick_single(struct choice *choice, unsigned rank)
{
    for (uint32_t i = 0; i < choice->count; i++) {
        const struct part *part = &choice->parts[i];

        if (part->is_wanted && !part->is_index && part->shard_count == 0 && rank_of(part) == rank) {
            choice->picks[0] = i;
            return 1;
        }
    }
    return 0;
}

static int pick_index(struct choice *choice, struct wload_error *err)
{
    unsigned best = RANK_OTHER + 1;
    uint32_t best_count = 0;

    for (uint32_t i = 0; i < choice->count; i++) {
        const struct part *part = &choice->parts[i];

        if (!part->is_wanted || !part->is_index || rank_of(part) > best) {
            continue;
        }
        best_count = rank_of(part) < best ? 1 : best_count + 1;
        best = rank_of(part);
        choice->picks[0] = i;
    }
    return best_count > 1 ? refuse_ambiguous(choice, is_index, err) : (int)best_count;
}

static int check_whole(const struct choice *choice, int picked, struct wload_error *err)
{
    const struct part *first = &choice->parts[choice->picks[0]];
    uint32_t expected = 1;

    for (int i = 0; i < picked; i++) {
        expected += choice->parts[choice->picks[i]].shard == expected;
    }
    if ((uint32_t)picked < first->shard_count) {
        return wl_err_set(
            err, WLOAD_ERR_NOT_FOUND,
            "'%s' has %d of the %u shards of '%s', and no index; number %u is missing",
            choice->folder, picked, first->shard_count, first->name, expected);
    }
    if ((uint32_t)picked > first->shard_count) {
        return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has %d shards where '%s' says %u",
                          choice->folder, picked, first->name, first->shard_count);
    }
    return picked;
}

/* Without an index: one whole set of numbered shards, or else all files that are in none. */
static int pick_weights(struct choice *choice, struct wload_error *err)
{
    const struct part *first = NULL;
    int picked = 0;

    for (uint32_t i = 0; i < choice->count; i++) {
        const struct part *part = &choice->parts[i];

        if (!part->is_wanted || part->is_index) {
            continue;
        }
        if (first && (first->shard_count > 0 || part->shard_count > 0) && !same_set(first, part)) {
            return refuse_ambiguous(choice, is_weights, err);
        }
        first = part;
        choice->picks[picked++] = i;
    }
    return first && first->shard_count > 0 ? check_whole(choice, picked, err) : picked;
}

static int pick(struct choice *choice, struct wload_error *err)
{
    int picked = pick_single(choice, RANK_MODEL);

    if (picked == 0) {
        picked = pick_index(choice, err);
    }
    if (picked == 0) {
        picked = pick_single(choice, RANK_DIFFUSION);
    }
    if (picked == 0) {
        picked = pick_weights(choice, err);
    }
    return picked;
}

int wl_select(const char *folder, const char *const *names, uint32_t count, const char *variant,
              uint32_t *picks, struct wload_error *err)
{
    struct choice choice = {.folder = folder, .variant = variant, .count = count, .picks = picks};
    const char *known = NULL;
    int rc;

    choice.parts = wl_sys_array(count, sizeof(choice.parts[0]));
    if (!choice.parts) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for the files of '%s'", folder);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!split(names[i], variant, &choice.parts[i])) {
            choice.parts[i] = (struct part){0};
        }
        known = choice.parts[i].name ? choice.parts[i].name : known;
    }
    for (uint32_t i = 0; i < count; i++) {
        choice.parts[i].is_wanted = choice.parts[i].name && is_wanted(&choice, &choice.parts[i]);
    }
    rc = pick(&choice, err);
    if (rc == 0 && !variant && known) {
        rc = wl_err_set(err, WLOAD_ERR_NOT_FOUND,
                        "'%s' has only variants of its weights, for example '%s': ask for one",
                        folder, known);
    }
    wl_sys->free(choice.parts);
    return rc;
}
