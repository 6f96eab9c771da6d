/* Packed weights kept in a file that the next start maps instead of packing again. What the file
 * says is believed only as far as its hash goes; whatever is wrong with it, it is made anew. */
#ifndef ENG_PACK_CACHE_H
#define ENG_PACK_CACHE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { PACK_CACHE_KEY_BYTES = 16 };

/* DIR/KEY.pack, mapped read-only and not believed yet. BASE_ENOTFOUND: none, or none of n_bytes for this
 * key, err says why; BASE_ENOMEM. */
struct pack_cache;
int pack_cache_open(struct pack_cache **out, const char *dir,
                    const uint8_t key[PACK_CACHE_KEY_BYTES], size_t n_bytes,
                    struct base_err *err) BASE_MUST_CHECK;
/* Hashes pieces of it until none is left to take: by as many threads at once as one likes. */
void pack_cache_hash(struct pack_cache *c);
/* Once all of them have returned, and at least one has been: the packed weights if the hash is right, to be
 * given to pack_cache_unmap, or NULL and err. Frees c. */
uint8_t *pack_cache_accept(struct pack_cache *c, struct base_err *err) BASE_MUST_CHECK;
void pack_cache_unmap(uint8_t *data, size_t n_bytes);

/* Writes it, so that a reader finds it whole or not at all. BASE_EPERM: dir can be written by
 * others; base_outfile's. */
int pack_cache_write(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], const uint8_t *data,
                     size_t n_bytes, struct base_err *err) BASE_MUST_CHECK;

#endif
