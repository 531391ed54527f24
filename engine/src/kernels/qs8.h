/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels on 8-bit activations. They are our own, since those of XNNPACK want
 * other panels on a CPU with dot products than on one without: ours read the
 * same bytes everywhere (spec: Panels of 8-bit operators), and give the same
 * bits everywhere, because sums of integers do not depend on their order.
 *
 * A result is rounded from 32 to 8 bits as onnxruntime does it: to float, times
 * the channel's multiplier, to the nearest integer (ties to even), plus the
 * zero point of the output, and bounded.
 */
#ifndef UC_QS8_H
#define UC_QS8_H

#include <stddef.h>
#include <stdint.h>

#define UC_QS8_ROW_KERNELS 4
#define UC_QS8_BLOCK                                                           \
	4 /* input channels in a block: k is padded to whole ones */

/* Bounds and zero point of an output, min <= zero <= max or not. */
struct uc_qs8_out {
	int32_t zero;
	int32_t min;
	int32_t max;
};

/*
 * c[row][0..nc) = rows of taps x blocks x 4 integers times panels.
 * a[tap * stride + row] points at blocks x 4 integers of a row; up to 3 beyond
 * may be read. Exactly nc integers of `rows` rows are written.
 */
struct uc_qs8_gemm {
	size_t rows; /* at most the kernel's */
	size_t nc;
	size_t taps;
	size_t blocks;
	const int8_t *const *a;
	size_t a_stride; /* pointers from a tap to the next */
	const uint8_t *panels;
	int8_t *c;
	size_t c_stride;
	struct uc_qs8_out out;
};

typedef void uc_qs8_gemm_fn(const struct uc_qs8_gemm *g);

/*
 * One row of output pixels; a[pixel * taps + tap] points at channel 0 of an
 * input pixel. The panels are those of channels [first, first + channels).
 */
struct uc_qs8_dwconv {
	size_t pixels;
	size_t taps;
	size_t first; /* channel, a multiple of 8 */
	size_t channels;
	const int8_t *const *a;
	const uint8_t *panels;
	size_t panel_bytes;
	int8_t *c; /* of channel `first` */
	size_t c_stride;
	struct uc_qs8_out out;
};

typedef void uc_qs8_dwconv_fn(const struct uc_qs8_dwconv *d);

struct uc_qs8_row_kernel {
	size_t rows;
	uc_qs8_gemm_fn *gemm;
};

struct uc_qs8_kernels {
	/* Descending rows; the last has 1. */
	struct uc_qs8_row_kernel rows[UC_QS8_ROW_KERNELS];
	uc_qs8_dwconv_fn *dwconv;
};

/* out[i] = clamp(rint(a[i] * by_a + b[i] * by_b + plus) + zero). */
struct uc_qs8_sum {
	float by_a, by_b, plus;
	struct uc_qs8_out out;
};

/* out[i] = clamp(rint((a[i] - a_zero) * (b[i] - b_zero) * by) + zero). */
struct uc_qs8_product {
	int32_t a_zero, b_zero;
	float by;
	struct uc_qs8_out out;
};

void uc_qs8_add(size_t count, const int8_t *a, const int8_t *b, int8_t *out,
		const struct uc_qs8_sum *sum);
void uc_qs8_multiply(size_t count, const int8_t *a, const int8_t *b,
		     int8_t *out, const struct uc_qs8_product *product);
void uc_qs8_quantise(size_t count, const float *x, int8_t *out, float scale,
		     const struct uc_qs8_out *to);
void uc_qs8_dequantise(size_t count, const int8_t *x, float *out, float scale,
		       int32_t zero);
void uc_qs8_lookup(size_t count, const int8_t *x, int8_t *out,
		   const uint8_t *table);
/* largest[i] = max(largest[i], x[i]); sum[i] += x[i]. */
void uc_qs8_max(size_t count, const int8_t *x, int8_t *largest);
void uc_qs8_accumulate(size_t count, const int8_t *x, int32_t *sum);
/* out[i] = clamp(rint((sum[i] - less) * by) + zero). */
void uc_qs8_average(size_t count, const int32_t *sum, int32_t less, float by,
		    int8_t *out, const struct uc_qs8_out *to);
void uc_qs8_clamp(size_t count, int8_t *x, const struct uc_qs8_out *to);

extern const struct uc_qs8_kernels uc_qs8_scalar;
extern const struct uc_qs8_kernels uc_qs8_mlal; /* any AArch64 */
extern const struct uc_qs8_kernels uc_qs8_dot;	/* with dot products */

#endif /* UC_QS8_H */
