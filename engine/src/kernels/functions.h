/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions of four floats, for what XNNPACK has no kernel for, or a
 * slower or coarser one (docs/kernels.md); there is no libm to call. Relative errors of a few 1e-7 over the
 * whole range, infinities and NaN included (tests/engine/ops/test_functions.py).
 */
#ifndef UC_FUNCTIONS_H
#define UC_FUNCTIONS_H

#include "vec_math.h"

#define UC_LOG2_E 0x1.715476p+0f
/* ln 2 in two parts; the first has zeros at its end, so its product with a
 * small integer is exact. */
#define UC_LN2_HIGH 0x1.62E400p-1f
#define UC_LN2_LOW 0x1.7F7D1Cp-20f
#define UC_EXP_MAGIC_BITS 0x4B400000 /* of 1.5 * 2^23 */

/* x = n ln 2 + r with |r| <= ln 2 / 2: returns exp(r) - 1, and in the low bits
 * of *shifted n + 127, which is the exponent of 2 to the n. */
UC_VEC_INLINE uc_vec uc_exp_parts(uc_vec x, uc_ints *shifted)
{
	/* Adding it rounds to an integer, in the low bits. */
	const uc_vec magic = uc_vec_all(0x1.8000FEp+23f);
	uc_vec sum = uc_fma(x, uc_vec_all(UC_LOG2_E), magic);
	uc_vec n = sum - magic;
	uc_vec r = uc_fma(n, uc_vec_all(-UC_LN2_HIGH), x);
	uc_vec p = uc_vec_all(0x1.6B7338p-10f);

	r = uc_fma(n, uc_vec_all(-UC_LN2_LOW), r);
	p = uc_fma_const(p, r, 0x1.12278Ep-7f);
	p = uc_fma_const(p, r, 0x1.555716p-5f);
	p = uc_fma_const(p, r, 0x1.5554B0p-3f);
	p = uc_fma_const(p, r, 0x1.FFFFFEp-2f);
	*shifted = (uc_ints)sum;
	return uc_fma(p * r, r, r);
}

/* 0 below -87.3, infinity above 88.4. */
UC_VEC_INLINE uc_vec uc_exp_normal(uc_vec x)
{
	uc_ints shifted = {0};
	uc_vec p = {0};

	x = uc_at_most(uc_at_least(x, -88.0f), 88.8f);
	p = uc_exp_parts(x, &shifted) + 1.0f;
	return p * (uc_vec)(shifted << 23);
}

/* To the ends of the range of floats. */
UC_VEC_INLINE uc_vec uc_exp(uc_vec x)
{
	uc_ints shifted = {0};
	uc_ints half = {0};
	uc_vec p = {0};

	x = uc_at_most(uc_at_least(x, -104.0f), 89.0f);
	p = uc_exp_parts(x, &shifted) + 1.0f;
	/* 2 to the n has no exponent at the ends: as a product of two. */
	shifted = shifted - UC_EXP_MAGIC_BITS - 127;
	half = shifted >> 1;
	return p * (uc_vec)((half + 127) << 23) *
	       (uc_vec)((shifted - half + 127) << 23);
}

UC_VEC_INLINE uc_vec uc_log(uc_vec x)
{
	const uc_ints mantissa = {0x7FFFFF, 0x7FFFFF, 0x7FFFFF, 0x7FFFFF};
	const float inf = __builtin_inff();
	uc_ints small = x < uc_vec_all(0x1p-126f);
	uc_vec scaled = uc_select(small, x * 0x1p+23f, x);
	uc_ints bits = (uc_ints)scaled;
	uc_ints exponent = (bits >> 23) - 127 + (small & -23);
	uc_vec m = (uc_vec)((bits & mantissa) | (127 << 23));
	uc_ints above = m > uc_vec_all(0x1.6A09E6p+0f); /* sqrt 2 */
	uc_vec e = {0};
	uc_vec f = {0};
	uc_vec z = {0};
	uc_vec p = uc_vec_all(7.0376836292e-2f);
	uc_vec y = {0};

	m = uc_select(above, m * 0.5f, m);
	e = __builtin_convertvector(exponent - above, uc_vec);
	f = m - 1.0f;
	z = f * f;
	p = uc_fma_const(p, f, -1.1514610310e-1f);
	p = uc_fma_const(p, f, 1.1676998740e-1f);
	p = uc_fma_const(p, f, -1.2420140846e-1f);
	p = uc_fma_const(p, f, 1.4249322787e-1f);
	p = uc_fma_const(p, f, -1.6668057665e-1f);
	p = uc_fma_const(p, f, 2.0000714765e-1f);
	p = uc_fma_const(p, f, -2.4999993993e-1f);
	p = uc_fma_const(p, f, 3.3333331174e-1f);
	y = uc_fma(e, uc_vec_all(-2.12194440e-4f), p * f * z);
	y = uc_fma(z, uc_vec_all(-0.5f), y);
	y = uc_fma(e, uc_vec_all(0.693359375f), f + y);
	y = uc_select(x == uc_vec_all(inf), x, y);
	y = uc_select(x == uc_vec_all(0.0f), uc_vec_all(-inf), y);
	/* Of what is below 0, and of NaN. */
	return uc_select(x >= uc_vec_all(0.0f), y,
			 uc_vec_all(__builtin_nanf("")));
}

UC_VEC_INLINE uc_vec uc_sigmoid(uc_vec x)
{
	return 1.0f / (1.0f + uc_exp_normal(-x));
}

UC_VEC_INLINE uc_vec uc_erf(uc_vec x)
{
	uc_vec t = uc_at_most(uc_abs(x), 4.0f);
	uc_ints sign = (uc_ints)x & INT32_MIN;
	uc_vec s = t * t;
	uc_vec near = uc_vec_all(-5.96761703e-4f);
	uc_vec far =
		uc_fma_const(uc_vec_all(-1.72853470e-5f), t, 3.83197126e-4f);
	uc_vec u = uc_fma_const(uc_vec_all(-3.88396438e-3f), t, 2.42546219e-2f);
	uc_vec y = {0};

	near = uc_fma_const(near, s, 4.99119423e-3f);
	near = uc_fma_const(near, s, -2.67681349e-2f);
	near = uc_fma_const(near, s, 1.12819925e-1f);
	near = uc_fma_const(near, s, -3.76125336e-1f);
	near = uc_fma_const(near, s, 1.28379166e-1f);
	near = uc_fma(near, t, t);
	far = uc_fma(far, s, u);
	far = uc_fma_const(far, t, -1.06777877e-1f);
	far = uc_fma_const(far, t, -6.34846687e-1f);
	far = uc_fma_const(far, t, -1.28717512e-1f);
	far = uc_fma(far, t, -t);
	far = 1.0f - uc_exp_normal(far);
	y = uc_select(t > uc_vec_all(0.927734375f), far, near);
	y = (uc_vec)((uc_ints)y | sign);
	return uc_select(x == x, y, x);
}

UC_VEC_INLINE uc_vec uc_softplus(uc_vec x)
{
	/* max(x, 0) + log(1 + z) with z = exp(-|x|) in (0, 1]; what is lost
	 * when 1 is added to a small z is put back. */
	uc_vec z = uc_exp_normal(-uc_abs(x));
	uc_vec sum = 1.0f + z;
	uc_vec lost = z - (sum - 1.0f);
	uc_vec y = uc_at_least(x, 0.0f);

	y += uc_log(sum) + lost / sum;
	return uc_select(x == x, y, x);
}

/* x tanh(softplus(x)) = x n / (n + 2) with n = e (e + 2) and e = exp(x). */
UC_VEC_INLINE uc_vec uc_mish(uc_vec x)
{
	uc_vec e = uc_exp_normal(
		uc_select(x > uc_vec_all(20.0f), uc_vec_all(20.0f), x));
	uc_vec n = uc_fma(e, e, e + e);

	return x * (n / (n + 2.0f));
}

UC_VEC_INLINE uc_vec uc_silu(uc_vec x)
{
	return x / (1.0f + uc_exp_normal(-x));
}

/* x/2 (1 + tanh u) = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x³). */
UC_VEC_INLINE uc_vec uc_gelu_tanh(uc_vec x)
{
	uc_vec u = x * uc_fma_const(x * x, uc_vec_all(0.044715f), 1.0f);

	return x / (1.0f + uc_exp_normal(u * -1.59576912f));
}

/* As C's pow, but for -1 to an infinite power. A call: it is long. */
uc_vec uc_power(uc_vec x, uc_vec y);

#endif /* UC_FUNCTIONS_H */
