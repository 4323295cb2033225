/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a model opens to exactly its tensors, in order and by name; what is wrong with it is said
 * once, naming the file; nothing that is no regular file can make it wait.
 * Method: small models of every layout, whole and broken, through the public functions.
 */
#include "loader/model.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "tree.h"

static char warnings[2048];

static void take_line(void *user, enum wload_log_level level, const char *component,
                      const char *line)
{
    (void)user;
    if (level == WLOAD_LOG_WARN) {
        size_t used = strlen(warnings);

        (void)snprintf(warnings + used, sizeof(warnings) - used, "%s: %s;", component, line);
    }
}

static int open_model(const char *name, const char *variant, struct wload_model **out,
                      struct wload_error *err)
{
    struct wload_context_options options = {.struct_size = sizeof(options), .log = take_line};
    struct wload_model_options model_options = {.struct_size = sizeof(model_options),
                                                .variant = variant};
    struct wload_context *context;
    int rc;

    warnings[0] = '\0';
    CHECK_OK(wload_context_new(&options, &context, err), err);
    rc = wload_model_open(context, tree_path(name), &model_options, out, err);
    wload_context_free(context); /* the model keeps it alive */
    return rc;
}

/* The model's tensors, "FILE:NAME" each, in one line. */
static void expect(const char *name, const char *variant, const char *expected)
{
    struct wload_error err = {0};
    struct wload_model *model;
    char line[2048] = "";
    size_t used = 0;
    uint64_t bytes = 0;

    CHECK_OK(open_model(name, variant, &model, &err), &err);
    for (size_t i = 0; i < wload_model_info(model)->tensor_count; i++) {
        const struct wload_tensor *tensor = wload_model_tensor(model, i);
        const char *path = wload_model_file(model, tensor->file_index)->path;

        CHECK_EQ(tensor->tensor_index, i);
        CHECK(wload_model_find(model, tensor->name) == tensor);
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s:%s", i > 0 ? " " : "",
                                 path + strlen(tree_path(name)), tensor->name);
        bytes += tensor->size_bytes;
    }
    CHECK_STR(line, expected);
    CHECK_EQ(wload_model_info(model)->tensor_bytes, bytes);
    CHECK(wload_model_tensor(model, wload_model_info(model)->tensor_count) == NULL);
    CHECK(wload_model_file(model, wload_model_info(model)->file_count) == NULL);
    CHECK(wload_model_find(model, "no such tensor") == NULL);
    wload_model_free(model);
}

static void refuse(const char *name, int code, const char *finding)
{
    struct wload_error err = {0};
    struct wload_model *model = NULL;
    int rc = open_model(name, NULL, &model, &err);

    if (rc != code || strstr(err.message, finding) == NULL || err.code != rc || model) {
        (void)fprintf(stderr, "%s: %d '%s'\n  not %d '%s'\n", name, rc, err.message, code, finding);
        exit(1);
    }
}

static void check_layouts(void)
{
    tree_write_tensors("one/model.safetensors", "b a");
    tree_write_tensors("one/model.fp16.safetensors", "half");
    expect("one", NULL, "/model.safetensors:b /model.safetensors:a");
    expect("one", "fp16", "/model.fp16.safetensors:half");
    expect("one/model.safetensors", NULL, ":b :a");

    tree_write_tensors("empty.safetensors", "");
    expect("empty.safetensors", NULL, "");

    tree_write_tensors("loose/y.safetensors", "y1 y2");
    tree_write_tensors("loose/x.safetensors", "x1");
    expect("loose", NULL, "/x.safetensors:x1 /y.safetensors:y1 /y.safetensors:y2");

    tree_write_tensors("sharded/b.safetensors", "b1 b2");
    tree_write_tensors("sharded/a.safetensors", "a1");
    tree_write_text("sharded/model.safetensors.index.json",
                    "{\"weight_map\":{\"b1\":\"b.safetensors\",\"a1\":\"a.safetensors\","
                    "\"b2\":\"b.safetensors\"}}");
    expect("sharded", NULL, "/a.safetensors:a1 /b.safetensors:b1 /b.safetensors:b2");
    CHECK_STR(warnings, "");
}

static void check_pipeline(void)
{
    tree_write_text("pipe/model_index.json", "{\"_class_name\":\"P\",\"vae\":[\"d\",\"V\"],"
                                             "\"unet\":[\"d\",\"U\"],\"tokenizer\":[\"t\",\"T\"]}");
    tree_write_text("pipe/tokenizer/vocab.json", "{}");
    tree_write_tensors("pipe/vae/diffusion_pytorch_model.safetensors", "w");
    tree_write_tensors("pipe/unet/s1.safetensors", "w left");
    tree_write_tensors("pipe/unet/s2.safetensors", "x");
    tree_write_text("pipe/unet/diffusion_pytorch_model.safetensors.index.json",
                    "{\"weight_map\":{\"x\":\"s2.safetensors\",\"w\":\"s1.safetensors\"}}");
    expect("pipe", NULL,
           "/vae/diffusion_pytorch_model.safetensors:vae/w /unet/s1.safetensors:unet/w "
           "/unet/s2.safetensors:unet/x");
    CHECK(strstr(warnings, "s1.safetensors': left out 1 tensors") != NULL);
    CHECK(strstr(warnings, "for example 'left'") != NULL);
}

/* The index is followed where it and the shards disagree. */
static void check_disagreement(void)
{
    const char *index = "odd/model.safetensors.index.json";

    tree_write_tensors("odd/a.safetensors", "both a extra1 extra2");
    tree_write_tensors("odd/b.safetensors", "both b");
    tree_write_text(index, "{\"weight_map\":{\"a\":\"a.safetensors\",\"both\":\"b.safetensors\","
                           "\"b\":\"b.safetensors\"}}");
    expect("odd", NULL, "/a.safetensors:a /b.safetensors:both /b.safetensors:b");
    CHECK(strstr(warnings, "index: ") == warnings);
    CHECK(strstr(warnings, "a.safetensors': left out 3 tensors") != NULL);
    CHECK(strstr(warnings, "for example 'both'") != NULL);

    tree_write_text(index, "{\"weight_map\":{\"a\":\"b.safetensors\"}}");
    refuse("odd", WLOAD_ERR_FORMAT, "entry 'a' at offset 15 is not in its shard 'b.safetensors'");
    tree_write_text(index, "{\"weight_map\":{\"a\":\"a.safetensors\",\"c\":\"c.safetensors\"}}");
    refuse("odd", WLOAD_ERR_NOT_FOUND, "odd/c.safetensors' is missing;");
    refuse("odd", WLOAD_ERR_NOT_FOUND, "model.safetensors.index.json' names it");
    tree_write_text(index, "{\"weight_map\":{\"a\":\"../one/model.safetensors\"}}");
    refuse("odd", WLOAD_ERR_FORMAT, "'../one/model.safetensors'");
    CHECK_EQ(unlink(tree_path(index)), 0);
    refuse("odd", WLOAD_ERR_FORMAT, "tensor 'both' is in both '");
    refuse("odd", WLOAD_ERR_FORMAT, "odd/a.safetensors' and '");
    refuse("odd", WLOAD_ERR_FORMAT, "odd/b.safetensors'");
}

/* Many files, two of them broken: the first in order is the one that is named, each time. */
static void check_first_error(void)
{
    for (unsigned i = 0; i < 40; i++) {
        char name[64];
        char tensor[16];

        (void)snprintf(name, sizeof(name), "many/%02u.safetensors", i);
        (void)snprintf(tensor, sizeof(tensor), "t%u", i);
        tree_write_tensors(name, tensor);
    }
    tree_write_text("many/31.safetensors", "short");
    for (unsigned i = 0; i < 50; i++) {
        refuse("many", WLOAD_ERR_FORMAT, "many/31.safetensors' has 5 bytes");
    }
    tree_write_weights("many/17.safetensors", "{\"a\":0}", 0);
    for (unsigned i = 0; i < 50; i++) {
        refuse("many", WLOAD_ERR_FORMAT, "many/17.safetensors': header entry 'a'");
    }
}

/* Whatever lies in the place of a file, nothing waits for it. */
static void check_special_files(void)
{
    static const char *const places[] = {"special/model.safetensors",
                                         "special/model.safetensors.index.json",
                                         "special/model_index.json"};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    tree_make_folders("special/x");
    for (size_t i = 0; i < WL_COUNT_OF(places); i++) {
        const char *path = tree_path(places[i]);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);

        CHECK_EQ(mkfifo(path, 0644), 0);
        refuse("special", WLOAD_ERR_FORMAT, "is a FIFO, not a regular file");
        refuse(places[i], WLOAD_ERR_FORMAT, "is a FIFO, not a regular file");
        CHECK_EQ(unlink(path), 0);
        CHECK_EQ(mkdir(path, 0755), 0);
        refuse("special", WLOAD_ERR_FORMAT, "is a directory, not a regular file");
        CHECK_EQ(rmdir(path), 0);
        CHECK_EQ(symlink("/dev/zero", path), 0);
        refuse("special", WLOAD_ERR_FORMAT, "is a device, not a regular file");
        CHECK_EQ(unlink(path), 0);
        CHECK_EQ(symlink("nowhere", path), 0);
        refuse("special", WLOAD_ERR_NOT_FOUND, "cannot open");
        CHECK_EQ(unlink(path), 0);
        CHECK(listener >= 0 && strlen(path) < sizeof(address.sun_path));
        memcpy(address.sun_path, path, strlen(path) + 1);
        CHECK_EQ(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        refuse("special", WLOAD_ERR_FORMAT, "is no regular file");
        CHECK_EQ(close(listener), 0);
        CHECK_EQ(unlink(path), 0);
    }
}

/* A snapshot in the Hub's cache: a link to a blob for each file. */
static void check_links(void)
{
    tree_write_tensors("hub/blobs/aa", "a");
    tree_write_text("hub/blobs/bb",
                    "{\"weight_map\":{\"a\":\"model-00001-of-00001.safetensors\"}}");
    tree_make_folders("hub/snapshots/0123/x");
    CHECK_EQ(
        symlink("../../blobs/bb", tree_path("hub/snapshots/0123/model.safetensors.index.json")), 0);
    CHECK_EQ(
        symlink("../../blobs/aa", tree_path("hub/snapshots/0123/model-00001-of-00001.safetensors")),
        0);
    expect("hub/snapshots/0123", NULL, "/model-00001-of-00001.safetensors:a");
}

static void check_arguments(void)
{
    struct wload_model_options old = {.struct_size = sizeof(size_t)};
    struct {
        struct wload_model_options known;
        uint64_t newer;
    } grown = {.known.struct_size = sizeof(grown)};
    struct wload_error err = {0};
    struct wload_model *model = NULL;
    const char *path = tree_path("one");

    CHECK_EQ(wload_model_open(NULL, NULL, NULL, &model, &err), WLOAD_ERR_INVALID);
    CHECK_STR(err.message, "spec is NULL");
    CHECK_EQ(wload_model_open(NULL, path, NULL, NULL, &err), WLOAD_ERR_INVALID);
    CHECK_STR(err.message, "out is NULL");
    CHECK_EQ(wload_model_open(NULL, "", NULL, &model, NULL), WLOAD_ERR_SPEC);
    CHECK_EQ(wload_model_open(NULL, "/no/where", NULL, &model, NULL), WLOAD_ERR_NOT_FOUND);
    CHECK_OK(wload_model_open(NULL, path, &old, &model, &err), &err);
    wload_model_free(model);
    CHECK_OK(wload_model_open(NULL, path, &grown.known, &model, &err), &err);
    wload_model_free(model);
    grown.newer = 1;
    CHECK_EQ(wload_model_open(NULL, path, &grown.known, &model, &err), WLOAD_ERR_UNSUPPORTED);
    old.struct_size = 0;
    CHECK_EQ(wload_model_open(NULL, path, &old, &model, &err), WLOAD_ERR_INVALID);
    wload_model_free(NULL);
    CHECK(!wload_model_info(NULL) && !wload_model_tensor(NULL, 0) && !wload_model_file(NULL, 0));
    CHECK(!wload_model_find(NULL, "a"));
}

/* What a job needs: another owner, and the identity of each file. */
static void check_sharing(void)
{
    struct wload_error err = {0};
    struct wload_model *model;
    struct stat status;

    CHECK_OK(wload_model_open(NULL, tree_path("sharded"), NULL, &model, &err), &err);
    CHECK(wl_model_share(model) == model);
    wload_model_free(model);
    CHECK(wload_model_find(model, "b2") != NULL);
    CHECK(wload_model_find(model, NULL) == NULL);
    CHECK_EQ(wload_model_file(model, 1)->tensor_count, 2);
    CHECK_EQ(stat(wload_model_file(model, 1)->path, &status), 0);
    CHECK_EQ(wload_model_file(model, 1)->size_bytes, status.st_size);
    CHECK_EQ(model->identities[1].inode, status.st_ino);
    CHECK_EQ(model->identities[1].device, status.st_dev);
    CHECK_EQ(model->identities[1].size_bytes, status.st_size);
    CHECK_EQ(model->identities[1].modified_ns % 1000000000, status.st_mtim.tv_nsec);
    wload_model_free(model);
}

/* A reader that finds O_NONBLOCK on a file is told EAGAIN where it should wait. */
static void check_file_flags(void)
{
    struct wl_file_identity identity;
    struct wload_error err = {0};
    int fd = wl_file_open(tree_path("one/model.safetensors"), 0, &identity, &err);

    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(close(fd), 0);
}

int main(void)
{
    check_layouts();
    check_pipeline();
    check_disagreement();
    check_first_error();
    check_special_files();
    check_links();
    check_arguments();
    check_sharing();
    check_file_flags();
    return 0;
}
