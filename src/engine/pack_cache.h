/* Packed weights kept in a file that the next start maps instead of packing again. What the file
 * says is believed only as far as its hash goes; whatever is wrong with it, it is made anew. */
#ifndef ENG_PACK_CACHE_H
#define ENG_PACK_CACHE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { PACK_CACHE_KEY_BYTES = 16 };

/* Maps DIR/KEY.pack read-only: *out [n_bytes], to be given to munmap by pack_cache_unmap.
 * BASE_ENOTFOUND: none, or one that is not whole; err says why. */
int pack_cache_map(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], size_t n_bytes,
                   uint8_t **out, struct base_err *err) BASE_MUST_CHECK;
void pack_cache_unmap(uint8_t *data, size_t n_bytes);

/* Writes it, so that a reader finds it whole or not at all. BASE_EPERM: dir can be written by
 * others; base_outfile's. */
int pack_cache_write(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], const uint8_t *data,
                     size_t n_bytes, struct base_err *err) BASE_MUST_CHECK;

#endif
