/* SPDX-License-Identifier: Apache-2.0 */
/* The strict check of a JSON text, and what json.c and json_object.c share beside it. */
#ifndef WL_JSON_TEXT_H
#define WL_JSON_TEXT_H

#include "base/json.h"

struct wl_json_text {
    const unsigned char *bytes;
    size_t size;
    size_t at;
    bool only_whole;        /* numbers are 0|[1-9][0-9]* */
    bool takes_any_unicode; /* \u0000 and lone surrogates in strings that are not keys */
    bool lists_members;     /* write down `members` */
    size_t node_count;
    size_t key_count;               /* keys passed so far */
    size_t key_wanted;              /* stop at this one, from 1; 0: none */
    size_t key_end;                 /* of the newest key, behind its quote */
    struct wl_json_member *members; /* of the outermost object; the caller frees them */
    size_t member_room;
    uint32_t member_count;
    const char *finding; /* what is wrong at `at`; NULL: no memory for members */
};

/* Set bytes and size, the rest zero or as wanted.  False: see `finding`. */
bool wl_json_text_check(struct wl_json_text *text);

/* Say what wl_json_text_check() found in the text that begins at offset `at` of `what`. */
int wl_json_refuse(const struct wl_json_text *text, const char *what, uint64_t at,
                   struct wload_error *err);
int wl_json_refuse_twin(const char *what, uint64_t offset, const char *key,
                        struct wload_error *err);

/* wl_json_parse() of a text that is checked already. */
int wl_json_parse_checked(const char *text, size_t size, const char *what, uint64_t at, cJSON **out,
                          struct wload_error *err);

#endif /* WL_JSON_TEXT_H */
