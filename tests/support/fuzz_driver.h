/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without a fuzzer: every file of its corpus, then mutations of them that
 * follow from a seed.  The target includes this and defines LLVMFuzzerTestOneInput().
 *
 *   TARGET                 the corpus in $WLOAD_SOURCE/tests/fuzz/corpus/TARGET and
 *                          FUZZ_RUNS mutations
 *   TARGET SEED [RUNS]     another seed, another number
 *   TARGET FILE...         these files alone
 *
 * With -DWLOAD_LIBFUZZER and -fsanitize=fuzzer there is no main(), and libFuzzer drives.
 */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef WLOAD_LIBFUZZER

#include <dirent.h>

#define FUZZ_RUNS       6000u
#define FUZZ_BYTES_MAX  4096u
#define FUZZ_CORPUS_MAX 64u

struct fuzz_input {
    uint8_t bytes[FUZZ_BYTES_MAX];
    size_t size;
};

static struct fuzz_input fuzz_corpus[FUZZ_CORPUS_MAX];
static unsigned fuzz_corpus_count;
static uint64_t fuzz_state;

/* What parsers trip over. */
static const char *const fuzz_tokens[] = {"{",
                                          "}",
                                          "[",
                                          "]",
                                          ",",
                                          ":",
                                          "\"",
                                          "\\",
                                          "\\u0000",
                                          "\\ud800",
                                          "\\udc00",
                                          "\\u0041",
                                          "0",
                                          "-",
                                          "-1",
                                          "1.5",
                                          "1e999",
                                          "9007199254740991",
                                          "9007199254740992",
                                          "18446744073709551616",
                                          "null",
                                          "true",
                                          "[]",
                                          "{}",
                                          "\"a\"",
                                          "\"a\":",
                                          "F4",
                                          "BF16",
                                          "__metadata__",
                                          "..",
                                          "/",
                                          "../",
                                          "://",
                                          "file://",
                                          ".safetensors",
                                          ".json",
                                          ".index",
                                          ".fp16",
                                          "-00001-of-00002",
                                          "\n",
                                          "\xff",
                                          "\xc3",
                                          "\xed\xa0\x80",
                                          "\x01",
                                          "\x7f",
                                          " "};

static uint32_t fuzz_random(size_t below)
{
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return (uint32_t)((fuzz_state >> 33) % (below > 0 ? below : 1));
}

/* Put `size` bytes in place of `gone` ones at `at`, as far as there is room. */
static void fuzz_replace(struct fuzz_input *input, size_t at, size_t gone, const void *bytes,
                         size_t size)
{
    size_t tail = input->size - at - gone;

    if (at + size + tail > FUZZ_BYTES_MAX) {
        return;
    }
    memmove(input->bytes + at + size, input->bytes + at + gone, tail);
    memmove(input->bytes + at, bytes, size);
    input->size = at + size + tail;
}

static void fuzz_mutate(struct fuzz_input *input)
{
    const struct fuzz_input *other = &fuzz_corpus[fuzz_random(fuzz_corpus_count)];
    const char *token = fuzz_tokens[fuzz_random(sizeof(fuzz_tokens) / sizeof(fuzz_tokens[0]))];
    size_t at = fuzz_random(input->size + 1);
    size_t gone = fuzz_random(fuzz_random(2) ? 3 : input->size + 1);
    size_t from = fuzz_random(other->size + 1);
    uint8_t piece[FUZZ_BYTES_MAX];

    gone = gone < input->size - at ? gone : input->size - at;
    switch (fuzz_random(6)) {
    case 0:
        if (at < input->size) {
            input->bytes[at] ^= (uint8_t)(1u << fuzz_random(8));
        }
        break;
    case 1:
        fuzz_replace(input, at, gone, "", 0);
        break;
    case 2:
        memcpy(piece, input->bytes + at, gone);
        fuzz_replace(input, fuzz_random(input->size + 1), 0, piece, gone);
        break;
    case 3:
        fuzz_replace(input, at, 0, other->bytes + from, fuzz_random(other->size - from + 1));
        break;
    case 4:
        fuzz_replace(input, at, gone, token, strlen(token));
        break;
    default:
        fuzz_replace(input, at, 0, token, strlen(token));
        break;
    }
}

/* In memory of its own, so that a sanitizer sees a read beyond the end. */
static void fuzz_run(const struct fuzz_input *input)
{
    uint8_t *copy = malloc(input->size > 0 ? input->size : 1);

    CHECK(copy != NULL);
    memcpy(copy, input->bytes, input->size);
    CHECK_EQ(LLVMFuzzerTestOneInput(copy, input->size), 0);
    free(copy);
}

static void fuzz_read(const char *path)
{
    struct fuzz_input *input = &fuzz_corpus[fuzz_corpus_count++];
    FILE *file = fopen(path, "rb");

    if (!file) {
        (void)fprintf(stderr, "cannot read '%s'\n", path);
        exit(1);
    }
    input->size = fread(input->bytes, 1, sizeof(input->bytes), file);
    (void)fclose(file);
    fuzz_run(input);
}

static int fuzz_compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void fuzz_read_corpus(const char *target)
{
    const char *source = getenv("WLOAD_SOURCE");
    struct dirent **entries = NULL;
    char path[2048];
    int count;

    (void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", source ? source : ".", target);
    count = scandir(path, &entries, NULL, fuzz_compare);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && fuzz_corpus_count < FUZZ_CORPUS_MAX) {
            (void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s/%s", source ? source : ".",
                           target, entries[i]->d_name);
            fuzz_read(path);
        }
        free(entries[i]);
    }
    free(entries);
    if (fuzz_corpus_count == 0) {
        (void)fprintf(stderr, "no corpus in '%s': set WLOAD_SOURCE\n", path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    char *end = NULL;
    uint64_t seed = argc > 1 ? strtoull(argv[1], &end, 10) : 1;
    unsigned long runs = argc > 2 ? strtoul(argv[2], NULL, 10) : FUZZ_RUNS;

    if (argc > 1 && *end != '\0') {
        for (int i = 1; i < argc; i++) {
            fuzz_corpus_count = 0;
            fuzz_read(argv[i]);
        }
        return 0;
    }
    printf("seed %" PRIu64 ", %lu runs\n", seed, runs);
    fuzz_read_corpus(slash ? slash + 1 : argv[0]);
    fuzz_state = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned long i = 0; i < runs; i++) {
        struct fuzz_input input = fuzz_corpus[fuzz_random(fuzz_corpus_count)];

        for (uint32_t left = 1 + fuzz_random(4); left > 0; left--) {
            fuzz_mutate(&input);
        }
        fuzz_run(&input);
    }
    return 0;
}

#endif /* WLOAD_LIBFUZZER */

#endif /* FUZZ_DRIVER_H */
