/* SPDX-License-Identifier: Apache-2.0 */
/* Load a model into host memory and print each tensor's name as it lands. */
#include <stdio.h>
#include <wload.h>

static int on_landed(void *user, const struct wload_tensor *tensor, void *address)
{
    (void)user;
    return printf("%s at %p\n", tensor->name, address) < 0;
}

int main(int argc, char **argv)
{
    struct wload_job_options options = {.struct_size = sizeof(options),
                                        .device_kind = WLOAD_DEVICE_HOST,
                                        .on_landed = on_landed};
    struct wload_model *model = NULL;
    struct wload_job *job = NULL;
    struct wload_error err = {0};

    if (wload_model_open(NULL, argc > 1 ? argv[1] : ".", NULL, &model, &err) != 0 ||
        wload_job_start(model, &options, &job, &err) != 0 || wload_job_run(job, -1, &err) != 0) {
        (void)fprintf(stderr, "%s\n", err.message);
    }
    wload_job_free(job);
    wload_model_free(model);
    return err.code != 0;
}
