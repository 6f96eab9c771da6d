#include "uplink/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT(field) offsetof(struct up_config, field)
enum { MIB = 1 << 20 };

static const struct base_opt table[] = {
    {"target", BASE_OPT_LIST, AT(target_line), 0, UP_MAX_TARGET, NULL, NULL, NULL,
     "Where requests may go: name=NAME url=https://HOST:PORT ca=FILE cert=FILE key=FILE "
     "[pin=sha256//BASE64] [crl=FILE]. NAME is what the policy calls it."},
    {"ledger.file", BASE_OPT_STR, AT(ledger_file), 0, 0, "", NULL, NULL,
     "The egress ledger. Without it, or if it cannot be written, nothing is sent."},
    {"preconnect", BASE_OPT_LIST, AT(preconnect), 0, UP_MAX_TARGET, NULL, NULL, NULL,
     "A target to which a connection is kept up before anything is released. It carries no "
     "request, "
     "but it shows that the vehicle is on."},
    {"connect_deadline_ms", BASE_OPT_INT, AT(connect_deadline_ms), 100, 120000, "5000", "ms", NULL,
     "Name lookup, TCP and TLS together; also how long sent bytes, or probes of a silent line, may "
     "stay unacknowledged."},
    {"idle_close_ms", BASE_OPT_INT, AT(idle_close_ms), 100, 3600000, "60000", "ms", NULL,
     "A connection without a request is closed after this."},
    {"link_retry_ms", BASE_OPT_INT, AT(link_retry_ms), 100, 3600000, "10000", "ms", NULL,
     "A link that failed counts as down for so long, then as unknown."},
    {"max_requests", BASE_OPT_INT, AT(max_requests), 1, 1024, "64", "requests", NULL,
     "Requests open at once; more are refused as busy."},
    {"max_deadline_ms", BASE_OPT_INT, AT(max_deadline_ms), 100, 3600000, "600000", "ms", NULL,
     "The longest that one request may take; a release that asks for more gets this."},
    {"queue_bytes", BASE_OPT_INT, AT(queue_bytes), MIB, 1024 * MIB, "67108864", "bytes", NULL,
     "Released bytes of all requests that wait for their links; past it a request is closed."},
    {"answer_bytes", BASE_OPT_INT, AT(answer_bytes), 65536, 4096.0 * MIB, "268435456", "bytes",
     NULL, "The longest answer of one request."},
    {"log.level", BASE_OPT_ENUM, AT(log_level), 0, 0, "info", NULL, "error|warn|info|debug",
     "The least important messages that are logged."},
};

static int word(const char *line, const char *key, char *out, size_t size, bool needed,
                struct base_err *err)
{
    int e = base_opt_word(line, key, out, size);
    if (e == BASE_ENOTFOUND && !needed) {
        out[0] = '\0';
        return 0;
    }
    if (e == 0 && out[0] != '\0')
        return 0;
    return base_err_set(err, e != 0 ? e : BASE_EINVAL, line, "%s= is missing, empty or too long",
                        key);
}

/* A key that others can read is no key. */
static int check_file(const char *path, bool secret, struct base_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = base_err_set(err, BASE_EIO, path, "cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    close(fd);
    if (!S_ISREG(st.st_mode))
        return base_err_set(err, BASE_EINVAL, path, "is not a file");
    if (secret && (st.st_mode & 077) != 0)
        return base_err_set(err, BASE_EPERM, path, "others may read the key (mode %03o): chmod 600",
                            (unsigned)st.st_mode & 0777);
    return 0;
}

/* libcurl would ignore a pin it cannot read in some versions; ours must be one. */
static int check_pin(const char *pin, struct base_err *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    enum { HEAD = 8, DIGITS = 43 }; /* 32 bytes and one '=' */
    bool ok = pin[0] == '\0' ||
              (strncmp(pin, "sha256//", HEAD) == 0 && strlen(pin) == HEAD + DIGITS + 1 &&
               strspn(pin + HEAD, digits) == DIGITS && pin[HEAD + DIGITS] == '=');
    return ok ? 0 : base_err_set(err, BASE_EINVAL, pin, "a pin is sha256// and 44 base64 digits");
}

/* https://HOST[:PORT] and nothing after it: the path is the uplink's, and a user part would be
 * sent. */
static int check_url(const char *url, struct base_err *err)
{
    bool ok =
        strncmp(url, "https://", 8) == 0 && url[8] != '\0' && strpbrk(url + 8, "/?#@\\ ") == NULL;
    return ok ? 0 : base_err_set(err, BASE_EINVAL, url, "a target's url is https://HOST:PORT");
}

static int read_target(const char *line, struct up_target_config *t, struct base_err *err)
{
    int e = base_opt_words_check(line, "name|url|ca|cert|key|pin|crl", err);
    if (e != 0 || (e = word(line, "name", t->name, sizeof t->name, true, err)) != 0 ||
        (e = word(line, "url", t->url, sizeof t->url, true, err)) != 0 ||
        (e = word(line, "ca", t->ca, sizeof t->ca, true, err)) != 0 ||
        (e = word(line, "cert", t->cert, sizeof t->cert, true, err)) != 0 ||
        (e = word(line, "key", t->key, sizeof t->key, true, err)) != 0 ||
        (e = word(line, "pin", t->pin, sizeof t->pin, false, err)) != 0 ||
        (e = word(line, "crl", t->crl, sizeof t->crl, false, err)) != 0)
        return e;
    if ((e = check_url(t->url, err)) != 0 || (e = check_pin(t->pin, err)) != 0 ||
        (e = check_file(t->ca, false, err)) != 0 || (e = check_file(t->cert, false, err)) != 0 ||
        (e = check_file(t->key, true, err)) != 0)
        return e;
    return t->crl[0] != '\0' ? check_file(t->crl, false, err) : 0;
}

static struct up_target_config *find(struct up_target_config *t, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(t[i].name, name) == 0)
            return &t[i];
    }
    return NULL;
}

int up_config_targets(const struct up_config *c, struct up_target_config *out, int *n,
                      struct base_err *err)
{
    *n = 0;
    for (int i = 0; i < c->target_line.n; i++) {
        out[i] = (struct up_target_config){0};
        int e = read_target(c->target_line.item[i], &out[i], err);
        if (e != 0)
            return e;
        if (find(out, i, out[i].name) != NULL)
            return base_err_set(err, BASE_EINVAL, out[i].name, "the target is given twice");
        *n = i + 1;
    }
    for (int i = 0; i < c->preconnect.n; i++) {
        struct up_target_config *t = find(out, *n, c->preconnect.item[i]);
        if (t == NULL)
            return base_err_set(err, BASE_ENOTFOUND, "preconnect", "there is no target '%s'",
                                c->preconnect.item[i]);
        t->preconnect = true;
    }
    return 0;
}

static int check(const void *cfg, struct base_err *err)
{
    const struct up_config *c = cfg;
    int n;
    struct up_target_config *t = calloc(UP_MAX_TARGET, sizeof *t);
    if (t == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    int e = up_config_targets(c, t, &n, err);
    if (e == 0 && n == 0)
        e = base_err_set(err, BASE_EINVAL, "target", "none is given: there is nowhere to send to");
    if (e == 0 && c->ledger_file[0] == '\0')
        e = base_err_set(err, BASE_EINVAL, "ledger.file",
                         "is not set, and nothing is sent without");
    free(t);
    return e;
}

const struct base_cli up_cli = {
    .program = "waypost-uplink",
    .summary = "the one process with a way out of the vehicle; started by waypost-edge",
    .opt = table,
    .n_opt = sizeof table / sizeof table[0],
    .check = check,
};
