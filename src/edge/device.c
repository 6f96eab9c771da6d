#include "edge/device.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    EVERY_US = 2000000,
    WANTED_US = 60000000, /* it goes on for so long after the last who asked */
    STALE_US = 10000000,
    MAX_ZONE = 16,
};

struct edge_device {
    char *root;
    struct net_timer *timer;
    bool running;
    int64_t wanted_us, at_us; /* when somebody asked, when it was looked at */
    uint64_t busy, all;       /* jiffies at the last look */
    struct rt_value load, temperature, mode;
};

static FILE *open_below(const struct edge_device *d, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", d->root, name);
    return fopen(path, "re");
}

/* The first line of /proc/stat: jiffies by what they were spent on (proc(5)). */
static void load_look(struct edge_device *d)
{
    uint64_t v[8] = {0}, all = 0;
    FILE *f = open_below(d, "proc/stat");
    d->load.have = false;
    if (f == NULL)
        return;
    const int n = fscanf(f,
                         "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                         " %" SCNu64 " %" SCNu64,
                         &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    fclose(f);
    if (n < 5)
        return;
    for (int i = 0; i < 8; i++)
        all += v[i];
    const uint64_t busy = all - v[3] - v[4]; /* neither idle nor waiting for a disk */
    if (d->all != 0 && all > d->all && busy >= d->busy)
        d->load =
            (struct rt_value){.have = true, .r = (double)(busy - d->busy) / (double)(all - d->all)};
    d->busy = busy;
    d->all = all;
}

/* The hottest zone; what no silicon survives is no reading. */
static void temperature_look(struct edge_device *d)
{
    char name[64];
    d->temperature.have = false;
    for (int i = 0; i < MAX_ZONE; i++) {
        long milli = 0;
        snprintf(name, sizeof name, "sys/class/thermal/thermal_zone%d/temp", i);
        FILE *f = open_below(d, name);
        if (f == NULL)
            break;
        const bool got = fscanf(f, "%ld", &milli) == 1 && milli > -60000 && milli < 200000;
        fclose(f);
        if (got && (!d->temperature.have || (double)milli / 1000.0 > d->temperature.r))
            d->temperature = (struct rt_value){.have = true, .r = (double)milli / 1000.0};
    }
}

/* What ACPI's platform profile says, on machines that have one. */
static void mode_look(struct edge_device *d)
{
    char word[32] = "";
    FILE *f = open_below(d, "sys/firmware/acpi/platform_profile");
    d->mode.have = false;
    if (f == NULL)
        return;
    const bool got = fscanf(f, "%31s", word) == 1;
    fclose(f);
    if (got)
        d->mode = (struct rt_value){
            .have = true,
            .s =
                strcmp(word, "low-power") == 0 || strcmp(word, "quiet") == 0 ? "saving" : "normal"};
}

static void look(void *arg)
{
    struct edge_device *d = arg;
    const int64_t now = base_clock_mono_us();
    load_look(d);
    temperature_look(d);
    mode_look(d);
    d->at_us = now;
    d->running = now - d->wanted_us < WANTED_US;
    if (d->running)
        net_timer_set(d->timer, EVERY_US);
    else
        d->all = 0;
}

int edge_device_new(struct edge_device **out, const char *root, struct net_loop *l,
                    struct base_err *err)
{
    struct edge_device *d = calloc(1, sizeof *d);
    *out = d;
    if (d == NULL || (d->root = strdup(root)) == NULL ||
        (d->timer = net_timer_new(l, look, d)) == NULL)
        return base_err_set(err, BASE_ENOMEM, "device", "out of memory");
    return 0;
}

void edge_device_free(struct edge_device *d)
{
    if (d == NULL)
        return;
    net_timer_free(d->timer);
    free(d->root);
    free(d);
}

static void fact_set(struct rt_facts *f, enum rt_fact_id id, const struct rt_value *v,
                     int64_t age_us)
{
    if (!v->have || age_us > STALE_US)
        return;
    f->v[id] = *v;
    f->v[id].age_ms = (int32_t)(age_us / 1000);
}

void edge_device_facts(struct edge_device *d, const struct rt_policy *p, struct rt_facts *f)
{
    const int64_t now = base_clock_mono_us();
    if (!rt_policy_uses(p, RT_F_ENGINE_LOAD) && !rt_policy_uses(p, RT_F_ENGINE_TEMPERATURE) &&
        !rt_policy_uses(p, RT_F_ENGINE_POWER_MODE))
        return;
    d->wanted_us = now;
    if (!d->running)
        look(d);
    fact_set(f, RT_F_ENGINE_LOAD, &d->load, now - d->at_us);
    fact_set(f, RT_F_ENGINE_TEMPERATURE, &d->temperature, now - d->at_us);
    fact_set(f, RT_F_ENGINE_POWER_MODE, &d->mode, now - d->at_us);
}
