/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over 8-bit elements. Loops that a compiler turns into vector code
 * by itself: a float in the middle makes four elements to a step, and nothing
 * here is worth more.
 */
#include "qs8.h"
#include "qs8_round.h"

struct bounds {
	float min, max;
	int32_t zero;
};

static struct bounds bounds_of(const struct uc_qs8_out *out)
{
	struct bounds b = {
		.min = (float)(out->min - out->zero),
		.max = (float)(out->max - out->zero),
		.zero = out->zero,
	};

	return b;
}

static inline int8_t store(float x, struct bounds b)
{
	return (int8_t)(uc_qs8_round(x, b.min, b.max) + b.zero);
}

void uc_qs8_add(size_t count, const int8_t *restrict a,
		const int8_t *restrict b, int8_t *restrict out,
		const struct uc_qs8_sum *sum)
{
	struct bounds to = bounds_of(&sum->out);
	float by_a = sum->by_a, by_b = sum->by_b, plus = sum->plus;

	for (size_t i = 0; i < count; i++)
		out[i] = store((float)a[i] * by_a + ((float)b[i] * by_b + plus),
			       to);
}

void uc_qs8_multiply(size_t count, const int8_t *restrict a,
		     const int8_t *restrict b, int8_t *restrict out,
		     const struct uc_qs8_product *product)
{
	struct bounds to = bounds_of(&product->out);
	int32_t a_zero = product->a_zero, b_zero = product->b_zero;
	float by = product->by;

	for (size_t i = 0; i < count; i++)
		out[i] = store((float)((a[i] - a_zero) * (b[i] - b_zero)) * by,
			       to);
}

void uc_qs8_quantise(size_t count, const float *restrict x,
		     int8_t *restrict out, float scale,
		     const struct uc_qs8_out *to)
{
	struct bounds b = bounds_of(to);

	for (size_t i = 0; i < count; i++)
		out[i] = store(x[i] / scale, b);
}

void uc_qs8_dequantise(size_t count, const int8_t *restrict x,
		       float *restrict out, float scale, int32_t zero)
{
	for (size_t i = 0; i < count; i++)
		out[i] = (float)(x[i] - zero) * scale;
}

void uc_qs8_lookup(size_t count, const int8_t *restrict x, int8_t *restrict out,
		   const uint8_t *restrict table)
{
	for (size_t i = 0; i < count; i++)
		out[i] = (int8_t)table[(uint8_t)x[i]];
}

void uc_qs8_max(size_t count, const int8_t *restrict x,
		int8_t *restrict largest)
{
	for (size_t i = 0; i < count; i++)
		largest[i] = x[i] > largest[i] ? x[i] : largest[i];
}

void uc_qs8_accumulate(size_t count, const int8_t *restrict x,
		       int32_t *restrict sum)
{
	for (size_t i = 0; i < count; i++)
		sum[i] += x[i];
}

void uc_qs8_average(size_t count, const int32_t *restrict sum, int32_t less,
		    float by, int8_t *restrict out, const struct uc_qs8_out *to)
{
	struct bounds b = bounds_of(to);

	for (size_t i = 0; i < count; i++)
		out[i] = store((float)(sum[i] - less) * by, b);
}

void uc_qs8_clamp(size_t count, int8_t *x, const struct uc_qs8_out *to)
{
	for (size_t i = 0; i < count; i++) {
		x[i] = x[i] > (int8_t)to->min ? x[i] : (int8_t)to->min;
		x[i] = x[i] < (int8_t)to->max ? x[i] : (int8_t)to->max;
	}
}
