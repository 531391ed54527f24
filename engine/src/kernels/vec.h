/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four floats to a register, for the kernels written here: the same source for
 * AArch64 and x86-64.
 *
 * On AArch64 two steps are inline assembly. GCC copies accumulators about when
 * it is free to choose the destination of a multiply-add, and it does not know
 * that a load can move its pointer by a register: in a kernel of sixty
 * instructions that makes a fifth more.
 */
#ifndef UC_VEC_H
#define UC_VEC_H

#include <stddef.h>

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <xmmintrin.h>
#endif

#include "../guard.h"

#ifdef UC_GUARDED
/* A sanitizer checks every access of what was written out: minutes of
 * compiling, and nothing that the loops do not show. */
#define UC_VEC_INLINE static inline
#define UC_VEC_UNROLL
#else
#define UC_VEC_INLINE static inline __attribute__((always_inline))
#define UC_VEC_UNROLL _Pragma("GCC unroll 32")
#endif
#define UC_VEC_FLOATS 4

#if defined(__aarch64__)

typedef float32x4_t uc_vec;

UC_VEC_INLINE uc_vec uc_vec_load(const float *p)
{
	return vld1q_f32(p);
}

UC_VEC_INLINE void uc_vec_store(float *p, uc_vec x)
{
	vst1q_f32(p, x);
}

UC_VEC_INLINE uc_vec uc_vec_all(float x)
{
	return vdupq_n_f32(x);
}

/* The first 1 to 3 floats. */
UC_VEC_INLINE void uc_vec_store_some(float *p, uc_vec x, size_t count)
{
	float32x2_t pair = vget_low_f32(x);

	if (count & 2) {
		vst1_f32(p, pair);
		pair = vget_high_f32(x);
		p += 2;
	}
	if (count & 1)
		vst1_lane_f32(p, pair, 0);
}

/* NaN where x is, as the other kernels have it. */
UC_VEC_INLINE uc_vec uc_vec_clamp(uc_vec x, uc_vec min, uc_vec max)
{
	return vminq_f32(vmaxq_f32(x, min), max);
}

UC_VEC_INLINE uc_vec uc_vec_max(uc_vec x, uc_vec y)
{
	return vmaxq_f32(x, y);
}

/* *sum += x * y, rounded once. */
UC_VEC_INLINE void uc_vec_add_product(uc_vec *sum, uc_vec x, uc_vec y)
{
	__asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(*sum) : "w"(x), "w"(y));
}

/* Loads, then moves the pointer on. */
UC_VEC_INLINE uc_vec uc_vec_take(const float **p, size_t step_bytes)
{
	const float(*quad)[UC_VEC_FLOATS] = (const void *)*p;
	uc_vec x;

	__asm__("ld1 {%0.4s}, [%1], %2"
		: "=w"(x), "+r"(*p)
		: "r"(step_bytes), "m"(*quad));
	return x;
}

/* 3 quads, two thirds of the instructions of one at a time; both pointers move
 * on. */
UC_VEC_INLINE void uc_vec_copy_3(float **to, const float **from,
				 size_t to_step_bytes, size_t from_step_bytes)
{
	float32x4x3_t x;

	__asm__ volatile(
		"ld1 {%S[x].4s - %U[x].4s}, [%[from]], %[from_step]\n\t"
		"st1 {%S[x].4s - %U[x].4s}, [%[to]], %[to_step]"
		: [x] "=&w"(x), [from] "+r"(*from), [to] "+r"(*to)
		: [from_step] "r"(from_step_bytes), [to_step] "r"(to_step_bytes)
		: "memory");
}

#else

typedef __m128 uc_vec;

UC_VEC_INLINE uc_vec uc_vec_load(const float *p)
{
	return _mm_loadu_ps(p);
}

UC_VEC_INLINE void uc_vec_store(float *p, uc_vec x)
{
	_mm_storeu_ps(p, x);
}

UC_VEC_INLINE uc_vec uc_vec_all(float x)
{
	return _mm_set1_ps(x);
}

UC_VEC_INLINE void uc_vec_store_some(float *p, uc_vec x, size_t count)
{
	if (count & 2) {
		_mm_storel_pi((__m64 *)(void *)p, x);
		x = _mm_movehl_ps(x, x);
		p += 2;
	}
	if (count & 1)
		_mm_store_ss(p, x);
}

/* The operand that is returned when one is NaN is the second: x. */
UC_VEC_INLINE uc_vec uc_vec_clamp(uc_vec x, uc_vec min, uc_vec max)
{
	return _mm_min_ps(max, _mm_max_ps(min, x));
}

UC_VEC_INLINE uc_vec uc_vec_max(uc_vec x, uc_vec y)
{
	return _mm_max_ps(x, y);
}

UC_VEC_INLINE void uc_vec_add_product(uc_vec *sum, uc_vec x, uc_vec y)
{
	*sum = _mm_add_ps(*sum, _mm_mul_ps(x, y));
}

UC_VEC_INLINE uc_vec uc_vec_take(const float **p, size_t step_bytes)
{
	uc_vec x = _mm_loadu_ps(*p);

	*p = (const float *)(const void *)((const char *)*p + step_bytes);
	return x;
}

UC_VEC_INLINE void uc_vec_copy_3(float **to, const float **from,
				 size_t to_step_bytes, size_t from_step_bytes)
{
	__builtin_memcpy(*to, *from, 3 * sizeof(uc_vec));
	*to = (float *)(void *)((char *)*to + to_step_bytes);
	*from = (const float *)(const void *)((const char *)*from +
					      from_step_bytes);
}

#endif

#endif /* UC_VEC_H */
