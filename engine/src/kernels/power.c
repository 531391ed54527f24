/* SPDX-License-Identifier: Apache-2.0 */
/* x to the power of y. */
#include "functions.h"

/* exp(y log x) of two lanes, x finite and above 0, in double precision: what y
 * multiplies is the logarithm's error too. */
static uc_float_pair power_pair(uc_float_pair x, uc_float_pair y)
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

uc_vec uc_power(uc_vec x, uc_vec y)
{
	const uc_vec zero = {0};
	const uc_vec inf = uc_vec_all(__builtin_inff());
	uc_vec size = uc_abs(x);
	/* Above 2^24 every float is an even integer. */
	uc_vec limited = uc_at_most(uc_at_least(y, -0x1p+24f), 0x1p+24f);
	uc_ints whole = __builtin_convertvector(limited, uc_ints);
	uc_ints is_whole = __builtin_convertvector(whole, uc_vec) == limited;
	uc_ints odd = -(whole & 1) & is_whole;
	uc_ints tiny = size == zero;
	uc_ints huge = size == inf;
	uc_vec edge = {0};
	uc_vec safe = uc_select(tiny | huge, uc_vec_all(1.0f), size);
	uc_float_pair first = power_pair((uc_float_pair){safe[0], safe[1]},
					 (uc_float_pair){y[0], y[1]});
	uc_float_pair second = power_pair((uc_float_pair){safe[2], safe[3]},
					  (uc_float_pair){y[2], y[3]});
	uc_vec r = {first[0], first[1], second[0], second[1]};

	/* Zero to a positive and infinity to a negative power are zero. */
	edge = uc_select(tiny, uc_select(y > zero, zero, inf),
			 uc_select(y > zero, inf, zero));
	r = uc_select(tiny | huge, edge, r);
	r = (uc_vec)((uc_ints)r | ((uc_ints)x & odd & INT32_MIN));
	r = uc_select((x < zero) & ~huge & ~is_whole,
		      uc_vec_all(__builtin_nanf("")), r);
	r = uc_select(x == x, r, x);
	r = uc_select(y == y, r, y);
	return uc_select((y == zero) | (x == uc_vec_all(1.0f)),
			 uc_vec_all(1.0f), r);
}
