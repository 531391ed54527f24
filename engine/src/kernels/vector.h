/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four floats at a time for the functions that XNNPACK has no kernel for, or a
 * slower or coarser one (docs/kernels.md). In the compiler's vector types, so
 * that one text serves every set; there is no libm to call.
 */
#ifndef UC_VECTOR_H
#define UC_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __aarch64__
#include <arm_neon.h>
#endif
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define UC_LANES 4

typedef float uc_floats __attribute__((vector_size(16)));
typedef int32_t uc_ints __attribute__((vector_size(16)));
typedef float uc_float_pair __attribute__((vector_size(8)));
typedef double uc_doubles __attribute__((vector_size(16)));
typedef int64_t uc_longs __attribute__((vector_size(16)));

static inline uc_floats uc_load(const float *x)
{
	uc_floats v = {0};

	__builtin_memcpy(&v, x, sizeof(v));
	return v;
}

static inline void uc_store(float *x, uc_floats v)
{
	__builtin_memcpy(x, &v, sizeof(v));
}

static inline uc_floats uc_splat(float x)
{
	uc_floats v = {x, x, x, x};

	return v;
}

/* a * b + c, rounded once where the processor can. */
static inline uc_floats uc_fma(uc_floats a, uc_floats b, uc_floats c)
{
#ifdef __aarch64__
	return (uc_floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a,
				    (float32x4_t)b);
#else
	return a * b + c;
#endif
}

static inline uc_floats uc_fma_const(uc_floats a, uc_floats b, float c)
{
	return uc_fma(a, b, uc_splat(c));
}

static inline uc_doubles uc_fma_doubles(uc_doubles a, uc_doubles b, double c)
{
	uc_doubles addend = {c, c};

#ifdef __aarch64__
	return (uc_doubles)vfmaq_f64((float64x2_t)addend, (float64x2_t)a,
				     (float64x2_t)b);
#else
	return a * b + addend;
#endif
}

/* A mask is all ones or all zeros in each lane. */
static inline uc_floats uc_select(uc_ints mask, uc_floats yes, uc_floats no)
{
	return (uc_floats)((mask & (uc_ints)yes) | (~mask & (uc_ints)no));
}

/* A NaN in x stays. */
static inline uc_floats uc_at_least(uc_floats x, float low)
{
#if defined(__aarch64__)
	return (uc_floats)vmaxq_f32((float32x4_t)x, vdupq_n_f32(low));
#elif defined(__SSE2__)
	return (uc_floats)_mm_max_ps((__m128)uc_splat(low), (__m128)x);
#else
#error "no vectors for this architecture"
#endif
}

static inline uc_floats uc_at_most(uc_floats x, float high)
{
#ifdef __aarch64__
	return (uc_floats)vminq_f32((float32x4_t)x, vdupq_n_f32(high));
#else
	return (uc_floats)_mm_min_ps((__m128)uc_splat(high), (__m128)x);
#endif
}

static inline uc_floats uc_abs(uc_floats x)
{
	uc_ints mask = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};

	return (uc_floats)((uc_ints)x & mask);
}

static inline uc_floats uc_sqrt(uc_floats x)
{
#ifdef __aarch64__
	return (uc_floats)vsqrtq_f32((float32x4_t)x);
#else
	return (uc_floats)_mm_sqrt_ps((__m128)x);
#endif
}

#endif /* UC_VECTOR_H */
