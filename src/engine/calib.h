/* Calibration: for each matrix the sums of squares of its inputs, column by column, over a text. An
 * error in a column costs in proportion to them (for a linear layer with uncorrelated inputs that
 * is exact). Kept as a GGUF file in the form of llama.cpp's importance matrices, so that each
 * program reads the other's: NAME.in_sum2 [n_mat][n_in] and NAME.counts [n_mat][1], F32; n_mat is
 * 1, or the number of experts. */
#ifndef ENG_CALIB_H
#define ENG_CALIB_H

#include "base/outfile.h"
#include "engine/model.h"

/* Adds up what goes into a model's products, as the watcher of its steps. f is the model's file and
 * outlives it. BASE_ENOMEM. */
struct eng_calib;
int eng_calib_new(struct eng_calib **out, const struct gguf_file *f,
                  struct base_err *err) BASE_MUST_CHECK;
void eng_calib_free(struct eng_calib *c);
void eng_calib_tap(void *arg, const struct gguf_tensor *w, const float *x, int n_row);

/* Writes the file, not yet committed; text and the chunks' number and size go into its keys.
 * Errors: BASE_EFORMAT (sums that are no numbers, or none), BASE_EIO, BASE_ENOMEM. */
int eng_calib_write(const struct eng_calib *c, const char *text, int n_chunk, int chunk_tok,
                    struct base_outfile *out, struct base_err *err) BASE_MUST_CHECK;

/* The sums for matrix t, checked against its shape; *in NULL: the file has none. BASE_EFORMAT. */
int eng_calib_find(const struct gguf_file *calib, const struct gguf_tensor *t,
                   const struct gguf_tensor **in, struct base_err *err) BASE_MUST_CHECK;

/* What a column weighs: the mean square, never less than a thousandth of the matrix's mean, so that
 * a column that the text left silent is not given up. col[n_mat * n_in], n_mat = the product of t's
 * dimensions from the third on. BASE_EFORMAT. */
int eng_calib_weights(const struct gguf_file *calib, const struct gguf_tensor *in, float *col,
                      struct base_err *err) BASE_MUST_CHECK;

#endif
