# Per-instruction-set convenience libraries with their own flags; never -march=native.
KERNEL_LIBS =
