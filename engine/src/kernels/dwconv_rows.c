/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution of several rows of outputs at a time, 4 channels, from
 * left to right. A column of inputs is loaded once and added to all outputs
 * whose windows hold it, so that 4 rows of a 3x3 load 1.5 inputs per output
 * and no weight at all. Every output adds its taps in the same order, column
 * by column, whatever the number of rows: bands of rows give the same bits.
 */
#include "uc_kernels.h"
#include "vec.h"

#if defined(__GNUC__) && !defined(__clang__)
/* Scheduling before registers are given lengthens lives until some spill. */
#pragma GCC optimize("no-schedule-insns")
#endif

#define MAX_ROWS 4
#define MAX_LIVE 7    /* columns of outputs that one column of inputs feeds */
#define MAX_WEIGHTS 9 /* that stay in registers */

struct shape {
	int kernel, stride, rows;
};

struct state {
	const float *w;
	uc_vec held[MAX_WEIGHTS];
	uc_vec acc[MAX_LIVE][MAX_ROWS];
	const float *in[UC_WINDOW_MAX_ROWS];
	size_t step[UC_WINDOW_MAX_ROWS];
	uc_vec bias, min, max;
	float *out;
	size_t out_row, out_pixel;
};

UC_VEC_INLINE int live_of(struct shape sh)
{
	return (sh.kernel + sh.stride - 1) / sh.stride;
}

UC_VEC_INLINE int in_rows_of(struct shape sh)
{
	return (sh.rows - 1) * sh.stride + sh.kernel;
}

UC_VEC_INLINE uc_vec load_weight(const float *w, int tap)
{
	return uc_vec_load(w + UC_PANEL_CHANNELS * (size_t)(1 + tap));
}

UC_VEC_INLINE uc_vec weight(const struct state *st, struct shape sh, int tap)
{
	return sh.kernel * sh.kernel <= MAX_WEIGHTS ? st->held[tap]
						    : load_weight(st->w, tap);
}

/* Adds a column: the one at `at` in the window of the oldest output, which is
 * acc[oldest]; the windows of the outputs after it begin `stride` later. */
UC_VEC_INLINE void add_column(struct state *st, struct shape sh, int oldest,
			      int at)
{
	uc_vec x[UC_WINDOW_MAX_ROWS];

	UC_VEC_UNROLL
	for (int i = 0; i < in_rows_of(sh); i++)
		x[i] = uc_vec_take(&st->in[i], st->step[i]);
	UC_VEC_UNROLL
	for (int d = 0; d < live_of(sh); d++) {
		int kx = at - d * sh.stride;
		uc_vec *acc = st->acc[(oldest + d) % live_of(sh)];

		if (kx < 0)
			continue;
		UC_VEC_UNROLL
		for (int ky = 0; ky < sh.kernel; ky++) {
			uc_vec k = weight(st, sh, ky * sh.kernel + kx);

			UC_VEC_UNROLL
			for (int r = 0; r < sh.rows; r++)
				uc_vec_add_product(&acc[r],
						   x[r * sh.stride + ky], k);
		}
	}
}

/* Adds the columns of one more output. */
UC_VEC_INLINE void add_step(struct state *st, struct shape sh, int oldest,
			    size_t columns)
{
	UC_VEC_UNROLL
	for (int i = 0; i < sh.stride; i++) {
		if ((size_t)i < columns)
			add_column(st, sh, oldest, sh.kernel - sh.stride + i);
	}
}

/* Stores a column of outputs; acc begins the next. */
UC_VEC_INLINE void store_column(struct state *st, struct shape sh, uc_vec *acc)
{
	UC_VEC_UNROLL
	for (int r = 0; r < sh.rows; r++) {
		uc_vec_store(st->out + (size_t)r * st->out_row,
			     uc_vec_clamp(acc[r], st->min, st->max));
		acc[r] = st->bias;
	}
	st->out += st->out_pixel;
}

UC_VEC_INLINE void begin(struct state *st, struct shape sh,
			 const struct uc_window_rows *rows, size_t quad)
{
	const int taps = sh.kernel * sh.kernel;
	const int held = taps <= MAX_WEIGHTS ? taps : 0;

	st->bias = uc_vec_load(st->w);
	st->min = uc_vec_all(rows->act.min);
	st->max = uc_vec_all(rows->act.max);
	st->out = rows->out + quad * UC_VEC_FLOATS;
	st->out_row = rows->out_row;
	st->out_pixel = rows->out_pixel;
	UC_VEC_UNROLL
	for (int i = 0; i < held; i++)
		st->held[i] = load_weight(st->w, i);
	UC_VEC_UNROLL
	for (int i = 0; i < in_rows_of(sh); i++) {
		st->in[i] = rows->in[i] + quad * UC_VEC_FLOATS;
		st->step[i] = rows->in_step_bytes[i];
	}
	UC_VEC_UNROLL
	for (int i = 0; i < live_of(sh); i++) {
		UC_VEC_UNROLL
		for (int r = 0; r < sh.rows; r++)
			st->acc[i][r] = st->bias;
	}
	/* What the first window has before the columns of its step. */
	UC_VEC_UNROLL
	for (int at = 0; at < sh.kernel - sh.stride; at++) {
		if ((size_t)at >= rows->pad_left)
			add_column(st, sh, 0, at);
	}
}

/* A step at which the accumulators move up instead of taking turns: for what
 * is left of a row, and for windows that end in the padding. */
UC_VEC_INLINE void run_end(struct state *st, struct shape sh, size_t pixels,
			   size_t columns)
{
	const size_t stride = (size_t)sh.stride;
	const int live = live_of(sh);

	for (; pixels; pixels--) {
		add_step(st, sh, 0, columns);
		columns -= columns < stride ? columns : stride;
		store_column(st, sh, st->acc[0]);
		UC_VEC_UNROLL
		for (int r = 0; r < sh.rows; r++) {
			UC_VEC_UNROLL
			for (int i = 0; i + 1 < live; i++)
				st->acc[i][r] = st->acc[i + 1][r];
			st->acc[live - 1][r] = st->bias;
		}
	}
}

UC_VEC_INLINE void run_quad(struct shape sh, const struct uc_window_rows *rows,
			    const float *w, size_t quad)
{
	const size_t stride = (size_t)sh.stride;
	const size_t live = (size_t)live_of(sh);
	size_t done = 0;
	struct state st;

	st.w = w;
	begin(&st, sh, rows, quad);
	for (; done + live <= rows->inside; done += live) {
		UC_VEC_UNROLL
		for (int oldest = 0; oldest < (int)live; oldest++) {
			add_step(&st, sh, oldest, stride);
			store_column(&st, sh, st.acc[oldest]);
		}
	}
	run_end(&st, sh, rows->pixels - done, rows->columns - done * stride);
}

UC_VEC_INLINE void run(int kernel, int stride, int row_count,
		       const struct uc_window_rows *rows)
{
	const struct shape sh = {kernel, stride, row_count};
	const size_t slots = kernel == 1 ? 3 : (size_t)(kernel * kernel);
	const size_t panel_floats = UC_PANEL_CHANNELS * (1 + slots);

	for (size_t quad = 0; quad < rows->quads; quad++)
		run_quad(sh, rows,
			 rows->w + quad / 2 * panel_floats +
				 quad % 2 * UC_VEC_FLOATS,
			 quad);
}

#define ROWS(kernel, stride, rows)                                             \
	static void run_##kernel##stride##rows(const struct uc_window_rows *r) \
	{                                                                      \
		run(kernel, stride, rows, r);                                  \
	}

/* clang-format off */
ROWS(1, 1, 4) ROWS(1, 1, 3) ROWS(1, 1, 1)
ROWS(3, 1, 4) ROWS(3, 1, 3) ROWS(3, 1, 1)
ROWS(3, 2, 4) ROWS(3, 2, 3) ROWS(3, 2, 1)
ROWS(5, 1, 4) ROWS(5, 1, 3) ROWS(5, 1, 1)
ROWS(5, 2, 4) ROWS(5, 2, 3) ROWS(5, 2, 1)
/* 7 columns of outputs live: 4 rows of them are more than there are registers. */
ROWS(7, 1, 3) ROWS(7, 1, 1)
/* clang-format on */

#define KERNEL(kernel, stride)                                                 \
	{                                                                      \
		kernel,                                                        \
		stride,                                                        \
		{                                                              \
			{4, run_##kernel##stride##4},                          \
			{3, run_##kernel##stride##3},                          \
			{1, run_##kernel##stride##1},                          \
		},                                                             \
	}

		const
	struct uc_dwconv_rows_kernel uc_dwconv_rows[UC_DWCONV_ROWS_KERNELS] = {
		KERNEL(1, 1), /* BatchNormalization */
		KERNEL(3, 1),
		KERNEL(3, 2),
		KERNEL(5, 1),
		KERNEL(5, 2),
		{7, 1, {{3, run_713}, {1, run_711}}},
};
