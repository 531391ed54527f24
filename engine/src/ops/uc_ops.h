/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator files share; nothing outside src/ops/ includes it. */
#ifndef UC_OPS_H
#define UC_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uc_kernels.h"
#include "uc_op.h"

extern const struct uc_op_type uc_op_conv2d;
extern const struct uc_op_type uc_op_dwconv2d;
extern const struct uc_op_type uc_op_fully_connected;
extern const struct uc_op_type uc_op_add;
extern const struct uc_op_type uc_op_sub;
extern const struct uc_op_type uc_op_mul;
extern const struct uc_op_type uc_op_div;
extern const struct uc_op_type uc_op_clamp;
extern const struct uc_op_type uc_op_hard_sigmoid;
extern const struct uc_op_type uc_op_hard_swish;
extern const struct uc_op_type uc_op_max_pool;
extern const struct uc_op_type uc_op_average_pool;
extern const struct uc_op_type uc_op_global_average_pool;
extern const struct uc_op_type uc_op_softmax;
extern const struct uc_op_type uc_op_transpose;
extern const struct uc_op_type uc_op_constant;
extern const struct uc_op_type uc_op_function;
extern const struct uc_op_type uc_op_gather;
extern const struct uc_op_type uc_op_resize_linear;
extern const struct uc_op_type uc_op_quantize;
extern const struct uc_op_type uc_op_dequantize;
extern const struct uc_op_type uc_op_lookup_s8;
extern const struct uc_op_type uc_op_conv2d_s8;
extern const struct uc_op_type uc_op_dwconv2d_s8;
extern const struct uc_op_type uc_op_add_s8;
extern const struct uc_op_type uc_op_mul_s8;
extern const struct uc_op_type uc_op_max_pool_s8;
extern const struct uc_op_type uc_op_average_pool_s8;
extern const struct uc_op_type uc_op_reduce;
extern const struct uc_op_type uc_op_arg_max;
extern const struct uc_op_type uc_op_normalize;
extern const struct uc_op_type uc_op_local_response_norm;
extern const struct uc_op_type uc_op_matrix_multiply;
extern const struct uc_op_type uc_op_minimum;
extern const struct uc_op_type uc_op_maximum;
extern const struct uc_op_type uc_op_prelu;
extern const struct uc_op_type uc_op_power;

#define UC_QUAD 4 /* floats to a vector register */
#define UC_PANEL_CHANNEL_BYTES (UC_PANEL_CHANNELS * sizeof(float))

/* A(x) of the specification: rounded up to the arena's alignment. */
static inline uint64_t uc_op_align(uint64_t bytes)
{
	return (bytes + UC_ARENA_ALIGN_BYTES - 1) &
	       ~(uint64_t)(UC_ARENA_ALIGN_BYTES - 1);
}

static inline uint64_t uc_op_ceil_div(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

/* Rows of c contiguous elements. */
static inline size_t uc_op_rows(const struct uc_tensor *t)
{
	return (size_t)t->n * t->h * t->w;
}

static inline size_t uc_op_elements(const struct uc_tensor *t)
{
	return uc_op_rows(t) * t->c;
}

static inline struct uc_minmax uc_op_act(const struct uc_op *op)
{
	struct uc_minmax act = {.min = op->act_min, .max = op->act_max};

	return act;
}

/* A tensor that exists, with sane dimensions and elements * 4 in 40 bits. */
bool uc_op_tensor_ok(const struct uc_tensor *t);
/* The same without gaps: what an operator without views asks for. */
bool uc_op_dense_ok(const struct uc_tensor *t);
/* Its pixels (runs of c elements) are evenly spaced: no gap at the end of a row
 * of pixels or of an image that is not between all of them. */
bool uc_op_pixels_even(const struct uc_tensor *t);
bool uc_op_same_shape(const struct uc_tensor *a, const struct uc_tensor *b);
/* The fused clamp is a range without NaN. */
bool uc_op_act_ok(const struct uc_op *op);
/* One input, one output, act: what every unary operator checks first. Both
 * may be views; uc_op_dense_ok refuses them. */
bool uc_op_unary_ok(const struct uc_op_shapes *s);
bool uc_op_elementwise_ok(const struct uc_op_shapes *s);

/*
 * Calls run for every run of elements that lies without a gap in both tensors,
 * which have the same shape: once, for all elements, when neither has gaps.
 */
typedef void uc_op_run_fn(const void *context, size_t count, const float *in,
			  float *out);
void uc_op_for_runs(const struct uc_tensor *a, const float *in,
		    const struct uc_tensor *b, float *out, uc_op_run_fn *run,
		    const void *context);

void uc_op_no_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
		     uint64_t *panel_count);
uint64_t uc_op_no_scratch(const struct uc_op_shapes *s);

/* Applies the fused clamp in place; nothing where it is (-inf, +inf). */
bool uc_op_has_act(const struct uc_op *op);
void uc_op_apply_act(const struct uc_op *op, float *x, size_t count);
/* The same to a tensor that may be a view. */
void uc_op_apply_act_to(const struct uc_op *op, const struct uc_tensor *t,
			float *x);

/* ---- windows over rows and columns: convolution and pooling ---- */

struct uc_op_window {
	int64_t in_n, in_h, in_w, in_c;
	int64_t out_h, out_w, out_c;
	/* From one to the next, in elements. */
	int64_t in_pixel, in_row, in_image;
	int64_t out_pixel, out_row, out_image;
	int64_t kernel_h, kernel_w;
	int64_t stride_h, stride_w;
	int64_t dilation_h, dilation_w;
	int64_t pad_top, pad_left;
};

struct uc_op_window uc_op_window_of(const struct uc_op_shapes *s);
/* A square kernel of this size and stride as the kernels that go along rows want
 * it: without dilation, and the first window ends inside the input. */
bool uc_op_window_is(const struct uc_op_window *win, uint32_t kernel,
		     uint32_t stride);
/* What such a kernel gets, but for the rows, weights and the output. */
struct uc_window_rows uc_op_window_rows(const struct uc_op_window *win,
					size_t channels,
					const struct uc_minmax *act);
/* MAX_POOL_2D by such kernels; false, and nothing done, where there is none. */
bool uc_op_max_pool_rows(const struct uc_op_step *step);
/* Kernel, stride, dilation within the limits of the specification. */
bool uc_op_window_ok(const struct uc_op *op);
/* floor((in + pads - dilation * (k - 1) - 1) / stride) + 1, or 0 when the
 * kernel is larger than the padded input. */
uint64_t uc_op_conv_size(uint32_t in, uint32_t pad_a, uint32_t pad_b,
			 uint32_t kernel, uint32_t stride, uint32_t dilation);

/* ---- rows of GEMM ---- */

/* The kernel for the next tile of `left` rows, and how many of them it takes:
 * all of the kernel's rows but in the last tile. */
const struct uc_row_kernel *uc_op_row_tile(size_t left, size_t *rows);

/* out[row][0..nc) = in[row][0..k) times panels; strides in floats. */
struct uc_op_gemm {
	size_t rows;
	size_t nc;
	size_t k;
	const float *in;
	size_t in_stride;
	const float *weights;
	float *out;
	size_t out_stride;
	struct uc_minmax act;
};

void uc_op_gemm(const struct uc_op_gemm *g);

/* ---- reductions (op_reduce.c): UC_REDUCE_*, MEAN as SUM ---- */

/* Of a contiguous run. */
float uc_op_reduce_run(uint8_t function, const float *x, size_t count);
/* Of up to 16 columns, rows `stride` floats apart; 16 results, of which the
 * first `columns` count. Reads whole vectors. */
void uc_op_reduce_columns(uint8_t function, const float *x, size_t rows,
			  size_t stride, size_t columns, float *result);

#endif /* UC_OPS_H */
