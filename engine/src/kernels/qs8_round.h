/* SPDX-License-Identifier: Apache-2.0 */
/* From 32 to 8 bits, in plain C: the same result as the vector forms. */
#ifndef UC_QS8_ROUND_H
#define UC_QS8_ROUND_H

#include "qs8.h"
#include "uc_spec.h"

/* To the nearest integer, ties to even, between min and max, whatever x is. */
static inline int32_t uc_qs8_round(float x, float min, float max)
{
	const float magic = 12582912.0f; /* 1.5 * 2^23: no fraction is left */

	x = x >= min ? x : min; /* a NaN is min */
	x = x <= max ? x : max;
	x += magic;
	return (int32_t)(x - magic);
}

/* Eight sums; `multipliers` are eight floats, maybe not aligned. */
static inline void uc_qs8_store(const int32_t *sums, const uint8_t *multipliers,
				const struct uc_qs8_out *out, size_t lanes,
				int8_t *c)
{
	float by[UC_PANEL_CHANNELS];
	float min = (float)(out->min - out->zero);
	float max = (float)(out->max - out->zero);

	__builtin_memcpy(by, multipliers, sizeof(by));
	for (size_t i = 0; i < lanes; i++)
		c[i] = (int8_t)(uc_qs8_round((float)sums[i] * by[i], min, max) +
				out->zero);
}

#endif /* UC_QS8_ROUND_H */
