/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel table: which micro-kernels the operators call. One file in this
 * folder defines `uc_kernels` per kernel set; a build links exactly one of
 * them, so a set can be chosen per SoC without touching an operator.
 *
 * Every set reads the same packed weights (NR = 8, spec: Panels). Sizes and
 * strides are in bytes where the name says so, else in elements. A kernel may
 * read up to UC_ARENA_SLACK_BYTES past the end of an input; it writes exactly
 * what it is asked to.
 */
#ifndef UC_KERNELS_H
#define UC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "qs8.h"
#include "uc_spec.h"

#define UC_MAX_TILE_ROWS 8 /* spec: Scratch counts on it */
#define UC_ROW_KERNELS 3
#define UC_DWCONV_KERNELS 5
#define UC_DWCONV_ROWS_KERNELS 6
#define UC_DWCONV_ROWS_SIZES 3
#define UC_MAXPOOL_ROWS_KERNELS 4

struct uc_minmax {
	float min;
	float max;
};

struct uc_elu {
	float prescale;
	float alpha;
	float beta;
};

/* Rows a[0..rows) of k floats times panels, nc output channels. */
typedef void uc_gemm_fn(size_t rows, size_t nc, size_t k_bytes, const float *a,
			size_t a_stride_bytes, const float *w, float *c,
			size_t cm_stride_bytes, size_t cn_stride_bytes,
			const struct uc_minmax *act);

/* The same with rows that are lists of pointers: a[tap][tile row]. */
typedef void uc_igemm_fn(size_t rows, size_t nc, size_t k_bytes,
			 size_t taps_bytes, const float **a, const float *w,
			 float *c, size_t cm_stride_bytes,
			 size_t cn_stride_bytes, size_t a_offset_bytes,
			 const float *zero, const struct uc_minmax *act);

/* One row of output pixels; input[pixel][slot], moved by input_offset_bytes
 * unless it equals zero. */
typedef void uc_dwconv_fn(size_t channels, size_t pixels, const float **input,
			  const float *w, float *out,
			  intptr_t input_stride_bytes,
			  size_t out_increment_bytes, size_t input_offset_bytes,
			  const float *zero, const struct uc_minmax *act);

#define UC_WINDOW_MAX_ROWS 11 /* 4 rows of outputs of a 5x5, stride 2 */

/*
 * A row or a few rows of outputs, of channels that are whole quads, of
 * depthwise convolution or pooling with a square kernel. For the convolution, a
 * row of the input that lies in the padding is zeros with a step of 0, for
 * pooling the nearest row. pad_left is at most kernel - stride, and the first
 * window ends inside the input.
 */
struct uc_window_rows {
	const float *in[UC_WINDOW_MAX_ROWS];	  /* each row's first pixel */
	size_t in_step_bytes[UC_WINDOW_MAX_ROWS]; /* to the next pixel */
	size_t pad_left;
	size_t columns; /* of the input, from the first window's last step on */
	size_t inside;	/* output pixels whose windows end inside the input */
	size_t pixels;	/* of an output row */
	size_t quads;	/* of channels */
	const float *w; /* NULL for pooling */
	float *out;
	size_t out_pixel, out_row; /* to the next, in floats */
	struct uc_minmax act;
};

typedef void uc_window_rows_fn(const struct uc_window_rows *rows);

/* Pooling: input[pixel][tap]. The kernel has moved `input` on by whole passes
 * (9 taps, then 8 at a time) when it adds input_increment_bytes. */
typedef void uc_maxpool_fn(size_t pixels, size_t taps, size_t channels,
			   const float **input, size_t input_offset_bytes,
			   float *out, size_t input_increment_bytes,
			   size_t out_increment_bytes,
			   const struct uc_minmax *act);
/* At most 9 taps, one pass; multiplier per pixel. */
typedef void uc_avgpool_fn(size_t pixels, size_t taps, size_t channels,
			   const float **input, size_t input_offset_bytes,
			   const float *zero, const float *multiplier,
			   float *out, size_t input_increment_bytes,
			   size_t out_increment_bytes,
			   const struct uc_minmax *act);
/* More than 9 taps: 9, then 8 at a time but for the last pass. */
typedef void uc_avgpool_multipass_fn(
	size_t pixels, size_t taps, size_t channels, const float **input,
	size_t input_offset_bytes, const float *zero, const float *multiplier,
	float *buffer, float *out, size_t input_increment_bytes,
	size_t out_increment_bytes, const struct uc_minmax *act);

/* out[c] += scale * sum over rows of input[row][c]. */
typedef void uc_column_sum_fn(size_t rows, size_t channels, const float *input,
			      size_t input_stride_bytes, const float *zero,
			      float *out, const float *scale);

typedef void uc_vbinary_fn(size_t bytes, const float *x, const float *y,
			   float *out, const struct uc_minmax *act);
typedef void uc_vunary_fn(size_t bytes, const float *x, float *out,
			  const void *unused);
typedef void uc_vleaky_relu_fn(size_t bytes, const float *x, float *out,
			       const float *slope);
/* beta x above 0, alpha (exp(prescale x) - 1) below. */
typedef void uc_velu_fn(size_t bytes, const float *x, float *out,
			const struct uc_elu *params);
typedef void uc_vclamp_fn(size_t bytes, const float *x, float *out,
			  const struct uc_minmax *act);
typedef void uc_vmax_fn(size_t bytes, const float *x, float *max,
			const void *unused);
/* out = exp(x - *max), *sum = the sum of out. */
typedef void uc_vexp_fn(size_t bytes, const float *x, const float *max,
			float *out, float *sum, const void *unused);

/* out[row][c] = clamp(scale[c] * x[row][c] + bias[c]); w: for every 4 channels
 * 4 scales, then 4 biases. */
typedef void uc_scale_bias_fn(size_t rows, size_t row_bytes, const float *x,
			      size_t x_stride_bytes, const float *w, float *out,
			      size_t out_stride_bytes,
			      const struct uc_minmax *act);

/* in: height rows of width 32-bit words; out: width rows of height. */
typedef void uc_transpose_fn(const uint32_t *in, uint32_t *out,
			     size_t in_stride_bytes, size_t out_stride_bytes,
			     size_t width, size_t height);

/* Corners of each pixel (top left, top right, bottom left, bottom right), and
 * how far it lies from the left and from the top. */
typedef void uc_bilinear_fn(size_t pixels, size_t channel_bytes,
			    const float **corners, size_t input_offset_bytes,
			    const float *weights, float *out,
			    size_t out_increment_bytes);

struct uc_row_kernel {
	size_t rows; /* MR: rows of a tile */
	uc_gemm_fn *gemm;
	uc_igemm_fn *igemm;
};

struct uc_dwconv_kernel {
	size_t slots;
	uc_dwconv_fn *run;
};

/* Square kernels without dilation. */
struct uc_dwconv_rows_kernel {
	uint32_t kernel;
	uint32_t stride;
	/* Descending rows, at last 1; none after that. */
	struct {
		size_t rows;
		uc_window_rows_fn *run;
	} sizes[UC_DWCONV_ROWS_SIZES];
};

struct uc_maxpool_rows_kernel {
	uint32_t kernel;
	uint32_t stride;
	uc_window_rows_fn *run; /* one row of outputs */
};

/* The forms of one binary operator. */
struct uc_binary_kernel {
	uc_vbinary_fn *vector;		/* x[i] o y[i] */
	uc_vbinary_fn *scalar;		/* x[i] o *y */
	uc_vbinary_fn *reversed_scalar; /* *y o x[i] */
};

struct uc_kernels {
	uint32_t id; /* UC_KERNEL_SET_* */
	const char *name;
	/* Descending rows, at last 1; none after that. */
	struct uc_row_kernel rows[UC_ROW_KERNELS];
	/* Ascending slots. */
	struct uc_dwconv_kernel dwconv[UC_DWCONV_KERNELS];
	uc_maxpool_fn *maxpool;
	uc_avgpool_fn *avgpool;
	uc_avgpool_multipass_fn *avgpool_multipass;
	uc_column_sum_fn *column_sum;
	struct uc_binary_kernel add, sub, mul, div;
	struct uc_binary_kernel minimum, maximum, prelu, power;
	uc_vclamp_fn *clamp;
	uc_scale_bias_fn *scale_bias;
	uc_vunary_fn *hard_swish;
	uc_vunary_fn *abs, *negate, *square, *floor, *ceil;
	uc_vunary_fn *round; /* half to even */
	uc_vunary_fn *tanh, *gelu;
	uc_vleaky_relu_fn *leaky_relu;
	uc_velu_fn *elu;
	uc_vmax_fn *max;
	uc_vexp_fn *exp;
	uc_transpose_fn *transpose;
	uc_bilinear_fn *bilinear;
	const struct uc_qs8_kernels *qs8; /* 8-bit activations */
};

extern const struct uc_kernels uc_kernels;
/* Those written here, the same in all sets. */
uc_dwconv_fn uc_dwconv_table_49;
extern const struct uc_dwconv_rows_kernel
	uc_dwconv_rows[UC_DWCONV_ROWS_KERNELS];
extern const struct uc_maxpool_rows_kernel
	uc_maxpool_rows[UC_MAXPOOL_ROWS_KERNELS];

#endif /* UC_KERNELS_H */
