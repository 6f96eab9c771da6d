#include "edge/energy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Decimal digits and a line's end at the file's beginning: sysfs gives them anew at each read. */
static bool number_read(int fd, uint64_t *out)
{
    char text[32], *end;
    const ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0 || text[0] < '0' || text[0] > '9')
        return false;
    text[n] = '\0';
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && (*end == '\0' || *end == '\n');
}

/* max_energy_range_uj in the counter's folder; 0: there is none. */
static uint64_t range_read(const char *path)
{
    char name[512];
    const char *slash = strrchr(path, '/');
    uint64_t v = 0;
    const int dir = slash != NULL ? (int)(slash - path) + 1 : 0;
    if (snprintf(name, sizeof name, "%.*smax_energy_range_uj", dir, path) >= (int)sizeof name)
        return 0;
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (!number_read(fd, &v))
        v = 0;
    close(fd);
    return v;
}

int edge_energy_open(struct edge_energy *e, const char *path, struct base_err *err)
{
    *e = (struct edge_energy){.fd = -1};
    if (path[0] == '\0')
        return 0;
    e->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (e->fd < 0)
        return base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
    e->range_uj = range_read(path);
    edge_energy_look(e);
    return 0;
}

void edge_energy_close(struct edge_energy *e)
{
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

void edge_energy_look(struct edge_energy *e)
{
    uint64_t now = 0, used = 0;
    if (e->fd < 0)
        return;
    const bool got = number_read(e->fd, &now);
    bool fine = got && e->have;
    if (fine && now >= e->at_uj)
        used = now - e->at_uj;
    else if (fine && e->range_uj >= e->at_uj)
        used = e->range_uj - e->at_uj + now;
    else
        fine = false; /* no reading, no earlier one, or a counter that was put back */
    if (e->n_run > 0 && fine)
        e->each_j += (double)used / 1e6 / e->n_run;
    else if (e->n_run > 0)
        e->n_gap++;
    e->have = got;
    e->at_uj = now;
}

void edge_energy_begin(struct edge_energy *e, struct edge_energy_mark *m)
{
    edge_energy_look(e);
    /* Where nothing could be read, the time from here on can't be told either: the next look sees
     * it. */
    *m = (struct edge_energy_mark){.each_j = e->each_j, .n_gap = e->n_gap};
    e->n_run++;
}

double edge_energy_since(const struct edge_energy *e, const struct edge_energy_mark *m)
{
    return e->fd >= 0 && e->n_gap == m->n_gap ? e->each_j - m->each_j : -1;
}

double edge_energy_end(struct edge_energy *e, const struct edge_energy_mark *m)
{
    edge_energy_look(e);
    e->n_run--;
    return edge_energy_since(e, m);
}
