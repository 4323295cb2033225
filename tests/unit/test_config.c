/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the environment means here what it means to the other tools, and a token that is wrong,
 * or in danger, is told of without being shown.
 * Method: tables of environments with the directories, switches and tokens they must lead to, and
 * with the one warning they must give; a home of our own; every line logged is searched for the
 * token.  Then each allocation and system call fails once, in turn.
 */
#include "cache/config.h"

#include "base/base.h"
#include "base/path.h"
#include "base/sys.h"
#include "faults.h"
#include "tree.h"

#define VARIABLES_MAX 6
#define SECRET        "hf_SeCrEt"

static char logged[8192];
static unsigned warnings;

static void note(void *user, enum wload_log_level level, const char *component, const char *line)
{
    (void)user;
    CHECK_STR(component, "cache");
    warnings += level == WLOAD_LOG_WARN;
    (void)snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", line);
    CHECK(strstr(line, SECRET) == NULL);
}

static const struct wl_log listening = {.line = note, .level = WLOAD_LOG_DEBUG};

/* "NAME=value", where '@' at the value's beginning is the test's own directory. */
static void set(const char *variable)
{
    char name[64];
    const char *value = strchr(variable, '=');

    CHECK(value != NULL);
    (void)snprintf(name, sizeof(name), "%.*s", (int)(value - variable), variable);
    value++;
    CHECK_EQ(setenv(name, value[0] == '@' ? tree_path(value + 1) : value, 1), 0);
}

/* An environment of HOME=<dir>/home and these. */
static void environment(const char *const variables[VARIABLES_MAX])
{
    CHECK_EQ(clearenv(), 0);
    set("HOME=@home");
    for (size_t i = 0; i < VARIABLES_MAX && variables[i]; i++) {
        set(variables[i]);
    }
    logged[0] = '\0';
    warnings = 0;
}

static struct wl_config read_well(const struct wl_config_overrides *overrides)
{
    struct wload_error err = {0};
    struct wl_config config;

    CHECK_OK(wl_config_read(&listening, overrides, &config, &err), &err);
    return config;
}

static const struct wl_config_overrides nothing;

/* ---- Directories ------------------------------------------------------------------------ */

static void check_cache(void)
{
    static const struct {
        const char *variables[VARIABLES_MAX];
        const char *asked;
        const char *cache; /* below the directory, or absolute */
        unsigned warnings;
    } rows[] = {
        {{0}, NULL, "home/.cache/huggingface/hub", 0},
        {{"XDG_CACHE_HOME=@xdg"}, NULL, "xdg/huggingface/hub", 0},
        {{"XDG_CACHE_HOME=@xdg", "HF_HOME=@hf"}, NULL, "hf/hub", 0},
        {{"HF_HOME=@hf", "HUGGINGFACE_HUB_CACHE=@old"}, NULL, "old", 0},
        {{"HF_HUB_CACHE=@new", "HUGGINGFACE_HUB_CACHE=@old"}, NULL, "new", 0},
        {{"HF_HUB_CACHE=@new"}, "/asked/for", "/asked/for", 0},
        {{"HF_HUB_CACHE=@new"}, "~/$X", "home/$X", 0},
        {{"HF_HUB_CACHE=", "HUGGINGFACE_HUB_CACHE=@old"}, NULL, "old", 1},
        {{"HF_HUB_CACHE=", "HF_HOME=", "XDG_CACHE_HOME="}, NULL, "home/.cache/huggingface/hub", 3},
        {{"HF_HOME=~"}, NULL, "home/hub", 0},
        {{"HF_HOME=~/a"}, NULL, "home/a/hub", 0},
        {{"HF_HUB_CACHE=$HOME/$X.${X}/y", "X=x"}, NULL, "home/x.x/y", 0},
        {{"HF_HUB_CACHE=$Y/z", "Y=~"}, NULL, "home/z", 0},
        {{"HUGGINGFACE_HUB_CACHE=~/b"}, NULL, "home/b", 0},
        {{"XDG_CACHE_HOME=~/c"}, NULL, "home/c/huggingface/hub", 0},
        {{"HF_HUB_CACHE=/none/$NONE/${NONE}/$/${/$}"}, NULL, "/none/$NONE/${NONE}/$/${/$}", 0},
        {{"HF_HUB_CACHE=/none/~/a"}, NULL, "/none/~/a", 0},
        {{"HF_HUB_CACHE=~nobody-of-this-name/x"}, NULL, "~nobody-of-this-name/x", 0},
        {{"HF_HUB_CACHE=@link/deep/./er"}, NULL, "target/deep/er", 0},
        {{"HF_HUB_CACHE=@dangling"}, NULL, "scratch/hub", 0},
        {{"HF_HUB_CACHE=@dangling/deep/er"}, NULL, "scratch/hub/deep/er", 0},
        {{"HF_HUB_CACHE=@chain/../x"}, NULL, "scratch/x", 0},
        {{"HF_HUB_CACHE=dangling"}, NULL, "scratch/hub", 0},
        {{"HF_HUB_CACHE=@round/x"}, NULL, "round/x", 0}, /* nothing can be made there */
        {{"HF_HUB_CACHE=@target//none/../x/"}, NULL, "target/x", 0},
        {{"HF_HUB_CACHE=/../../none/../.."}, NULL, "/", 0},
        {{"HF_HUB_CACHE=relative/cache"}, NULL, "relative/cache", 0},
        {{"TRANSFORMERS_CACHE=@elsewhere"}, NULL, "home/.cache/huggingface/hub", 1},
        {{"TRANSFORMERS_CACHE=~/.cache/huggingface/hub"}, NULL, "home/.cache/huggingface/hub", 0},
        {{"PYTORCH_TRANSFORMERS_CACHE=@a", "PYTORCH_PRETRAINED_BERT_CACHE=@b"},
         NULL,
         "home/.cache/huggingface/hub",
         2},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wl_config_overrides overrides = {.cache_dir = rows[i].asked};
        struct wl_config config;

        environment(rows[i].variables);
        config = read_well(&overrides);
        CHECK_STR(config.hub_cache,
                  rows[i].cache[0] == '/' ? rows[i].cache : tree_path(rows[i].cache));
        CHECK_EQ(warnings, rows[i].warnings);
        wl_config_clear(&config);
    }
}

/* Without HOME the system is asked; there is a user to be found wherever tests run. */
static void check_home_of_the_system(void)
{
    char *root = NULL;
    char *other = NULL;

    environment((const char *const[VARIABLES_MAX]){"HOME="});
    CHECK(wl_path_home("root", &root));
    CHECK(wl_path_home("nobody-of-this-name", &other) && other == NULL);
    if (getuid() == 0 && root) {
        char *mine = NULL;

        CHECK(wl_path_home("", &mine));
        CHECK_STR(mine, root);
        wl_sys->free(mine);
        mine = wl_path_expand("~root/x");
        CHECK(mine[0] == '/' && strncmp(mine, root, strlen(root)) == 0);
        CHECK_STR(mine + strlen(root), "/x");
        wl_sys->free(mine);
    }
    wl_sys->free(root);
}

static void check_local_dir(void)
{
    static const struct {
        const char *asked;
        const char *directory; /* below the test's own, or absolute */
    } rows[] = {
        {"/none/x", "/none/x"},  {"/none/x//", "/none/x"}, {"~/x/", "home/x"},
        {"link/x/", "target/x"}, {"./a//b", "a/b"},        {"/", "/"},
    };
    struct wl_config config = read_well(&nothing);

    CHECK(config.local_dir == NULL);
    wl_config_clear(&config);
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        const struct wl_config_overrides overrides = {.local_dir = rows[i].asked};

        environment((const char *const[VARIABLES_MAX]){0});
        config = read_well(&overrides);
        CHECK_STR(config.local_dir,
                  rows[i].directory[0] == '/' ? rows[i].directory : tree_path(rows[i].directory));
        wl_config_clear(&config);
    }
}

static ssize_t no_proc(int dir, const char *path, char *target, size_t size)
{
    (void)dir, (void)path, (void)target, (void)size;
    errno = ENOENT;
    return -1;
}

/* Without /proc nobody can tell where links lead. */
static void check_without_proc(void)
{
    static const char *const rows[][2] = {{"/a/b", "/a/b"},
                                          {"/a/b/", "/a/b"},
                                          {"/a//", "/a"},
                                          {"//", "/"},
                                          {"a", NULL}};
    struct wl_sys table = wl_sys_real;

    table.readlinkat = no_proc;
    wl_sys = &table;
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        char *path = wl_path_expand_home(rows[i][0]);
        struct wload_error err = {0};

        CHECK_EQ(wl_path_resolve(&path, &err), rows[i][1] ? WLOAD_OK : WLOAD_ERR_IO);
        CHECK_STR(path, rows[i][1] ? rows[i][1] : rows[i][0]);
        wl_sys->free(path);
    }
    wl_sys = &wl_sys_real;
}

static void check_roots(void)
{
    struct wl_config config;

    environment((const char *const[VARIABLES_MAX]){"AIM_CACHE_PATH=@aim", "WLOAD_CACHE=~/w"});
    config = read_well(&nothing);
    CHECK_EQ(config.root_count, 2);
    CHECK_STR(config.plain_roots[0], tree_path("home/w"));
    CHECK_STR(config.root_names[0], "WLOAD_CACHE");
    CHECK_STR(config.plain_roots[1], tree_path("aim"));
    CHECK_STR(config.root_names[1], "AIM_CACHE_PATH");
    wl_config_clear(&config);

    environment((const char *const[VARIABLES_MAX]){"AIM_CACHE_PATH=@aim", "WLOAD_CACHE="});
    config = read_well(&nothing);
    CHECK_EQ(config.root_count, 1);
    CHECK_STR(config.root_names[0], "AIM_CACHE_PATH");
    CHECK_EQ(warnings, 1);
    wl_config_clear(&config);
}

/* ---- Switches and numbers ----------------------------------------------------------------- */

static void check_offline(void)
{
    static const struct {
        const char *variables[VARIABLES_MAX];
        bool is_offline;
    } rows[] = {
        {{0}, false},
        {{"HF_HUB_OFFLINE=1"}, true},
        {{"HF_HUB_OFFLINE=On"}, true},
        {{"HF_HUB_OFFLINE=yes"}, true},
        {{"HF_HUB_OFFLINE=TRUE"}, true},
        {{"HF_HUB_OFFLINE=2"}, false},
        {{"HF_HUB_OFFLINE= 1"}, false},
        {{"TRANSFORMERS_OFFLINE=1"}, true},
        {{"HF_HUB_OFFLINE=0", "TRANSFORMERS_OFFLINE=1"}, false},
        {{"HF_HUB_OFFLINE=", "TRANSFORMERS_OFFLINE=1"}, true},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        for (int asked = 0; asked < 2; asked++) {
            struct wl_config_overrides overrides = {.is_offline = asked != 0};
            struct wl_config config;

            environment(rows[i].variables);
            config = read_well(&overrides);
            CHECK_EQ(config.is_offline, asked || rows[i].is_offline);
            wl_config_clear(&config);
        }
    }
}

static void check_defaults(void)
{
    struct wl_config config;

    environment((const char *const[VARIABLES_MAX]){NULL});
    config = read_well(&nothing);
    CHECK_STR(config.endpoint, "https://huggingface.co");
    CHECK_EQ(config.metadata_timeout_ms, 10000);
    CHECK_EQ(config.download_timeout_ms, 10000);
    CHECK_EQ(config.lock_timeout_ms, -1);
    CHECK(!config.token && !config.ca_file && !config.ca_path && config.root_count == 0);
    CHECK(!config.has_no_links && !config.allows_http_token && !config.never_flushes);
    CHECK(strncmp(config.user_agent, "wload/", 6) == 0 && !strchr(config.user_agent, ';'));
    CHECK_EQ(warnings, 0);
    wl_config_clear(&config);

    environment((const char *const[VARIABLES_MAX]){
        "HF_HUB_DISABLE_SYMLINKS=1", "WLOAD_FSYNC=Off", "WLOAD_ALLOW_HTTP_TOKEN=yes",
        "SSL_CERT_FILE=/c.pem", "SSL_CERT_DIR=/c", "HF_HUB_USER_AGENT_ORIGIN=ci"});
    config = read_well(&nothing);
    CHECK(config.has_no_links && config.allows_http_token && config.never_flushes);
    CHECK_STR(config.ca_file, "/c.pem");
    CHECK(config.ca_path == NULL);
    CHECK_STR(strchr(config.user_agent, ';'), "; origin/ci");
    wl_config_clear(&config);

    environment((const char *const[VARIABLES_MAX]){"SSL_CERT_FILE=", "SSL_CERT_DIR=/c",
                                                   "WLOAD_FSYNC=1",
                                                   "HF_HUB_USER_AGENT_ORIGIN=a\r\nb: c"});
    config = read_well(&nothing);
    CHECK(config.ca_file == NULL && !config.never_flushes);
    CHECK_STR(config.ca_path, "/c");
    CHECK(!strchr(config.user_agent, ';') && !strchr(config.user_agent, '\n'));
    CHECK_EQ(warnings, 1);
    wl_config_clear(&config);
}

static void check_numbers(void)
{
    static const struct {
        const char *text;
        int64_t timeout_ms, lock_ms;
        unsigned warnings;
    } rows[] = {
        {"", 10000, -1, 0},        {"0", 10000, 0, 0},
        {"30", 30000, 30000, 0},   {" 7 ", 7000, 7000, 0},
        {"-1", 10000, -1, 3},      {"ten", 10000, -1, 3},
        {"1.5", 10000, -1, 3},     {"99999999999999999999", 10000, -1, 3},
        {"1000000", 10000, -1, 3},
    };
    static const char *const names[] = {"HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT",
                                        "WLOAD_LOCK_TIMEOUT"};

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wl_config config;

        environment((const char *const[VARIABLES_MAX]){NULL});
        for (size_t k = 0; k < WL_COUNT_OF(names); k++) {
            CHECK_EQ(setenv(names[k], rows[i].text, 1), 0);
        }
        config = read_well(&nothing);
        CHECK_EQ(config.metadata_timeout_ms, rows[i].timeout_ms);
        CHECK_EQ(config.download_timeout_ms, rows[i].timeout_ms);
        CHECK_EQ(config.lock_timeout_ms, rows[i].lock_ms);
        CHECK_EQ(warnings, rows[i].warnings);
        wl_config_clear(&config);
    }
}

/* ---- The endpoint --------------------------------------------------------------------------- */

static void check_endpoint(void)
{
    static const struct {
        const char *text, *endpoint; /* NULL: refused */
        const char *warning;         /* with a token; NULL: none */
    } rows[] = {
        {"", "https://huggingface.co", NULL},
        {"https://hf.co", "https://hf.co", NULL},
        {"https://hub.example/", "https://hub.example", "sent to the endpoint"},
        {"https://hub.example/base//", "https://hub.example/base", "sent to the endpoint"},
        {"https://huggingface.co.evil.example", "https://huggingface.co.evil.example", "sent to"},
        {"http://hub.example:8080", "http://hub.example:8080", "plain http"},
        {"http://huggingface.co", "http://huggingface.co", "plain http"},
        {"http://127.0.0.1:8080/", "http://127.0.0.1:8080", NULL},
        {"http://localhost:1", "http://localhost:1", NULL},
        {"http://localhost.example", "http://localhost.example", "plain http"},
        {"http://127.evil.example", "http://127.evil.example", "plain http"},
        {"http://[::1]:80", "http://[::1]:80", NULL},
        {"http://[0:0::1]:80", "http://[0:0::1]:80", NULL},
        {"hub.example", NULL, NULL},
        {"ftp://hub.example", NULL, NULL},
        {"https://", NULL, NULL},
        {"https:///x", NULL, NULL},
        {"https://user:" SECRET "@hub.example", NULL, NULL},
        {"https://hub.example?x", NULL, NULL},
        {"https://hub.example#x", NULL, NULL},
        {"https://hub.example\r\nX: y", NULL, NULL},
        {"https://hub ex", NULL, NULL},
        {"https://h\xc3\xbc"
         "b",
         NULL, NULL},
    };

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wload_error err = {0};
        struct wl_config config;
        int rc;

        environment((const char *const[VARIABLES_MAX]){"HF_TOKEN=" SECRET});
        CHECK_EQ(setenv("HF_ENDPOINT", rows[i].text, 1), 0);
        rc = wl_config_read(&listening, &nothing, &config, &err);
        CHECK(strstr(err.message, SECRET) == NULL);
        if (!rows[i].endpoint) {
            CHECK_EQ(rc, WLOAD_ERR_INVALID);
            CHECK(strstr(err.message, "HF_ENDPOINT") != NULL);
            continue;
        }
        CHECK_OK(rc, &err);
        CHECK_STR(config.endpoint, rows[i].endpoint);
        CHECK_EQ(warnings, rows[i].warning != NULL);
        CHECK(!rows[i].warning || strstr(logged, rows[i].warning));
        wl_config_clear(&config);

        logged[0] = '\0'; /* and without one there is nothing to warn of */
        warnings = 0;
        config = read_well(&(struct wl_config_overrides){.token = ""});
        CHECK_EQ(warnings, 0);
        wl_config_clear(&config);
    }
    environment((const char *const[VARIABLES_MAX]){"HUGGINGFACE_CO_STAGING=1"});
    {
        struct wl_config config = read_well(&nothing);

        CHECK_STR(config.endpoint, "https://hub-ci.huggingface.co");
        wl_config_clear(&config);
    }
}

/* ---- The token --------------------------------------------------------------------------------
 */

static void write_token(const char *name, const char *text, mode_t mode)
{
    (void)unlink(tree_path(name)); /* one that not even its owner may write to */
    tree_write_text(name, text);
    CHECK_EQ(chmod(tree_path(name), mode), 0);
}

static void check_token_order(void)
{
    static const struct {
        const char *variables[VARIABLES_MAX];
        const char *asked;
        const char *token; /* NULL: none */
        bool is_offline;
    } rows[] = {
        {{"HF_HOME=@empty"}, NULL, NULL, false},
        {{"HF_HOME=@hf"}, NULL, "of-home", false},
        {{"HF_HOME=@hf", "HF_TOKEN_PATH=@other/token"}, NULL, "of-path", false},
        {{"HF_TOKEN_PATH=~/tok"}, NULL, "of-tilde", false},
        {{"HF_HOME=@hf", "HF_TOKEN_PATH=@no/such"}, NULL, NULL, false},
        {{"HF_HOME=@hf", "HF_TOKEN_PATH=@hf/token/below"}, NULL, NULL, false},
        {{"HF_HOME=@hf", "HUGGING_FACE_HUB_TOKEN=old"}, NULL, "old", false},
        {{"HF_TOKEN=new", "HUGGING_FACE_HUB_TOKEN=old"}, NULL, "new", false},
        {{"HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN=old"}, NULL, "old", false},
        {{"HF_TOKEN= \r\n", "HF_HOME=@hf"}, NULL, "of-home", false},
        {{"HF_TOKEN=\r\n new\t\n"}, NULL, "new", false},
        {{"HF_TOKEN=new"}, "asked\n", "asked", false},
        {{"HF_TOKEN=new", "HF_HOME=@hf"}, "", NULL, false},
        {{"HF_TOKEN=new", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1"}, NULL, NULL, false},
        {{"HF_TOKEN=new", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1"}, "asked", "asked", false},
        {{"HF_OIDC_RESOURCE=org"}, "asked", "asked", false},
        {{"HF_OIDC_RESOURCE=org"}, "", NULL, false},
        {{"HF_OIDC_RESOURCE=org", "HF_HUB_DISABLE_IMPLICIT_TOKEN=1"}, NULL, NULL, false},
        {{"HF_OIDC_RESOURCE=", "HF_TOKEN=new"}, NULL, "new", false},
        {{"HF_OIDC_RESOURCE=org", "HF_HUB_OFFLINE=1"}, NULL, NULL, true}, /* nobody to tell */
        {{"HF_TOKEN=new", "HF_HUB_OFFLINE=1"}, NULL, NULL, true},
        {{"HF_HOME=@blank"}, NULL, NULL, false},
    };

    write_token("hf/token", "of-home\n", 0600);
    write_token("other/token", " of-path\r\n", 0600);
    write_token("home/tok", "of-tilde", 0600);
    write_token("blank/token", " \n", 0600);
    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        struct wl_config_overrides overrides = {.token = rows[i].asked};
        struct wl_config config;

        environment(rows[i].variables);
        config = read_well(&overrides);
        CHECK_STR(config.token ? config.token : "(none)", rows[i].token ? rows[i].token : "(none)");
        CHECK_EQ(config.is_offline, rows[i].is_offline);
        CHECK_EQ(config.token_error.code, 0);
        CHECK_EQ(warnings, 0);
        wl_config_clear(&config);
    }
}

/* A caller's token is refused at once, one of the environment when a hub is to be asked. */
static void expect_token_refused(const char *asked, int code, const char *finding)
{
    const struct wl_config_overrides overrides = {.token = asked};
    struct wload_error err = {0};
    struct wl_config config = {0};
    int rc = wl_config_read(&listening, &overrides, &config, &err);

    CHECK_EQ(rc, asked ? code : WLOAD_OK);
    if (!asked) {
        CHECK(!config.token);
        err = config.token_error;
        wl_config_clear(&config);
    }
    CHECK_EQ(err.code, code);
    CHECK(strstr(err.message, finding) && !strstr(err.message, SECRET));
}

static void check_token_refused(void)
{
    static const char *const texts[] = {SECRET "\nX-Evil: 1", SECRET " b", SECRET "\x7f",
                                        SECRET "\xc3\xa9",
                                        SECRET "\x01"
                                               "b"};

    for (size_t i = 0; i < WL_COUNT_OF(texts); i++) {
        for (int way = 0; way < 4; way++) {
            environment((const char *const[VARIABLES_MAX]){NULL});
            if (way == 1 || way == 2) {
                CHECK_EQ(setenv(way == 1 ? "HF_TOKEN" : "HUGGING_FACE_HUB_TOKEN", texts[i], 1), 0);
            } else if (way == 3) {
                write_token("bad/token", texts[i], 0600);
                set("HF_HOME=@bad");
            }
            expect_token_refused(way == 0 ? texts[i] : NULL, WLOAD_ERR_AUTH, "token");
        }
    }
    tree_write("bad/token", SECRET "\0x", strlen(SECRET) + 2);
    environment((const char *const[VARIABLES_MAX]){"HF_HOME=@bad"});
    expect_token_refused(NULL, WLOAD_ERR_AUTH, "token");
    environment((const char *const[VARIABLES_MAX]){"HF_OIDC_RESOURCE=org", "HF_TOKEN=a"});
    expect_token_refused(NULL, WLOAD_ERR_UNSUPPORTED, "HF_OIDC_RESOURCE");
}

/* What no header has room for is refused where it is read. */
static void check_token_length(void)
{
    static char text[WL_CONFIG_TOKEN_BYTES_MAX + 2];

    memset(text, 't', WL_CONFIG_TOKEN_BYTES_MAX);
    for (int more = 0; more < 2; more++) {
        struct wl_config config;

        text[WL_CONFIG_TOKEN_BYTES_MAX] = more ? 't' : '\n';
        write_token("long/token", text, 0600);
        environment((const char *const[VARIABLES_MAX]){"HF_HOME=@long"});
        if (more) {
            expect_token_refused(NULL, WLOAD_ERR_AUTH, "long/token has 8001 bytes");
        } else {
            config = read_well(&nothing);
            CHECK_EQ(strlen(config.token), WL_CONFIG_TOKEN_BYTES_MAX);
            wl_config_clear(&config);
        }
    }
}

static void check_token_file_warnings(void)
{
    static const struct {
        mode_t mode;
        unsigned warnings;
    } rows[] = {{0600, 0}, {0400, 0}, {0640, 1}, {0604, 1}, {0644, 1}};
    struct wl_config config;

    for (size_t i = 0; i < WL_COUNT_OF(rows); i++) {
        write_token("hf/token", SECRET, rows[i].mode);
        environment((const char *const[VARIABLES_MAX]){"HF_HOME=@hf"});
        config = read_well(&nothing);
        CHECK_STR(config.token, SECRET);
        CHECK(config.token_note == NULL);
        CHECK_EQ(warnings, rows[i].warnings);
        CHECK(warnings == 0 || strstr(logged, tree_path("hf/token")));
        wl_config_clear(&config);
    }
    environment((const char *const[VARIABLES_MAX]){"HF_TOKEN_PATH=@home"}); /* no file */
    config = read_well(&nothing);
    CHECK(config.token == NULL && strstr(config.token_note, tree_path("home")));
    CHECK_EQ(warnings, 1);
    wl_config_clear(&config);
}

/* ---- Failures -----------------------------------------------------------------------------------
 */

static void check_failures(void)
{
    const struct wl_config_overrides overrides = {.local_dir = "~/x"};
    uint64_t fail_at;

    environment((const char *const[VARIABLES_MAX]){"HF_HOME=$HOME/hf", "WLOAD_CACHE=~/w",
                                                   "TRANSFORMERS_CACHE=@t", "SSL_CERT_FILE=/c",
                                                   "HF_TOKEN_PATH=@other/token"});
    for (fail_at = 1;; fail_at++) {
        struct wload_error err = {0};
        struct wl_config config = {0};
        unsigned descriptors = faults_open_descriptors();
        uint64_t calls;
        int64_t left;
        int rc;

        logged[0] = '\0';
        faults_begin(&(struct faults){.fail_at = fail_at});
        rc = wl_config_read(&listening, &overrides, &config, &err);
        if (rc == WLOAD_OK) {
            CHECK(config.hub_cache[0] == '/' && config.local_dir[0] == '/');
            wl_config_clear(&config);
        }
        left = faults_live_blocks();
        calls = faults_end();
        CHECK_EQ(left, 0);
        CHECK_EQ(faults_open_descriptors(), descriptors);
        CHECK(rc == WLOAD_OK || (err.code == rc && err.message[0] != '\0'));
        if (calls < fail_at) {
            CHECK_OK(rc, &err);
            break;
        }
    }
    CHECK(fail_at > 20);
}

int main(void)
{
    (void)sample_dir(); /* while TMPDIR is there */
    tree_make_folders("home/x");
    tree_make_folders("target/x");
    CHECK_EQ(symlink("target", tree_path("link")), 0);
    CHECK_EQ(symlink("target/../scratch/hub", tree_path("dangling")), 0);
    CHECK_EQ(symlink(tree_path("dangling"), tree_path("chain")), 0);
    CHECK_EQ(symlink("round", tree_path("round")), 0);
    CHECK_EQ(chdir(sample_dir()), 0);
    check_cache();
    check_home_of_the_system();
    check_local_dir();
    check_without_proc();
    check_roots();
    check_offline();
    check_defaults();
    check_numbers();
    check_endpoint();
    check_token_order();
    check_token_refused();
    check_token_length();
    check_token_file_warnings();
    check_failures();
    return 0;
}
