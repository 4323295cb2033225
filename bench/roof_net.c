/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network's roof: a plain GET of the same bytes by several connections into memory, where
 * they are dropped.
 *
 *   open: files cut into pieces
 *   measure: where does each file lie now?   all connections, before the clock
 *            pieces, each one range request  all connections, inside it
 *
 * The token goes to the origin of the files' own addresses alone, and there only encrypted or
 * within this machine.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/libcurl.h"
#include "bench/interrupt.h"
#include "bench/roof.h"

#define BUFFER_BYTES          (512L << 10)
#define PIECES_PER_CONNECTION 4u /* those that are fast take from those that are slow */
#define PIECE_BYTES_MIN       (8ull << 20)
#define REDIRECTS_MAX         10
#define CONNECT_S             10L
#define STALL_S               30L
#define AGENT                 "wload-bench"

struct net_file {
    char *url;
    char *found_url; /* where it was said to lie; NULL: at url */
    uint64_t size_bytes;
};

struct piece {
    const struct net_file *file;
    uint64_t offset;
    uint64_t size_bytes;
};

struct roof_net {
    struct net_file *files;
    struct piece *pieces;
    size_t file_count;
    size_t piece_count;
    char *bearer; /* a header; NULL: no token */
    unsigned connection_count;
};

/* Items for all connections, taken by each when it is free.  A failure ends it. */
struct work {
    struct roof_net *net;
    int (*step)(struct roof_net *net, CURL *curl, size_t index, struct wload_error *err);
    size_t count;
    atomic_size_t next;
    pthread_mutex_t lock;
    struct wload_error err; /* the first one */
};

/* ---- Where the token may go ------------------------------------------------------------- */

struct origin {
    char *scheme;
    char *host;
    char *port;
};

static void origin_clear(struct origin *origin)
{
    wl_libcurl->free(origin->scheme);
    wl_libcurl->free(origin->host);
    wl_libcurl->free(origin->port);
}

/* False: no address of the web. */
static bool origin_of(const char *text, struct origin *out)
{
    CURLU *url = wl_libcurl->url();

    *out = (struct origin){0};
    if (url && wl_libcurl->url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
        (void)wl_libcurl->url_get(url, CURLUPART_SCHEME, &out->scheme, 0);
        (void)wl_libcurl->url_get(url, CURLUPART_HOST, &out->host, 0);
        (void)wl_libcurl->url_get(url, CURLUPART_PORT, &out->port, CURLU_DEFAULT_PORT);
    }
    wl_libcurl->url_cleanup(url);
    return out->scheme && out->host && out->port &&
           (strcmp(out->scheme, "https") == 0 || strcmp(out->scheme, "http") == 0);
}

static bool is_same(const struct origin *a, const struct origin *b)
{
    return strcmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
           strcmp(a->port, b->port) == 0;
}

static bool is_private(const struct origin *origin)
{
    return strcmp(origin->scheme, "https") == 0 || strcasecmp(origin->host, "localhost") == 0 ||
           strncmp(origin->host, "127.", 4) == 0 || strcmp(origin->host, "[::1]") == 0;
}

/* How `url` stands to the address that it was come to from. */
enum relation {
    RELATION_OWN,     /* the same origin: it may know what the first one knows */
    RELATION_FOREIGN, /* another one */
    RELATION_BAD      /* no address, or no longer encrypted */
};

static enum relation relate(const char *from, const char *url)
{
    struct origin first, now;
    bool is_first = origin_of(from, &first);
    bool is_now = origin_of(url, &now);
    enum relation relation = RELATION_BAD;

    if (is_first && is_now && is_same(&first, &now)) {
        relation = RELATION_OWN;
    } else if (is_first && is_now &&
               (strcmp(first.scheme, "https") != 0 || strcmp(now.scheme, "https") == 0)) {
        relation = RELATION_FOREIGN;
    }
    origin_clear(&first);
    origin_clear(&now);
    return relation;
}

/* Whether `url`, of that file, may be asked for with the token. */
static bool may_have_token(const struct net_file *file, const char *url)
{
    struct origin origin;
    bool may = origin_of(url, &origin) && is_private(&origin);

    origin_clear(&origin);
    return may && relate(file->url, url) == RELATION_OWN;
}

/* ---- One request ------------------------------------------------------------------------ */

struct answer {
    long status;
    uint64_t body_bytes;
};

/* The bytes are in memory here; nobody needs them.  A signal ends the transfer. */
static size_t drop_body(char *data, size_t one, size_t size, void *user)
{
    struct answer *answer = user;

    (void)data;
    (void)one;
    answer->body_bytes += size;
    return interrupt_came() ? 0 : size;
}

static CURL *new_handle(struct wload_error *err)
{
    const char *authorities = getenv("SSL_CERT_FILE");
    CURL *curl = wl_libcurl->easy_init();

    if (!curl) {
        (void)wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a connection of the roof");
        return NULL;
    }
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_USERAGENT, AGENT);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    if (authorities && authorities[0] != '\0') {
        (void)wl_libcurl->easy_setopt(curl, CURLOPT_CAINFO, authorities);
    }
    return curl;
}

/* The query of an address may be a signature: what is said of it ends before. */
static int shown_length(const char *url)
{
    return (int)strcspn(url, "?#");
}

static int request(const struct roof_net *net, CURL *curl, const struct net_file *file,
                   const char *url, struct answer *out, struct wload_error *err)
{
    struct curl_slist *headers = NULL;
    CURLcode code;

    if (net->bearer && may_have_token(file, url)) {
        headers = wl_libcurl->slist_append(NULL, net->bearer);
        if (!headers) {
            return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for a request of the roof");
        }
    }
    *out = (struct answer){0};
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_URL, url);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_WRITEDATA, out);
    code = wl_libcurl->easy_perform(curl);
    (void)wl_libcurl->easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    wl_libcurl->slist_free_all(headers);
    if (code != CURLE_OK) {
        return wl_err_set(err, WLOAD_ERR_NETWORK, "the roof cannot get '%.*s': %s",
                          shown_length(url), url, wl_libcurl->easy_strerror(code));
    }
    return WLOAD_OK;
}

static int refuse(const char *url, long status, struct wload_error *err)
{
    return wl_err_set(
        err, WLOAD_ERR_HTTP, "the roof cannot get '%.*s': HTTP %ld%s", shown_length(url), url,
        status, status == 401 || status == 403 ? "; it takes the token of --token alone" : "");
}

/* ---- Where a file lies -------------------------------------------------------------------- */

/* Ask for the headers.  *next, which the caller frees, is where they lead; NULL: nowhere. */
static int ask(const struct roof_net *net, CURL *curl, const struct net_file *file, const char *url,
               char **next, struct wload_error *err)
{
    struct answer answer;
    char *leads_to = NULL;
    int rc = request(net, curl, file, url, &answer, err);

    if (rc < 0) {
        return rc;
    }
    (void)wl_libcurl->easy_getinfo(curl, CURLINFO_REDIRECT_URL, &leads_to);
    if (leads_to ? relate(url, leads_to) == RELATION_BAD : answer.status != 200) {
        return refuse(url, answer.status, err);
    }
    *next = leads_to ? strdup(leads_to) : NULL;
    return leads_to && !*next ? wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for an address")
                              : WLOAD_OK;
}

/* Go where the headers lead within the origin; what lies beyond is the content. */
static int find_file(struct roof_net *net, CURL *curl, size_t index, struct wload_error *err)
{
    struct net_file *file = &net->files[index];
    char *url = file->url;
    char *next = NULL;
    int hops = 0;

    (void)wl_libcurl->easy_setopt(curl, CURLOPT_NOBODY, 1L);
    do {
        int rc = ask(net, curl, file, url, &next, err);

        if (rc == WLOAD_OK && hops++ == REDIRECTS_MAX) {
            free(next);
            rc = wl_err_set(err, WLOAD_ERR_HTTP, "'%s' leads in circles", file->url);
        }
        if (rc < 0) {
            return rc;
        }
        if (next) {
            free(file->found_url);
            file->found_url = next;
            url = next;
        }
    } while (next && relate(file->url, next) == RELATION_OWN);
    return WLOAD_OK;
}

/* ---- A piece --------------------------------------------------------------------------------- */

static int get_piece(struct roof_net *net, CURL *curl, size_t index, struct wload_error *err)
{
    const struct piece *piece = &net->pieces[index];
    const char *url = piece->file->found_url ? piece->file->found_url : piece->file->url;
    bool is_whole = piece->size_bytes == piece->file->size_bytes;
    struct answer answer;
    char range[64];
    int rc;

    (void)snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, piece->offset,
                   piece->offset + piece->size_bytes - 1);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    (void)wl_libcurl->easy_setopt(curl, CURLOPT_RANGE, is_whole ? NULL : range);
    rc = request(net, curl, piece->file, url, &answer, err);
    if (rc < 0) {
        return rc;
    }
    if (answer.status != (is_whole ? 200 : 206)) {
        return refuse(url, answer.status, err);
    }
    if (answer.body_bytes != piece->size_bytes) {
        return wl_err_set(err, WLOAD_ERR_NETWORK,
                          "'%.*s' gave %" PRIu64 " bytes where there should be %" PRIu64,
                          shown_length(url), url, answer.body_bytes, piece->size_bytes);
    }
    return WLOAD_OK;
}

/* ---- All connections ------------------------------------------------------------------------- */

static void note_failure(struct work *work, const struct wload_error *err)
{
    (void)pthread_mutex_lock(&work->lock);
    if (work->err.code == WLOAD_OK) {
        work->err = *err;
    }
    (void)pthread_mutex_unlock(&work->lock);
    atomic_store(&work->next, work->count);
}

static void *connection(void *argument)
{
    struct work *work = argument;
    struct wload_error err = {0};
    CURL *curl = new_handle(&err);
    int rc = curl ? WLOAD_OK : WLOAD_ERR_NOMEM;

    while (rc == WLOAD_OK) {
        size_t index = atomic_fetch_add(&work->next, 1);

        if (index >= work->count) {
            break;
        }
        rc = work->step(work->net, curl, index, &err);
    }
    if (rc < 0) {
        note_failure(work, &err);
    }
    wl_libcurl->easy_cleanup(curl);
    return NULL;
}

static int share(struct work *work, struct wload_error *err)
{
    size_t count = wl_min(work->net->connection_count, work->count);
    pthread_t *threads = calloc(count + 1, sizeof(*threads));
    size_t started = 0;

    if (!threads) {
        return wl_err_set(err, WLOAD_ERR_NOMEM, "no memory for %zu threads", count);
    }
    (void)pthread_mutex_init(&work->lock, NULL);
    while (started < count && pthread_create(&threads[started], NULL, connection, work) == 0) {
        started++;
    }
    if (started < count) {
        struct wload_error why = {0};

        (void)wl_err_set(&why, WLOAD_ERR_NOMEM, "no thread for a connection of the roof");
        note_failure(work, &why);
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&work->lock);
    free(threads);
    if (work->err.code < 0 && err) {
        *err = work->err;
    }
    return work->err.code;
}

int roof_net_measure(struct roof_net *net, struct roof_figure *out, struct wload_error *err)
{
    struct work find = {.net = net, .step = find_file, .count = net->file_count};
    struct work get = {.net = net, .step = get_piece, .count = net->piece_count};
    int64_t begin_ns, begin_cpu_ns;
    int rc = share(&find, err);

    if (rc < 0) {
        return rc;
    }
    begin_ns = wl_clock_ns();
    begin_cpu_ns = wl_clock_cpu_ns();
    rc = share(&get, err);
    if (rc == WLOAD_OK) {
        *out = (struct roof_figure){
            .elapsed_ns = wl_clock_ns() - begin_ns,
            .cpu_ns = wl_clock_cpu_ns() - begin_cpu_ns,
        };
    }
    return rc;
}

/* ---- Open and close
 * ------------------------------------------------------------------------------ */

/* All files in order, each cut at multiples of piece_bytes.  With NULL only counts. */
static size_t cut(const struct roof_net *net, uint64_t piece_bytes, struct piece *pieces)
{
    size_t count = 0;

    for (size_t i = 0; i < net->file_count; i++) {
        const struct net_file *file = &net->files[i];

        for (uint64_t at = 0; at < file->size_bytes; at += piece_bytes) {
            if (pieces) {
                pieces[count] =
                    (struct piece){.file = file,
                                   .offset = at,
                                   .size_bytes = wl_min(piece_bytes, file->size_bytes - at)};
            }
            count++;
        }
    }
    return count;
}

static int make_pieces(struct roof_net *net, uint64_t total_bytes)
{
    uint64_t piece_bytes =
        wl_max(total_bytes / (net->connection_count * PIECES_PER_CONNECTION), PIECE_BYTES_MIN);

    net->piece_count = cut(net, piece_bytes, NULL);
    net->pieces = calloc(net->piece_count + 1, sizeof(net->pieces[0]));
    if (!net->pieces) {
        return WLOAD_ERR_NOMEM;
    }
    (void)cut(net, piece_bytes, net->pieces);
    return WLOAD_OK;
}

static int take_files(struct roof_net *net, const struct wload_snapshot *snapshot)
{
    net->files = calloc(snapshot->file_count + 1, sizeof(net->files[0]));
    if (!net->files) {
        return WLOAD_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < snapshot->file_count; i++) {
        const struct wload_snapshot_file *file = &snapshot->files[i];
        struct net_file *taken = &net->files[net->file_count];

        if (file->size_bytes == 0) {
            continue;
        }
        *taken = (struct net_file){.url = strdup(file->url), .size_bytes = file->size_bytes};
        net->file_count++;
        if (!taken->url) {
            return WLOAD_ERR_NOMEM;
        }
    }
    return make_pieces(net, snapshot->total_bytes);
}

int roof_net_open(const struct wload_snapshot *snapshot, const char *token,
                  uint32_t connection_count, struct roof_net **out, struct wload_error *err)
{
    int rc = wl_libcurl_load(err);
    struct roof_net *net;

    if (rc < 0) {
        return rc;
    }
    net = calloc(1, sizeof(*net));
    rc = net ? WLOAD_OK : WLOAD_ERR_NOMEM;
    if (net) {
        net->connection_count = connection_count;
    }
    if (net && token && token[0] != '\0' &&
        asprintf(&net->bearer, "Authorization: Bearer %s", token) < 0) {
        net->bearer = NULL;
        rc = WLOAD_ERR_NOMEM;
    }
    if (rc == WLOAD_OK) {
        rc = take_files(net, snapshot);
    }
    if (rc < 0) {
        roof_net_close(net);
        return wl_err_set(err, rc, "no memory for the network's roof");
    }
    *out = net;
    return WLOAD_OK;
}

void roof_net_close(struct roof_net *net)
{
    if (!net) {
        return;
    }
    for (size_t i = 0; i < net->file_count; i++) {
        free(net->files[i].url);
        free(net->files[i].found_url);
    }
    free(net->files);
    free(net->pieces);
    free(net->bearer);
    free(net);
}
