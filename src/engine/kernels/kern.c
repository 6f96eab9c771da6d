/* Which tables this build has, which of them this CPU can run, and which one is used. */
#include "engine/kernels/kern.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif
#ifdef __aarch64__
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#include "engine/kernels/kern_impl.h"
#include "engine/kernels/kv_block.h"

#ifdef __x86_64__
/* Not every compiler's __builtin_cpu_supports knows this one. */
static bool cpu_has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/* __builtin_cpu_supports also asks whether the operating system saves the wide registers. */
static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
}

static bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

static bool cpu_has_vnni(void)
{
    return cpu_has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#endif

#ifdef __aarch64__
static bool cpu_has_dotprod(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

static bool cpu_has_i8mm(void)
{
    return cpu_has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}
#endif

static bool cpu_has_base(void)
{
    return true; /* of arm64, NEON is a part */
}

/* Slowest first. A name without init belongs to another architecture: known, but not here. */
static const struct {
    const char *name;
    void (*init)(struct kern_ops *ops);
    bool (*runs_here)(void);
} known[] = {
    {"generic", kern_generic_init, cpu_has_base},
#ifdef __x86_64__
    {"avx2", kern_avx2_init, cpu_has_avx2},       {"avx512", kern_avx512_init, cpu_has_avx512},
    {"vnni", kern_vnni_init, cpu_has_vnni},
#else
    {"avx2", NULL, NULL},
    {"avx512", NULL, NULL},
    {"vnni", NULL, NULL},
#endif
#ifdef __aarch64__
    {"neon", kern_neon_init, cpu_has_base},       {"dotprod", kern_dotprod_init, cpu_has_dotprod},
    {"i8mm", kern_i8mm_init, cpu_has_i8mm},
#else
    {"neon", NULL, NULL},
    {"dotprod", NULL, NULL},
    {"i8mm", NULL, NULL},
#endif
};
enum { N_KNOWN = sizeof known / sizeof known[0] };

static struct kern_ops table[N_KNOWN]; /* filled once; matmul NULL: can't run here */
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    struct kern_ops ops = {0};
    for (int i = 0; i < N_KNOWN; i++) {
        if (known[i].init == NULL || !known[i].runs_here())
            continue;
        known[i].init(&ops);
        ops.name = known[i].name;
        table[i] = ops;
    }
}

/* Index of the name s[0..len), or -1. */
static int find(const char *s, size_t len)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (strlen(known[i].name) == len && memcmp(known[i].name, s, len) == 0)
            return i;
    return -1;
}

static int unknown_name(const char *s, size_t len, struct base_err *err)
{
    return base_err_set(err, BASE_EINVAL, "WAYPOST_CPU",
                        "no kernel table is called '%.*s' (generic, avx2, avx512, vnni, neon, "
                        "dotprod, i8mm)",
                        (int)len, s);
}

/* "-avx512,-avx2": marks what must not be used. */
static int parse_peel(const char *want, bool peeled[N_KNOWN], struct base_err *err)
{
    for (const char *s = want; *s != '\0';) {
        size_t len = strcspn(s, ",");
        int i = *s == '-' ? find(s + 1, len - 1) : -1;
        if (i < 0)
            return unknown_name(s, len, err);
        if (i == 0)
            return base_err_set(err, BASE_EINVAL, "WAYPOST_CPU", "generic can't be peeled off");
        peeled[i] = true;
        s += len;
        s += *s == ',';
    }
    return 0;
}

int kern_select(const char *want, const struct kern_ops **out, struct base_err *err)
{
    bool peeled[N_KNOWN] = {false};
    pthread_once(&filled, fill);
    *out = NULL;
    if (want != NULL && want[0] != '\0' && want[0] != '-') {
        int i = find(want, strlen(want));
        if (i < 0)
            return unknown_name(want, strlen(want), err);
        if (table[i].matmul == NULL)
            return base_err_set(err, BASE_EUNSUPPORTED, "WAYPOST_CPU",
                                "this CPU or build can't run the '%s' kernels", want);
        *out = &table[i];
        return 0;
    }
    if (want != NULL) {
        int rc = parse_peel(want, peeled, err);
        if (rc != 0)
            return rc;
    }
    for (int i = 0; i < N_KNOWN; i++)
        if (table[i].matmul != NULL && !peeled[i])
            *out = &table[i];
    return 0;
}

int kern_list(const struct kern_ops **out, int max)
{
    int n = 0;
    pthread_once(&filled, fill);
    for (int i = 0; i < N_KNOWN && n < max; i++)
        if (table[i].matmul != NULL)
            out[n++] = &table[i];
    return n;
}

size_t kern_scratch_bytes(int n_in)
{
    return kern_pad(n_in) * KERN_ROWS * sizeof(float);
}

size_t kern_kv_block_bytes(int head_dim, enum kern_kv_type type)
{
    return kv_layout(head_dim, type).bytes;
}

size_t kern_part_floats(int head_dim)
{
    return kern_pad(head_dim) + 16;
}

void kern_part_out(float *out, const float *part, int head_dim)
{
    const float sum = part[kern_pad(head_dim) + KV_SUM];
    for (int i = 0; i < head_dim; i++)
        out[i] = part[i] / sum;
}

const char *kern_cpu_features(char *buf, size_t size_bytes)
{
    size_t len = 0;
    if (size_bytes == 0)
        return buf;
    buf[0] = '\0';
#define REPORT(name, has)                                                                        \
    do {                                                                                         \
        if ((has) && len < size_bytes)                                                           \
            len +=                                                                               \
                (size_t)snprintf(buf + len, size_bytes - len, "%s%s", len > 0 ? " " : "", name); \
    } while (0)
#if defined(__x86_64__)
    REPORT("sse4_2", __builtin_cpu_supports("sse4.2"));
    REPORT("avx", __builtin_cpu_supports("avx"));
    REPORT("avx2", __builtin_cpu_supports("avx2"));
    REPORT("fma", __builtin_cpu_supports("fma"));
    REPORT("f16c", cpu_has_f16c());
    REPORT("avx512f", __builtin_cpu_supports("avx512f"));
    REPORT("avx512bw", __builtin_cpu_supports("avx512bw"));
    REPORT("avx512vl", __builtin_cpu_supports("avx512vl"));
    REPORT("avx512dq", __builtin_cpu_supports("avx512dq"));
    REPORT("avx512_vnni", __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__)
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    REPORT("neon", cap & HWCAP_ASIMD);
    REPORT("fp16", cap & HWCAP_ASIMDHP);
    REPORT("dotprod", cap & HWCAP_ASIMDDP);
    REPORT("sve", cap & HWCAP_SVE);
    REPORT("i8mm", cap2 & HWCAP2_I8MM);
    REPORT("bf16", cap2 & HWCAP2_BF16);
#endif
#undef REPORT
    return buf;
}
