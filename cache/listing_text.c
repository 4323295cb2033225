/* SPDX-License-Identifier: Apache-2.0 */
/* Listings as text: what a hub answers, what a cache keeps. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "base/json.h"
#include "base/sys.h"
#include "cache/listing.h"

#define FORMAT_VERSION 1
#define TEXT_AT_FIRST  4096u

/* ---- What both kinds of text say of a file ------------------------------------------------ */

/* null is as good as nothing. */
static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = wl_json_member(object, name);

    return cJSON_IsNull(item) ? NULL : item;
}

static const char *text_of(const cJSON *item)
{
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* The keys of one kind of text. */
struct keys {
    const char *blob_id;
    const char *sha256;      /* in the member `large`, if there is one */
    const char *large;       /* NULL: in the file itself */
    const char *large_bytes; /* as sha256 */
    const char *xet_hash;
};

static const struct keys page_keys = {"oid", "oid", "lfs", "size", "xetHash"};
static const struct keys tree_keys = {"blob_id", "lfs_sha256", NULL, "lfs_size", "xet_hash"};

static void copy_hash(char *to, const char *hash)
{
    memcpy(to, hash, strlen(hash) + 1);
}

static int refuse(const char *what, const char *name, const char *finding, struct wload_error *err)
{
    return wl_err_set(err, WLOAD_ERR_FORMAT, "'%s': file '%.200s' has %s", what, name, finding);
}

/* Whether the file is a large one, with its true hash and size beside it; negative: wrong. */
static int take_large(const cJSON *item, const struct keys *keys, const char *what,
                      struct wl_listing_file *file, struct wload_error *err)
{
    const cJSON *large = keys->large ? member(item, keys->large) : item;
    const cJSON *sha256 = large ? member(large, keys->sha256) : NULL;
    const cJSON *size = large ? member(large, keys->large_bytes) : NULL;

    if (!large || (!keys->large && !sha256 && !size)) {
        return 0;
    }
    if (!wl_hub_is_sha256(text_of(sha256))) {
        return refuse(what, file->name, "no SHA-256 of its content", err);
    }
    if (wl_json_whole(size) != (int64_t)file->size_bytes) {
        return refuse(what, file->name, "two sizes", err);
    }
    copy_hash(file->hash, sha256->valuestring);
    return 1;
}

static int add_file(struct wl_listing *listing, const char *name, const cJSON *item,
                    const struct keys *keys, const char *what, struct wload_error *err)
{
    struct wl_listing_file file = {.name = (char *)(uintptr_t)name};
    int64_t size_bytes = wl_json_whole(wl_json_member(item, "size"));
    const char *blob_id = text_of(wl_json_member(item, keys->blob_id));
    const cJSON *xet_hash = member(item, keys->xet_hash);
    int rc;

    if (size_bytes < 0) {
        return refuse(what, name, "no size, or one that no file has", err);
    }
    if (!wl_hub_is_commit(blob_id)) {
        return refuse(what, name, "no id of its git blob", err);
    }
    if (xet_hash && !wl_hub_is_sha256(text_of(xet_hash))) {
        return refuse(what, name, "an xet hash that is none", err);
    }
    file.size_bytes = (uint64_t)size_bytes;
    copy_hash(file.blob_id, blob_id);
    copy_hash(file.xet_hash, text_of(xet_hash));
    rc = take_large(item, keys, what, &file, err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        copy_hash(file.hash, blob_id);
    }
    return wl_listing_add(listing, &file, what, err);
}

/* ---- A page of the tree API ------------------------------------------------------------------ */

int wl_listing_add_page(struct wl_listing *listing, const char *text, size_t size_bytes,
                        const char *what, struct wload_error *err)
{
    cJSON *root;
    int rc = wl_json_parse(text, size_bytes, what, 0, &root, err);

    if (rc < 0) {
        return rc;
    }
    if (!cJSON_IsArray(root)) {
        rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is no list of files", what);
    }
    for (const cJSON *item = root->child; item && rc == WLOAD_OK; item = item->next) {
        const cJSON *type = wl_json_member(item, "type");
        const cJSON *path = wl_json_member(item, "path");

        if (!cJSON_IsString(type) || !cJSON_IsString(path)) {
            rc = wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' has an entry without type or path", what);
        } else if (strcmp(type->valuestring, "file") == 0) {
            rc = add_file(listing, path->valuestring, item, &page_keys, what, err);
        }
    }
    cJSON_Delete(root);
    return rc;
}

/* ---- trees/<commit>.json
 * ------------------------------------------------------------------------- */

static int check_version(const struct wl_json_object *root, const char *what,
                         struct wload_error *err)
{
    cJSON *value = NULL;
    int64_t version = -1;
    uint32_t number;

    if (wl_map_find(&root->keys, "format_version", &number)) {
        int rc = wl_json_value(root, number, &value, err);

        if (rc < 0) {
            return rc;
        }
        version = wl_json_whole(value);
        cJSON_Delete(value);
    }
    return version == FORMAT_VERSION
               ? WLOAD_OK
               : wl_err_set(err, WLOAD_ERR_FORMAT, "'%s' is a listing of another format", what);
}

static int add_members(struct wl_listing *listing, const struct wl_json_object *files,
                       const char *what, struct wload_error *err)
{
    int rc = WLOAD_OK;

    for (uint32_t i = 0; i < files->count && rc == WLOAD_OK; i++) {
        cJSON *value = NULL;

        rc = wl_json_value(files, i, &value, err);
        if (rc == WLOAD_OK) {
            rc = add_file(listing, wl_json_key(files, i), value, &tree_keys, what, err);
        }
        cJSON_Delete(value);
    }
    return rc;
}

/* Of a text that is ours to write to. */
static int parse(char *text, size_t size_bytes, const char *what, struct wl_listing *listing,
                 struct wload_error *err)
{
    struct wl_json_object root;
    struct wl_json_object files;
    int rc = wl_json_open(text, size_bytes, what, 0, false, &root, err);

    if (rc < 0) {
        return rc;
    }
    rc = check_version(&root, what, err);
    if (rc == WLOAD_OK) {
        rc = wl_json_open_member(&root, "files", &files, err);
    }
    if (rc == WLOAD_OK) {
        rc = add_members(listing, &files, what, err);
        wl_json_close(&files);
    }
    wl_json_close(&root);
    return rc < 0 ? rc : wl_listing_finish(listing, what, err);
}

int wl_listing_parse(const char *text, size_t size_bytes, const char *what, struct wl_listing *out,
                     struct wload_error *err)
{
    struct wl_listing listing = {.is_complete = true};
    char *copy = wl_sys_array(size_bytes, 1);
    int rc;

    if (!copy) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "'%s': no memory for its %zu bytes", what,
                          size_bytes);
    }
    memcpy(copy, text, size_bytes);
    rc = parse(copy, size_bytes, what, &listing, err);
    wl_sys->free(copy);
    if (rc < 0) {
        wl_listing_clear(&listing);
        return rc;
    }
    *out = listing;
    return WLOAD_OK;
}

/* ---- And back
 * ------------------------------------------------------------------------------------ */

/* A text that grows.  NULL: there was no memory. */
struct text {
    char *bytes;
    size_t used;
    size_t room;
};

static void put(struct text *text, const char *bytes, size_t count)
{
    if (text->bytes && text->room - text->used <= count) { /* a NUL has room, too */
        size_t room = text->room + count > text->room * 2 ? text->room + count + 1 : text->room * 2;
        char *more = wl_sys_array(room, 1);

        if (more) {
            memcpy(more, text->bytes, text->used);
        }
        wl_sys->free(text->bytes);
        text->bytes = more;
        text->room = room;
    }
    if (text->bytes) {
        memcpy(text->bytes + text->used, bytes, count);
        text->used += count;
    }
}

__attribute__((format(printf, 2, 3))) static void print(struct text *text, const char *fmt, ...)
{
    char line[256]; /* whatever is printed has a bound */
    va_list ap;
    int bytes;

    va_start(ap, fmt);
    bytes = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    WL_ASSERT(bytes >= 0 && (size_t)bytes < sizeof(line));
    put(text, line, (size_t)bytes);
}

/* A UTF-8 sequence as \u escapes: two if it is beyond the first 65536 code points. */
static size_t print_beyond_ascii(struct text *text, const unsigned char *at)
{
    size_t bytes = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t code = at[0] & (0xffu >> (bytes + 1));

    for (size_t i = 1; i < bytes; i++) {
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (code < 0x10000) {
        print(text, "\\u%04x", code);
    } else {
        code -= 0x10000;
        print(text, "\\u%04x\\u%04x", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
    }
    return bytes;
}

/* A name that wl_hub_is_path() accepts: there is no control character and no backslash in it. */
static void print_name(struct text *text, const char *name)
{
    put(text, "\"", 1);
    while (*name) {
        size_t plain = 0;

        while (name[plain] && (unsigned char)name[plain] < 0x80 && name[plain] != '"') {
            plain++;
        }
        put(text, name, plain);
        name += plain;
        if (*name == '"') {
            put(text, "\\\"", 2);
            name++;
        } else if (*name) {
            name += print_beyond_ascii(text, (const unsigned char *)name);
        }
    }
    put(text, "\"", 1);
}

static void print_file(struct text *text, const struct wl_listing_file *file)
{
    print_name(text, file->name);
    print(text, ": {\n   \"size\": %" PRIu64 ",\n   \"blob_id\": \"%s\"", file->size_bytes,
          file->blob_id);
    if (wl_hub_is_sha256(file->hash)) {
        print(text, ",\n   \"lfs_sha256\": \"%s\",\n   \"lfs_size\": %" PRIu64, file->hash,
              file->size_bytes);
    }
    if (file->xet_hash[0] != '\0') {
        print(text, ",\n   \"xet_hash\": \"%s\"", file->xet_hash);
    }
    print(text, "\n  }");
}

char *wl_listing_print(const struct wl_listing *listing)
{
    struct text text = {.bytes = wl_sys_array(TEXT_AT_FIRST, 1), .room = TEXT_AT_FIRST};

    WL_ASSERT(listing->is_complete);
    print(&text, "{\n \"format_version\": %d,\n \"files\": {", FORMAT_VERSION);
    for (uint32_t i = 0; i < listing->count; i++) {
        print(&text, "%s\n  ", i > 0 ? "," : "");
        print_file(&text, &listing->files[i]);
    }
    print(&text, "%s}\n}", listing->count > 0 ? "\n " : "");
    if (text.bytes) {
        text.bytes[text.used] = '\0';
    }
    return text.bytes;
}
