/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maximum pooling of a row of outputs, 4 channels, from left to right: the
 * largest of a column of inputs is found once and goes to all outputs whose
 * windows hold the column, as in dwconv_rows.c.
 */
#include "uc_kernels.h"
#include "vec.h"

#if defined(__GNUC__) && !defined(__clang__)
/* Scheduling before registers are given lengthens lives until some spill. */
#pragma GCC optimize("no-schedule-insns")
#endif

#define MAX_KERNEL 5

struct shape {
	int kernel, stride;
};

struct state {
	uc_vec largest[MAX_KERNEL]; /* of the windows that are open */
	const float *in[MAX_KERNEL];
	size_t step;
	uc_vec min, max;
	float *out;
	size_t out_pixel;
};

UC_VEC_INLINE int live_of(struct shape sh)
{
	return (sh.kernel + sh.stride - 1) / sh.stride;
}

/* The column at `at` in the window of the oldest output; `whole` when no
 * window began before the input. */
UC_VEC_INLINE void add_column(struct state *st, struct shape sh, int oldest,
			      int at, int whole)
{
	uc_vec column = uc_vec_take(&st->in[0], st->step);

	UC_VEC_UNROLL
	for (int i = 1; i < sh.kernel; i++)
		column = uc_vec_max(column, uc_vec_take(&st->in[i], st->step));
	UC_VEC_UNROLL
	for (int d = 0; d < live_of(sh); d++) {
		int kx = at - d * sh.stride;
		uc_vec *largest = &st->largest[(oldest + d) % live_of(sh)];

		if (kx == 0 && whole)
			*largest = column;
		else if (kx >= 0)
			*largest = uc_vec_max(*largest, column);
	}
}

UC_VEC_INLINE void store(struct state *st, uc_vec largest)
{
	uc_vec_store(st->out, uc_vec_clamp(largest, st->min, st->max));
	st->out += st->out_pixel;
}

UC_VEC_INLINE void run_quad(struct shape sh, const struct uc_window_rows *rows,
			    size_t quad)
{
	const uc_vec lowest = uc_vec_all(-__builtin_inff());
	const int live = live_of(sh);
	const int before = sh.kernel - sh.stride;
	size_t columns = rows->columns;
	size_t left = rows->pixels;
	struct state st = {
		.step = rows->in_step_bytes[0],
		.min = uc_vec_all(rows->act.min),
		.max = uc_vec_all(rows->act.max),
		.out = rows->out + quad * UC_VEC_FLOATS,
		.out_pixel = rows->out_pixel,
	};

	UC_VEC_UNROLL
	for (int i = 0; i < sh.kernel; i++)
		st.in[i] = rows->in[i] + quad * UC_VEC_FLOATS;
	UC_VEC_UNROLL
	for (int i = 0; i < live; i++)
		st.largest[i] = lowest;
	UC_VEC_UNROLL
	for (int at = 0; at < before; at++) {
		if ((size_t)at >= rows->pad_left)
			add_column(&st, sh, 0, at, 0);
	}
	for (size_t i = rows->inside / (size_t)live; i; i--) {
		UC_VEC_UNROLL
		for (int oldest = 0; oldest < live; oldest++) {
			UC_VEC_UNROLL
			for (int at = before; at < sh.kernel; at++)
				add_column(&st, sh, oldest, at, 1);
			store(&st, st.largest[oldest]);
		}
		left -= (size_t)live;
		columns -= (size_t)(live * sh.stride);
	}
	st.largest[live - 1] = lowest;
	for (; left; left--) {
		UC_VEC_UNROLL
		for (int at = before; at < sh.kernel; at++) {
			if (!columns)
				break;
			add_column(&st, sh, 0, at, 0);
			columns--;
		}
		store(&st, st.largest[0]);
		UC_VEC_UNROLL
		for (int i = 0; i + 1 < live; i++)
			st.largest[i] = st.largest[i + 1];
		st.largest[live - 1] = lowest;
	}
}

#define DEFINE(kernel, stride)                                                 \
	static void run_##kernel##stride(const struct uc_window_rows *rows)    \
	{                                                                      \
		const struct shape sh = {kernel, stride};                      \
                                                                               \
		for (size_t quad = 0; quad < rows->quads; quad++)              \
			run_quad(sh, rows, quad);                              \
	}

DEFINE(2, 2)
DEFINE(3, 1)
DEFINE(3, 2)
DEFINE(5, 1)

const struct uc_maxpool_rows_kernel uc_maxpool_rows[UC_MAXPOOL_ROWS_KERNELS] = {
	{2, 2, run_22},
	{3, 1, run_31},
	{3, 2, run_32},
	{5, 1, run_51},
};
