/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On top of vec.h: what elementary functions (functions.h) need of four floats,
 * of their bits, and of two doubles.
 */
#ifndef UC_VEC_MATH_H
#define UC_VEC_MATH_H

#include <stdint.h>

#include "vec.h"

typedef int32_t uc_ints __attribute__((vector_size(16)));
typedef float uc_float_pair __attribute__((vector_size(8)));
typedef double uc_doubles __attribute__((vector_size(16)));
typedef int64_t uc_longs __attribute__((vector_size(16)));

/* a * b + c, rounded once where the processor can. */
UC_VEC_INLINE uc_vec uc_fma(uc_vec a, uc_vec b, uc_vec c)
{
#ifdef __aarch64__
	return vfmaq_f32(c, a, b);
#else
	return a * b + c;
#endif
}

UC_VEC_INLINE uc_vec uc_fma_const(uc_vec a, uc_vec b, float c)
{
	return uc_fma(a, b, uc_vec_all(c));
}

UC_VEC_INLINE uc_doubles uc_fma_doubles(uc_doubles a, uc_doubles b, double c)
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
UC_VEC_INLINE uc_vec uc_select(uc_ints mask, uc_vec yes, uc_vec no)
{
	return (uc_vec)((mask & (uc_ints)yes) | (~mask & (uc_ints)no));
}

/* A NaN in x stays. */
UC_VEC_INLINE uc_vec uc_at_least(uc_vec x, float low)
{
#if defined(__aarch64__)
	return vmaxq_f32(x, vdupq_n_f32(low));
#else
	return _mm_max_ps(uc_vec_all(low), x);
#endif
}

UC_VEC_INLINE uc_vec uc_at_most(uc_vec x, float high)
{
#ifdef __aarch64__
	return vminq_f32(x, vdupq_n_f32(high));
#else
	return _mm_min_ps(uc_vec_all(high), x);
#endif
}

UC_VEC_INLINE uc_vec uc_abs(uc_vec x)
{
	uc_ints mask = {INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX};

	return (uc_vec)((uc_ints)x & mask);
}

UC_VEC_INLINE uc_vec uc_sqrt(uc_vec x)
{
#ifdef __aarch64__
	return vsqrtq_f32(x);
#else
	return _mm_sqrt_ps(x);
#endif
}

#endif /* UC_VEC_MATH_H */
