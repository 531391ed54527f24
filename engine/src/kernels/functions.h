/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions of four floats. Relative errors of a few 1e-7 over the
 * whole range, infinities and NaN included (tests/engine/ops/test_functions.py).
 */
#ifndef UC_FUNCTIONS_H
#define UC_FUNCTIONS_H

#include "vector.h"

#define UC_LOG2_E 0x1.715476p+0f
/* ln 2 in two parts; the first has zeros at its end, so its product with a
 * small integer is exact. */
#define UC_LN2_HIGH 0x1.62E400p-1f
#define UC_LN2_LOW 0x1.7F7D1Cp-20f
#define UC_EXP_MAGIC_BITS 0x4B400000 /* of 1.5 * 2^23 */

/* x = n ln 2 + r with |r| <= ln 2 / 2: returns exp(r) - 1, and in the low bits
 * of *shifted n + 127, which is the exponent of 2 to the n. */
static inline uc_floats uc_exp_parts(uc_floats x, uc_ints *shifted)
{
	/* Adding it rounds to an integer, in the low bits. */
	const uc_floats magic = uc_splat(0x1.8000FEp+23f);
	uc_floats sum = uc_fma(x, uc_splat(UC_LOG2_E), magic);
	uc_floats n = sum - magic;
	uc_floats r = uc_fma(n, uc_splat(-UC_LN2_HIGH), x);
	uc_floats p = uc_splat(0x1.6B7338p-10f);

	r = uc_fma(n, uc_splat(-UC_LN2_LOW), r);
	p = uc_fma_const(p, r, 0x1.12278Ep-7f);
	p = uc_fma_const(p, r, 0x1.555716p-5f);
	p = uc_fma_const(p, r, 0x1.5554B0p-3f);
	p = uc_fma_const(p, r, 0x1.FFFFFEp-2f);
	*shifted = (uc_ints)sum;
	return uc_fma(p * r, r, r);
}

/* 0 below -87.3, infinity above 88.4. */
static inline uc_floats uc_exp_normal(uc_floats x)
{
	uc_ints shifted = {0};
	uc_floats p = {0};

	x = uc_at_most(uc_at_least(x, -88.0f), 88.8f);
	p = uc_exp_parts(x, &shifted) + 1.0f;
	return p * (uc_floats)(shifted << 23);
}

/* To the ends of the range of floats. */
static inline uc_floats uc_exp(uc_floats x)
{
	uc_ints shifted = {0};
	uc_ints half = {0};
	uc_floats p = {0};

	x = uc_at_most(uc_at_least(x, -104.0f), 89.0f);
	p = uc_exp_parts(x, &shifted) + 1.0f;
	/* 2 to the n has no exponent at the ends: as a product of two. */
	shifted = shifted - UC_EXP_MAGIC_BITS - 127;
	half = shifted >> 1;
	return p * (uc_floats)((half + 127) << 23) *
	       (uc_floats)((shifted - half + 127) << 23);
}

static inline uc_floats uc_log(uc_floats x)
{
	const uc_ints mantissa = {0x7FFFFF, 0x7FFFFF, 0x7FFFFF, 0x7FFFFF};
	const float inf = __builtin_inff();
	uc_ints small = x < uc_splat(0x1p-126f);
	uc_floats scaled = uc_select(small, x * 0x1p+23f, x);
	uc_ints bits = (uc_ints)scaled;
	uc_ints exponent = (bits >> 23) - 127 + (small & -23);
	uc_floats m = (uc_floats)((bits & mantissa) | (127 << 23));
	uc_ints above = m > uc_splat(0x1.6A09E6p+0f); /* sqrt 2 */
	uc_floats e = {0};
	uc_floats f = {0};
	uc_floats z = {0};
	uc_floats p = uc_splat(7.0376836292e-2f);
	uc_floats y = {0};

	m = uc_select(above, m * 0.5f, m);
	e = __builtin_convertvector(exponent - above, uc_floats);
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
	y = uc_fma(e, uc_splat(-2.12194440e-4f), p * f * z);
	y = uc_fma(z, uc_splat(-0.5f), y);
	y = uc_fma(e, uc_splat(0.693359375f), f + y);
	y = uc_select(x == uc_splat(inf), x, y);
	y = uc_select(x == uc_splat(0.0f), uc_splat(-inf), y);
	/* Of what is below 0, and of NaN. */
	return uc_select(x >= uc_splat(0.0f), y, uc_splat(__builtin_nanf("")));
}

static inline uc_floats uc_sigmoid(uc_floats x)
{
	return 1.0f / (1.0f + uc_exp_normal(-x));
}

static inline uc_floats uc_erf(uc_floats x)
{
	uc_floats t = uc_at_most(uc_abs(x), 4.0f);
	uc_ints sign = (uc_ints)x & INT32_MIN;
	uc_floats s = t * t;
	uc_floats near = uc_splat(-5.96761703e-4f);
	uc_floats far =
		uc_fma_const(uc_splat(-1.72853470e-5f), t, 3.83197126e-4f);
	uc_floats u =
		uc_fma_const(uc_splat(-3.88396438e-3f), t, 2.42546219e-2f);
	uc_floats y = {0};

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
	y = uc_select(t > uc_splat(0.927734375f), far, near);
	y = (uc_floats)((uc_ints)y | sign);
	return uc_select(x == x, y, x);
}

static inline uc_floats uc_softplus(uc_floats x)
{
	/* max(x, 0) + log(1 + z) with z = exp(-|x|) in (0, 1]; what is lost
	 * when 1 is added to a small z is put back. */
	uc_floats z = uc_exp_normal(-uc_abs(x));
	uc_floats sum = 1.0f + z;
	uc_floats lost = z - (sum - 1.0f);
	uc_floats y = uc_at_least(x, 0.0f);

	y += uc_log(sum) + lost / sum;
	return uc_select(x == x, y, x);
}

/* x tanh(softplus(x)) = x n / (n + 2) with n = e (e + 2) and e = exp(x). */
static inline uc_floats uc_mish(uc_floats x)
{
	uc_floats e = uc_exp_normal(
		uc_select(x > uc_splat(20.0f), uc_splat(20.0f), x));
	uc_floats n = uc_fma(e, e, e + e);

	return x * (n / (n + 2.0f));
}

static inline uc_floats uc_silu(uc_floats x)
{
	return x / (1.0f + uc_exp_normal(-x));
}

/* x/2 (1 + tanh u) = x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x³). */
static inline uc_floats uc_gelu_tanh(uc_floats x)
{
	uc_floats u = x * uc_fma_const(x * x, uc_splat(0.044715f), 1.0f);

	return x / (1.0f + uc_exp_normal(u * -1.59576912f));
}

/* exp(y log x) of two lanes, x finite and above 0, in double precision: what y
 * multiplies is the logarithm's error too. */
static inline uc_float_pair uc_power_pair(uc_float_pair x, uc_float_pair y)
{
	const uc_longs mantissa = {0xFFFFFFFFFFFFF, 0xFFFFFFFFFFFFF};
	const uc_doubles magic = {0x1.8p+52, 0x1.8p+52};
	const uc_doubles low = {-110.0, -110.0};
	const uc_doubles high = {95.0, 95.0};
	uc_longs bits = (uc_longs) __builtin_convertvector(x, uc_doubles);
	uc_longs exponent = (bits >> 52) - 1023;
	uc_doubles m = (uc_doubles)((bits & mantissa) | (INT64_C(1023) << 52));
	uc_longs above = m > 0x1.6A09E667F3BCDp+0; /* sqrt 2 */
	uc_doubles halved = m * 0.5;
	uc_doubles s = {0};
	uc_doubles z = {0};
	uc_doubles p = {1.0 / 13, 1.0 / 13};
	uc_doubles t = {0};
	uc_doubles rounded = {0};
	uc_longs in_range = {0};

	m = (uc_doubles)((above & (uc_longs)halved) | (~above & (uc_longs)m));
	s = (m - 1.0) / (m + 1.0);
	z = s * s;
	p = uc_fma_doubles(p, z, 1.0 / 11);
	p = uc_fma_doubles(p, z, 1.0 / 9);
	p = uc_fma_doubles(p, z, 1.0 / 7);
	p = uc_fma_doubles(p, z, 1.0 / 5);
	p = uc_fma_doubles(p, z, 1.0 / 3);
	p = 2.0 * s * uc_fma_doubles(p, z, 1.0);
	t = __builtin_convertvector(exponent - above, uc_doubles);
	t = (t * 0x1.62E42FEFA39EFp-1 + p) *
	    __builtin_convertvector(y, uc_doubles);

	in_range = t > low;
	t = (uc_doubles)((in_range & (uc_longs)t) |
			 (~in_range & (uc_longs)low));
	in_range = t < high;
	t = (uc_doubles)((in_range & (uc_longs)t) |
			 (~in_range & (uc_longs)high));
	m = t * 0x1.71547652B82FEp+0 + magic;
	rounded = m - magic;
	s = t - rounded * 0x1.62E42FEFA39EFp-1;
	p = (uc_doubles){1.0 / 40320, 1.0 / 40320};
	p = uc_fma_doubles(p, s, 1.0 / 5040);
	p = uc_fma_doubles(p, s, 1.0 / 720);
	p = uc_fma_doubles(p, s, 1.0 / 120);
	p = uc_fma_doubles(p, s, 1.0 / 24);
	p = uc_fma_doubles(p, s, 1.0 / 6);
	p = uc_fma_doubles(p, s, 0.5);
	p = uc_fma_doubles(p, s, 1.0);
	p = uc_fma_doubles(p, s, 1.0);
	exponent = (uc_longs)m - (uc_longs)magic + 1023;
	return __builtin_convertvector(p * (uc_doubles)(exponent << 52),
				       uc_float_pair);
}

/* As C's pow. */
static inline uc_floats uc_power(uc_floats x, uc_floats y)
{
	const uc_floats zero = {0};
	const uc_floats inf = uc_splat(__builtin_inff());
	uc_floats size = uc_abs(x);
	/* Above 2^24 every float is an even integer. */
	uc_floats limited = uc_at_most(uc_at_least(y, -0x1p+24f), 0x1p+24f);
	uc_ints whole = __builtin_convertvector(limited, uc_ints);
	uc_ints is_whole = __builtin_convertvector(whole, uc_floats) == limited;
	uc_ints odd = -(whole & 1) & is_whole;
	uc_ints tiny = size == zero;
	uc_ints huge = size == inf;
	uc_floats edge = {0};
	uc_floats safe = uc_select(tiny | huge, uc_splat(1.0f), size);
	uc_float_pair first = uc_power_pair((uc_float_pair){safe[0], safe[1]},
					    (uc_float_pair){y[0], y[1]});
	uc_float_pair second = uc_power_pair((uc_float_pair){safe[2], safe[3]},
					     (uc_float_pair){y[2], y[3]});
	uc_floats r = {first[0], first[1], second[0], second[1]};

	/* Zero to a positive and infinity to a negative power are zero. */
	edge = uc_select(tiny, uc_select(y > zero, zero, inf),
			 uc_select(y > zero, inf, zero));
	r = uc_select(tiny | huge, edge, r);
	r = (uc_floats)((uc_ints)r | ((uc_ints)x & odd & INT32_MIN));
	r = uc_select((x < zero) & ~huge & ~is_whole,
		      uc_splat(__builtin_nanf("")), r);
	r = uc_select(x == x, r, x);
	r = uc_select(y == y, r, y);
	return uc_select((y == zero) | (x == uc_splat(1.0f)), uc_splat(1.0f),
			 r);
}

#endif /* UC_FUNCTIONS_H */
