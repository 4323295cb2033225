/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of one safetensors file, checked rule by rule, as a table.
 *
 *   u64 little-endian N | N bytes of JSON | data to the end of the file
 *
 * Stricter than the reference reader where two readers could see two models: the
 * header begins with '{', no key comes twice, no name is empty or longer than
 * WL_NAME_BYTES_MAX, rank and dimensions have bounds, numbers are whole.
 */
#ifndef WL_SAFETENSORS_H
#define WL_SAFETENSORS_H

#include "loader/index.h"

/* The file that a header belongs to. */
struct wl_safetensors_file {
    const char *path;
    const char *prefix; /* put before each name */
    uint64_t size_bytes;
    uint32_t file_index; /* becomes that of the tensors */
};

#define WL_SAFETENSORS_LENGTH_BYTES 8u /* at the start of a file: how long its header is */

/* Whether the file is long enough to have a header at all. */
int wl_safetensors_check_size(const struct wl_safetensors_file *file, struct wload_error *err);

/* What those bytes say, as far as the file can be so long. */
int wl_safetensors_length(const unsigned char first[WL_SAFETENSORS_LENGTH_BYTES],
                          const struct wl_safetensors_file *file, uint64_t *length,
                          struct wload_error *err);

/* Read and check the header of an open file. */
int wl_safetensors_read(int fd, const struct wl_safetensors_file *file, struct wl_table *out,
                        struct wload_error *err);

/* Check the JSON of a header that begins at byte 8 of the file; writes to it. */
int wl_safetensors_parse(char *header, size_t header_bytes, const struct wl_safetensors_file *file,
                         struct wl_table *out, struct wload_error *err);

#endif /* WL_SAFETENSORS_H */
