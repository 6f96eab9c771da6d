/* Speed by type and table: single rows (decode) in weight GB/s, batches (prefill) in GFLOP/s. */
#ifndef TESTS_KERNELS_BENCH_H
#define TESTS_KERNELS_BENCH_H

struct kern_ops;
int bench(const struct kern_ops *const *list, int n);

#endif
