/* hwlimits [THREADS [MILLISECONDS]]: what this machine can do at most, as JSON. Read bandwidth by
 * the size of the set that all threads share out, and multiply-add peaks with operands in
 * registers. An engine's rates mean something only beside these, taken in the same minutes.
 *
 * The peaks are loops in assembly over as many independent accumulators as hide the latency, so
 * that no compiler can drop or spill them; each is run only where CPUID (or AT_HWCAP) has its
 * instruction. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum { MAX_THREAD = 256, N_REPEAT = 5, PIECE = 1 << 18, LOOPS = 20000 };

struct task {
    void (*piece)(const struct task *t, size_t at); /* a bit of work, some microseconds */
    const char *mem;
    size_t bytes;     /* of mem; 0: no memory is read */
    double per_piece; /* operations or bytes */
    int cpu, ms;
    pthread_barrier_t *start;
    double work;
    int64_t t0, t1;
};

/* ---- reading ---- */

typedef uint64_t vec __attribute__((vector_size(64), aligned(64)));
static volatile uint64_t sink;

#define READ_BODY                                       \
    const vec *v = (const vec *)(t->mem + at);          \
    vec a = {0}, b = a, c = a, d = a;                   \
    for (size_t i = 0; i < PIECE / sizeof *v; i += 4) { \
        a ^= v[i];                                      \
        b ^= v[i + 1];                                  \
        c ^= v[i + 2];                                  \
        d ^= v[i + 3];                                  \
    }                                                   \
    a ^= b ^ c ^ d;                                     \
    sink = sink ^ a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7]

static void read_plain(const struct task *t, size_t at)
{
    READ_BODY;
}

/* ---- multiplying ---- */

#define R12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define R24(M) R12(M) M(12) M(13) M(14) M(15) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23)
enum { N_ACC_512 = 24, N_ACC_256 = 12, N_ACC_NEON = 24, N_ACC_AMX = 4 };

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void read_avx512(const struct task *t, size_t at)
{
    READ_BODY;
}
__attribute__((target("avx2"))) static void read_avx2(const struct task *t, size_t at)
{
    READ_BODY;
}

#define CLOBBER_512                                                                               \
    "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", "zmm10",      \
        "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", \
        "zmm21", "zmm22", "zmm23", "zmm30", "zmm31"
#define ZERO_512(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define FMA_512(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define BF16_512(i) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define INT8_512(i) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define LOOP_512(name, OP)                                                                     \
    __attribute__((target("avx512f"))) static void name(const struct task *t, size_t at)       \
    {                                                                                          \
        long n = LOOPS;                                                                        \
        (void)t, (void)at;                                                                     \
        __asm__ volatile(R24(ZERO_512) ZERO_512(30) ZERO_512(31) "1:\n\t" R24(OP) "dec %0\n\t" \
                                                                                  "jnz 1b"     \
                         : "+r"(n)::"cc", CLOBBER_512);                                        \
    }
LOOP_512(fma_512, FMA_512)
LOOP_512(bf16_512, BF16_512)
LOOP_512(int8_512, INT8_512)

#define ZERO_256(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define FMA_256(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"
__attribute__((target("avx2,fma"))) static void fma_256(const struct task *t, size_t at)
{
    long n = LOOPS;
    (void)t, (void)at;
    __asm__ volatile(R12(ZERO_256) ZERO_256(14) ZERO_256(15) "1:\n\t" R12(FMA_256) "dec %0\n\t"
                                                                                   "jnz 1b"
                     : "+r"(n)::"cc", "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6",
                       "ymm7", "ymm8", "ymm9", "ymm10", "ymm11", "ymm14", "ymm15");
}

/* Tiles 0 to 3 are sums, 4 to 7 operands; all of 16 rows of 64 bytes. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
#define LOOP_AMX(name, OP)                                                                 \
    static void name(const struct task *t, size_t at)                                      \
    {                                                                                      \
        struct tile_config c = {.palette = 1};                                             \
        long n = LOOPS;                                                                    \
        (void)t, (void)at;                                                                 \
        for (int i = 0; i < 8; i++) {                                                      \
            c.row_bytes[i] = 64;                                                           \
            c.rows[i] = 16;                                                                \
        }                                                                                  \
        __asm__ volatile("ldtilecfg %1\n\t"                                                \
                         "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\t"       \
                         "tilezero %%tmm3\n\ttilezero %%tmm4\n\ttilezero %%tmm5\n\t"       \
                         "tilezero %%tmm6\n\ttilezero %%tmm7\n\t"                          \
                         "1:\n\t" OP " %%tmm6, %%tmm4, %%tmm0\n\t" OP                      \
                         " %%tmm7, %%tmm4, %%tmm1\n\t" OP " %%tmm6, %%tmm5, %%tmm2\n\t" OP \
                         " %%tmm7, %%tmm5, %%tmm3\n\t"                                     \
                         "dec %0\n\tjnz 1b\n\ttilerelease"                                 \
                         : "+r"(n)                                                         \
                         : "m"(c)                                                          \
                         : "cc");                                                          \
    }
LOOP_AMX(int8_amx, "tdpbssd")
LOOP_AMX(bf16_amx, "tdpbf16ps")

static uint32_t cpuid7_edx(void)
{
    uint32_t a = 7, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return d;
}

/* The kernel hands out the tiles' state on request (arch_prctl(2), ARCH_REQ_XCOMP_PERM of 18). */
static int has_amx(int cpuid_bit)
{
    return (cpuid7_edx() >> 24 & 1) != 0 && (cpuid7_edx() >> cpuid_bit & 1) != 0 &&
           syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}
#elif defined(__aarch64__)
#define CLOBBER_NEON                                                                               \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", \
        "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31"
#define ZERO_NEON(i) "movi v" #i ".4s, #0\n\t"
#define FMA_NEON(i) "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
#define INT8_NEON(i) "sdot v" #i ".4s, v30.16b, v31.16b\n\t"
#define LOOP_NEON(name, EXTENSION, OP)                                                   \
    static void name(const struct task *t, size_t at)                                    \
    {                                                                                    \
        long n = LOOPS;                                                                  \
        (void)t, (void)at;                                                               \
        __asm__ volatile(EXTENSION R24(ZERO_NEON) ZERO_NEON(30)                          \
                             ZERO_NEON(31) "1:\n\t" R24(OP) "subs %0, %0, #1\n\tb.ne 1b" \
                         : "+r"(n)::"cc", CLOBBER_NEON);                                 \
    }
LOOP_NEON(fma_neon, "", FMA_NEON)
LOOP_NEON(int8_neon, ".arch armv8.2-a+dotprod\n\t", INT8_NEON)
#endif

/* ---- measuring ---- */

static void *run(void *arg)
{
    struct task *t = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(t->cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* where it can't be, the spread tells */
    for (size_t at = 0; at < t->bytes; at += PIECE)
        t->piece(t, at);
    pthread_barrier_wait(t->start);
    t->t0 = t->t1 = base_clock_mono_us();
    for (size_t at = 0; t->t1 < t->t0 + t->ms * 1000; at += PIECE) {
        if (at >= t->bytes)
            at = 0;
        t->piece(t, at);
        t->work += t->per_piece;
        t->t1 = base_clock_mono_us();
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int nth_cpu(const cpu_set_t *set, int n)
{
    int cpu = 0;
    for (n %= CPU_COUNT(set); !CPU_ISSET(cpu, set) || n > 0; cpu++)
        n -= CPU_ISSET(cpu, set) ? 1 : 0;
    return cpu;
}

/* Giga-somethings a second of n_thread together; mem is shared out. Prints {"min": …}. */
static void measure(const struct task *what, int n_thread)
{
    static struct task t[MAX_THREAD];
    static pthread_t id[MAX_THREAD];
    double rate[N_REPEAT];
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        abort();
    for (int k = 0; k < N_REPEAT; k++) {
        pthread_barrier_t start;
        double work = 0;
        int64_t t0 = INT64_MAX, t1 = 0;
        pthread_barrier_init(&start, NULL, (unsigned)n_thread);
        for (int i = 0; i < n_thread; i++) {
            t[i] = *what;
            t[i].bytes = what->bytes / (size_t)n_thread / PIECE * PIECE;
            t[i].mem = what->bytes > 0 ? what->mem + (size_t)i * t[i].bytes : NULL;
            t[i].cpu = nth_cpu(&set, i);
            t[i].start = &start;
            if (pthread_create(&id[i], NULL, run, &t[i]) != 0)
                abort();
        }
        for (int i = 0; i < n_thread; i++) {
            pthread_join(id[i], NULL);
            work += t[i].work;
            t0 = t[i].t0 < t0 ? t[i].t0 : t0;
            t1 = t[i].t1 > t1 ? t[i].t1 : t1;
        }
        pthread_barrier_destroy(&start);
        rate[k] = work / (double)(t1 - t0) / 1e3;
    }
    qsort(rate, N_REPEAT, sizeof *rate, by_value);
    printf("{\"min\": %.2f, \"median\": %.2f, \"max\": %.2f}", rate[0], rate[N_REPEAT / 2],
           rate[N_REPEAT - 1]);
}

static void measure_reads(int n_thread, int ms)
{
    static const size_t mib[] = {1, 4, 16, 32, 64, 96, 128, 256, 512, 1024};
    const size_t most = (size_t)1024 << 20;
    char *mem = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        abort();
    memset(mem, 1, most);
    struct task t = {.piece = read_plain, .mem = mem, .per_piece = PIECE, .ms = ms};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        t.piece = read_avx2;
    if (__builtin_cpu_supports("avx512f"))
        t.piece = read_avx512;
#endif
    for (size_t i = 0; i < sizeof mib / sizeof mib[0]; i++) {
        if (mib[i] << 20 < (size_t)n_thread * PIECE)
            continue;
        t.bytes = mib[i] << 20;
        printf("%s\n  {\"mib\": %zu, \"gb_s\": ", i == 0 ? "" : ",", mib[i]);
        measure(&t, n_thread);
        putchar('}');
    }
    munmap(mem, most);
}

/* ops: of one instruction */
static void measure_peak(const char *name, void (*piece)(const struct task *, size_t), int n_acc,
                         double ops, int n_thread, int ms)
{
    static int n_before;
    const struct task t = {.piece = piece, .per_piece = ops * n_acc * LOOPS, .ms = ms};
    printf("%s\n  {\"what\": \"%s\", \"gop_s\": ", n_before++ == 0 ? "" : ",", name);
    measure(&t, n_thread);
    putchar('}');
}

static void measure_peaks(int n, int ms)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        measure_peak("f32 vfmadd231ps zmm", fma_512, N_ACC_512, 32, n, ms);
    else if (__builtin_cpu_supports("fma"))
        measure_peak("f32 vfmadd231ps ymm", fma_256, N_ACC_256, 16, n, ms);
    if (__builtin_cpu_supports("avx512bf16"))
        measure_peak("bf16 vdpbf16ps zmm", bf16_512, N_ACC_512, 64, n, ms);
    if (__builtin_cpu_supports("avx512vnni"))
        measure_peak("int8 vpdpbusd zmm", int8_512, N_ACC_512, 128, n, ms);
    if (has_amx(25))
        measure_peak("int8 tdpbssd", int8_amx, N_ACC_AMX, 2 * 16 * 16 * 64, n, ms);
    if (has_amx(22))
        measure_peak("bf16 tdpbf16ps", bf16_amx, N_ACC_AMX, 2 * 16 * 16 * 32, n, ms);
#elif defined(__aarch64__)
    measure_peak("f32 fmla 4s", fma_neon, N_ACC_NEON, 8, n, ms);
    if ((getauxval(AT_HWCAP) & (1ul << 20)) != 0) /* HWCAP_ASIMDDP */
        measure_peak("int8 sdot 4s", int8_neon, N_ACC_NEON, 32, n, ms);
#else
    (void)n, (void)ms;
#endif
}

int main(int argc, char **argv)
{
    const int n_thread = argc > 1 ? atoi(argv[1]) : 1, ms = argc > 2 ? atoi(argv[2]) : 40;
    if (n_thread < 1 || n_thread > MAX_THREAD || ms < 1 || ms > 10000) {
        fputs("usage: hwlimits [THREADS [MILLISECONDS]]\n", stderr);
        return 2;
    }
    printf("{\"threads\": %d, \"read\": [", n_thread);
    measure_reads(n_thread, ms);
    printf("],\n \"peak\": [");
    measure_peaks(n_thread, ms);
    puts("]}");
    return 0;
}
