/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows times panels, 6 or 4 rows at a time: the sums of a tile stay in
 * registers, 8 floats of a row are one load and so are the weights of two
 * inputs. Sums are in the order of the panel. AArch64 only.
 *
 * One instruction to a statement of assembly: GCC gives out the registers, but
 * neither copies sums nor adds to addresses where an instruction does it.
 */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "gemm_neon.h"

#if defined(__GNUC__) && !defined(__clang__)
/* Scheduling before registers are given lengthens lives until some spill. */
#pragma GCC optimize("no-schedule-insns")
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define MAX_ROWS 6

struct tile {
	float32x4_t low[MAX_ROWS], high[MAX_ROWS];
	const float *a[MAX_ROWS];
	const float *w;
};

/* %S to %V are the registers of a pair or a quadruple. */
#define MULTIPLY(sum, w, w_part, a, lane)                                      \
	__asm__("fmla %0.4s, %" w_part "1.4s, %2.s[" lane "]"                  \
		: "+w"(sum)                                                    \
		: "w"(w), "w"(a))
#define ADD_ONE(t, rows, w, low_part, high_part, x, lane)                      \
	UNROLL                                                                 \
	for (int r = 0; r < (rows); r++) {                                     \
		MULTIPLY((t)->low[r], w, low_part, (x)[r], lane);              \
		MULTIPLY((t)->high[r], w, high_part, (x)[r], lane);            \
	}
#define ADD_TWO(t, rows, x, lane_0, lane_1)                                    \
	do {                                                                   \
		float32x4x4_t w = take_four(&(t)->w);                          \
                                                                               \
		ADD_ONE(t, rows, w, "S", "T", x, lane_0)                       \
		ADD_ONE(t, rows, w, "U", "V", x, lane_1)                       \
	} while (0)

INLINE float32x4x4_t take_four(const float **p)
{
	const float(*read)[16] = (const void *)*p;
	float32x4x4_t v;

	__asm__("ld1 {%S0.4s - %V0.4s}, [%1], #64"
		: "=w"(v), "+r"(*p)
		: "m"(*read));
	return v;
}

INLINE void take_two(const float **p, float32x4_t *x, float32x4_t *y)
{
	const float(*read)[8] = (const void *)*p;

	__asm__("ldp %q0, %q1, [%2], #32"
		: "=w"(*x), "=w"(*y), "+r"(*p)
		: "m"(*read));
}

INLINE void load_four(struct tile *t, int rows, float32x4_t *x)
{
	UNROLL
	for (int r = 0; r < rows; r++) {
		x[r] = vld1q_f32(t->a[r]);
		t->a[r] += 4;
	}
}

/* Up to 7 floats; the last are loaded with what lies behind them. */
INLINE void add_rest(struct tile *t, int rows, size_t k)
{
	float32x4_t x[MAX_ROWS];

	if (k & 4) {
		load_four(t, rows, x);
		ADD_TWO(t, rows, x, "0", "1");
		ADD_TWO(t, rows, x, "2", "3");
	}
	if (!(k & 3))
		return;
	load_four(t, rows, x);
	if (k & 2)
		ADD_TWO(t, rows, x, "0", "1");
	if (k & 1) {
		float32x4_t low, high;

		take_two(&t->w, &low, &high);
		UNROLL
		for (int r = 0; r < rows; r++) {
			float32x4_t one =
				k & 2 ? vdupq_laneq_f32(x[r], 2) : x[r];

			MULTIPLY(t->low[r], low, "", one, "0");
			MULTIPLY(t->high[r], high, "", one, "0");
		}
	}
}

/* k floats of each row. */
INLINE void add_rows(struct tile *t, int rows, size_t k)
{
	for (; k >= 8; k -= 8) {
		float32x4_t x[MAX_ROWS], y[MAX_ROWS];

		UNROLL
		for (int r = 0; r < rows; r++)
			take_two(&t->a[r], &x[r], &y[r]);
		ADD_TWO(t, rows, x, "0", "1");
		ADD_TWO(t, rows, x, "2", "3");
		ADD_TWO(t, rows, y, "0", "1");
		ADD_TWO(t, rows, y, "2", "3");
	}
	if (k)
		add_rest(t, rows, k);
}

INLINE void begin(struct tile *t, int rows)
{
	float32x4_t low, high;

	take_two(&t->w, &low, &high);
	UNROLL
	for (int r = 0; r < rows; r++) {
		t->low[r] = low;
		t->high[r] = high;
	}
}

/* The first nc of 8 channels. */
INLINE void store_some(float *c, float32x4_t low, float32x4_t high, size_t nc)
{
	float32x2_t pair;

	if (nc & 4) {
		vst1q_f32(c, low);
		low = high;
		c += 4;
	}
	pair = vget_low_f32(low);
	if (nc & 2) {
		vst1_f32(c, pair);
		pair = vget_high_f32(low);
		c += 2;
	}
	if (nc & 1)
		vst1_lane_f32(c, pair, 0);
}

/* Leaves the pointers behind the panel's channels. */
INLINE void store(struct tile *t, int rows, float **c, size_t nc,
		  float32x4_t min, float32x4_t max)
{
	UNROLL
	for (int r = 0; r < rows; r++) {
		t->low[r] = vminq_f32(vmaxq_f32(t->low[r], min), max);
		t->high[r] = vminq_f32(vmaxq_f32(t->high[r], min), max);
	}
	if (nc < UC_PANEL_CHANNELS) {
		for (int r = 0; r < rows; r++)
			store_some(c[r], t->low[r], t->high[r], nc);
		return;
	}
	UNROLL
	for (int r = 0; r < rows; r++)
		__asm__ volatile("stp %q1, %q2, [%0], #32"
				 : "+r"(c[r])
				 : "w"(t->low[r]), "w"(t->high[r])
				 : "memory");
}

/* Rows that the tile has too many repeat the last one. */
INLINE void point_in(int rows, size_t given, const float **p,
		     const float *first, size_t stride_bytes)
{
	size_t stride = stride_bytes / sizeof(float);

	p[0] = first;
	UNROLL
	for (int r = 1; r < rows; r++)
		p[r] = (size_t)r < given ? p[r - 1] + stride : p[r - 1];
}

INLINE void point_out(int rows, size_t given, float **p, float *first,
		      size_t stride_bytes)
{
	size_t stride = stride_bytes / sizeof(float);

	p[0] = first;
	UNROLL
	for (int r = 1; r < rows; r++)
		p[r] = (size_t)r < given ? p[r - 1] + stride : p[r - 1];
}

INLINE void gemm(int rows, size_t given, size_t nc, size_t k_bytes,
		 const float *a, size_t a_stride_bytes, const float *w,
		 float *c_first, size_t cm_stride_bytes,
		 const struct uc_minmax *act)
{
	const float32x4_t min = vdupq_n_f32(act->min);
	const float32x4_t max = vdupq_n_f32(act->max);
	struct tile t;
	float *c[MAX_ROWS];
	const float *first[MAX_ROWS];

	t.w = w;
	point_out(rows, given, c, c_first, cm_stride_bytes);
	point_in(rows, given, first, a, a_stride_bytes);
	for (;;) {
		begin(&t, rows);
		UNROLL
		for (int r = 0; r < rows; r++)
			t.a[r] = first[r];
		add_rows(&t, rows, k_bytes / sizeof(float));
		store(&t, rows, c, nc, min, max);
		if (nc <= UC_PANEL_CHANNELS)
			break;
		nc -= UC_PANEL_CHANNELS;
	}
}

INLINE void igemm(int rows, size_t given, size_t nc, size_t k_bytes,
		  size_t taps_bytes, const float **a, const float *w,
		  float *c_first, size_t cm_stride_bytes,
		  const struct uc_minmax *act)
{
	const float32x4_t min = vdupq_n_f32(act->min);
	const float32x4_t max = vdupq_n_f32(act->max);
	const float **end = a + taps_bytes / sizeof(float *);
	struct tile t;
	float *c[MAX_ROWS];

	t.w = w;
	point_out(rows, given, c, c_first, cm_stride_bytes);
	for (;;) {
		begin(&t, rows);
		for (const float **p = a; p != end; p += rows) {
			UNROLL
			for (int r = 0; r < rows; r++)
				t.a[r] = p[r];
			add_rows(&t, rows, k_bytes / sizeof(float));
		}
		store(&t, rows, c, nc, min, max);
		if (nc <= UC_PANEL_CHANNELS)
			break;
		nc -= UC_PANEL_CHANNELS;
	}
}

#define DEFINE(rows)                                                           \
	void uc_gemm_neon_##rows(                                              \
		size_t given, size_t nc, size_t k_bytes, const float *a,       \
		size_t a_stride_bytes, const float *w, float *c,               \
		size_t cm_stride_bytes, size_t cn_stride_bytes,                \
		const struct uc_minmax *act)                                   \
	{                                                                      \
		(void)cn_stride_bytes;                                         \
		gemm(rows, given, nc, k_bytes, a, a_stride_bytes, w, c,        \
		     cm_stride_bytes, act);                                    \
	}                                                                      \
	void uc_igemm_neon_##rows(                                             \
		size_t given, size_t nc, size_t k_bytes, size_t taps_bytes,    \
		const float **a, const float *w, float *c,                     \
		size_t cm_stride_bytes, size_t cn_stride_bytes,                \
		size_t a_offset_bytes, const float *zero,                      \
		const struct uc_minmax *act)                                   \
	{                                                                      \
		(void)cn_stride_bytes;                                         \
		(void)a_offset_bytes;                                          \
		(void)zero;                                                    \
		igemm(rows, given, nc, k_bytes, taps_bytes, a, w, c,           \
		      cm_stride_bytes, act);                                   \
	}

DEFINE(6)
DEFINE(4)

#endif
