/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row times panels: bound by loading the weights, so four registers of them
 * at a time, two channels of the input's worth. AArch64 only.
 */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "gemv_neon.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#define CHAINS 4 /* sums of their own, for what one addition takes */
#define TURN 16	 /* inputs to a turn of the loop */

struct sums {
	float32x4_t low[CHAINS], high[CHAINS]; /* 4 of 8 output channels */
};

/*
 * Assembly, since GCC adds to addresses and copies sums where the instructions
 * would not need it. %S to %V are the registers of a quadruple; x holds four
 * inputs, u and v eight output channels of two inputs each.
 */
#define ADD_FOUR(x)                                                            \
	"ld1 {%S[u].4s - %V[u].4s}, [%[w]], #64\n\t"                           \
	"ld1 {%S[v].4s - %V[v].4s}, [%[w]], #64\n\t"                           \
	"fmla %[l0].4s, %S[u].4s, " x ".s[0]\n\t"                              \
	"fmla %[h0].4s, %T[u].4s, " x ".s[0]\n\t"                              \
	"fmla %[l1].4s, %U[u].4s, " x ".s[1]\n\t"                              \
	"fmla %[h1].4s, %V[u].4s, " x ".s[1]\n\t"                              \
	"fmla %[l2].4s, %S[v].4s, " x ".s[2]\n\t"                              \
	"fmla %[h2].4s, %T[v].4s, " x ".s[2]\n\t"                              \
	"fmla %[l3].4s, %U[v].4s, " x ".s[3]\n\t"                              \
	"fmla %[h3].4s, %V[v].4s, " x ".s[3]\n\t"
#define SUMS(s)                                                                \
	[l0] "+w"((s)->low[0]), [h0] "+w"((s)->high[0]),                       \
		[l1] "+w"((s)->low[1]), [h1] "+w"((s)->high[1]),               \
		[l2] "+w"((s)->low[2]), [h2] "+w"((s)->high[2]),               \
		[l3] "+w"((s)->low[3]), [h3] "+w"((s)->high[3])

/* At least one turn. */
INLINE void add_turns(struct sums *s, size_t turns, const float **a,
		      const float **w)
{
	float32x4x4_t x, u, v;

	__asm__ volatile(
		"1: ld1 {%S[x].4s - %V[x].4s}, [%[a]], #64\n\t" ADD_FOUR(
			"%S[x]") ADD_FOUR("%T[x]") ADD_FOUR("%U[x]")
			ADD_FOUR("%V[x]") "subs %[turns], %[turns], #1\n\t"
					  "b.ne 1b"
		: [turns] "+r"(turns), [a] "+r"(*a), [w] "+r"(*w), [x] "=&w"(x),
		  [u] "=&w"(u), [v] "=&w"(v), SUMS(s)
		:
		: "cc", "memory");
}

INLINE void add_four(struct sums *s, float32x4_t x, const float **w)
{
	float32x4x4_t u, v;

	__asm__ volatile(ADD_FOUR("%[x]")
			 : [w] "+r"(*w), [u] "=&w"(u), [v] "=&w"(v), SUMS(s)
			 : [x] "w"(x)
			 : "memory");
}

INLINE void add_one(struct sums *s, float x, const float **w)
{
	s->low[0] = vfmaq_n_f32(s->low[0], vld1q_f32(*w), x);
	s->high[0] = vfmaq_n_f32(s->high[0], vld1q_f32(*w + 4), x);
	*w += UC_PANEL_CHANNELS;
}

INLINE void begin(struct sums *s, const float **w)
{
	s->low[0] = vld1q_f32(*w);
	s->high[0] = vld1q_f32(*w + 4);
	*w += UC_PANEL_CHANNELS;
	UNROLL
	for (int i = 1; i < CHAINS; i++)
		s->low[i] = s->high[i] = vdupq_n_f32(0.0f);
}

INLINE void add_row(struct sums *s, const float *a, size_t k, const float **w)
{
	if (k >= TURN)
		add_turns(s, k / TURN, &a, w);
	for (k %= TURN; k >= 4; k -= 4, a += 4)
		add_four(s, vld1q_f32(a), w);
	for (; k; k--, a++)
		add_one(s, *a, w);
}

INLINE float32x4_t total(const float32x4_t *sums, float32x4_t min,
			 float32x4_t max)
{
	float32x4_t sum = vaddq_f32(vaddq_f32(sums[0], sums[1]),
				    vaddq_f32(sums[2], sums[3]));

	return vminq_f32(vmaxq_f32(sum, min), max);
}

/* The first nc of 8 output channels. */
INLINE void store(const struct sums *s, float *c, size_t nc,
		  const struct uc_minmax *act)
{
	const float32x4_t min = vdupq_n_f32(act->min);
	const float32x4_t max = vdupq_n_f32(act->max);
	float32x4_t low = total(s->low, min, max);
	float32x4_t high = total(s->high, min, max);
	float last[UC_PANEL_CHANNELS];

	if (nc >= UC_PANEL_CHANNELS) {
		vst1q_f32(c, low);
		vst1q_f32(c + 4, high);
		return;
	}
	vst1q_f32(last, low);
	vst1q_f32(last + 4, high);
	__builtin_memcpy(c, last, nc * sizeof(float));
}

INLINE size_t after_panel(size_t nc)
{
	return nc < UC_PANEL_CHANNELS ? 0 : nc - UC_PANEL_CHANNELS;
}

void uc_gemv_neon(size_t rows, size_t nc, size_t k_bytes, const float *a,
		  size_t a_stride_bytes, const float *w, float *c,
		  size_t cm_stride_bytes, size_t cn_stride_bytes,
		  const struct uc_minmax *act)
{
	(void)rows;
	(void)a_stride_bytes;
	(void)cm_stride_bytes;
	for (; nc; nc = after_panel(nc)) {
		struct sums s;

		begin(&s, &w);
		add_row(&s, a, k_bytes / sizeof(float), &w);
		store(&s, c, nc, act);
		c += cn_stride_bytes / sizeof(float);
	}
}

void uc_igemv_neon(size_t rows, size_t nc, size_t k_bytes, size_t taps_bytes,
		   const float **a, const float *w, float *c,
		   size_t cm_stride_bytes, size_t cn_stride_bytes,
		   size_t a_offset_bytes, const float *zero,
		   const struct uc_minmax *act)
{
	size_t taps = taps_bytes / sizeof(float *);

	(void)rows;
	(void)cm_stride_bytes;
	(void)a_offset_bytes;
	(void)zero;
	for (; nc; nc = after_panel(nc)) {
		struct sums s;

		begin(&s, &w);
		for (size_t i = 0; i < taps; i++)
			add_row(&s, a[i], k_bytes / sizeof(float), &w);
		store(&s, c, nc, act);
		c += cn_stride_bytes / sizeof(float);
	}
}

#endif
