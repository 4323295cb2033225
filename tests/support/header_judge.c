/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens each model whose spec stands on a line of standard input, and prints for each
 *
 *     accept<TAB>name:dtype:dimxdim:offset:size<TAB>...     names in hexadecimal
 *     refuse<TAB>status<TAB>message
 *
 * so that a script can ask for ten thousand judgements without starting ten thousand programs.
 */
#include "wload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SPEC_BYTES_MAX 4096

static void print_tensor(const struct wload_tensor *tensor)
{
    (void)putchar('\t');
    for (const char *at = tensor->name; *at; at++) {
        (void)printf("%02x", (unsigned char)*at);
    }
    (void)printf(":%s:", tensor->dtype_name);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        (void)printf("%s%" PRIu64, i > 0 ? "x" : "", tensor->shape[i]);
    }
    (void)printf(":%" PRIu64 ":%" PRIu64, tensor->file_offset, tensor->size_bytes);
}

static void judge(const char *spec)
{
    struct wload_model *model = NULL;
    struct wload_error err = {0};
    int rc = wload_model_open(NULL, spec, NULL, &model, &err);

    if (rc < 0) {
        (void)printf("refuse\t%d\t%s\n", rc, err.message);
        return;
    }
    (void)fputs("accept", stdout);
    for (uint32_t i = 0; i < wload_model_info(model)->tensor_count; i++) {
        print_tensor(wload_model_tensor(model, i));
    }
    (void)putchar('\n');
    wload_model_free(model);
}

int main(void)
{
    char spec[SPEC_BYTES_MAX];

    while (fgets(spec, sizeof(spec), stdin)) {
        spec[strcspn(spec, "\n")] = '\0';
        judge(spec);
    }
    return 0;
}
