/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack.h"

#include "uc_spec.h"

#define LANES UC_PANEL_CHANNELS

#ifdef __aarch64__
#include <arm_neon.h>

/* Bytes 4i ... 4i + 3 of a register, each on top of a word of its own. */
#define NONE 0xFF
#define ON_TOP(i)                                                              \
	{                                                                      \
		NONE, NONE, NONE, 4 * (i),     NONE, NONE, NONE, 4 * (i) + 1,  \
		NONE, NONE, NONE, 4 * (i) + 2, NONE, NONE, NONE, 4 * (i) + 3,  \
	}

static const uint8_t spread[4][16] = {ON_TOP(0), ON_TOP(1), ON_TOP(2),
				      ON_TOP(3)};

/*
 * Four bytes to floats, times a scale. A table look-up spreads them and the
 * conversion divides by the 2^24 that they lie too high: two instructions for
 * what widening twice and converting needs two and a half.
 */
static inline void unpack_quad(uint8x16_t bytes, uint8x16_t places,
			       float32x4_t scale, float *out)
{
	int32x4_t words = vreinterpretq_s32_u8(vqtbl1q_u8(bytes, places));

	vst1q_f32(out, vmulq_f32(vcvtq_n_f32_s32(words, 24), scale));
}

static void unpack_rows(const uint8_t *weights, const float *scale, size_t rows,
			float *out)
{
	float32x4_t low = vld1q_f32(scale);
	float32x4_t high = vld1q_f32(scale + 4);
	uint8x16_t p0 = vld1q_u8(spread[0]), p1 = vld1q_u8(spread[1]);
	uint8x16_t p2 = vld1q_u8(spread[2]), p3 = vld1q_u8(spread[3]);

	for (; rows >= 4; rows -= 4) {
		uint8x16_t a = vld1q_u8(weights);
		uint8x16_t b = vld1q_u8(weights + 16);

		unpack_quad(a, p0, low, out);
		unpack_quad(a, p1, high, out + 4);
		unpack_quad(a, p2, low, out + 8);
		unpack_quad(a, p3, high, out + 12);
		unpack_quad(b, p0, low, out + 16);
		unpack_quad(b, p1, high, out + 20);
		unpack_quad(b, p2, low, out + 24);
		unpack_quad(b, p3, high, out + 28);
		weights += 4 * LANES;
		out += 4 * LANES;
	}
	for (; rows; rows--) {
		uint8x16_t a = vcombine_u8(vld1_u8(weights), vdup_n_u8(0));

		unpack_quad(a, p0, low, out);
		unpack_quad(a, p1, high, out + 4);
		weights += LANES;
		out += LANES;
	}
}
#else
static void unpack_rows(const uint8_t *weights, const float *scale, size_t rows,
			float *out)
{
	for (size_t row = 0; row < rows; row++) {
		for (size_t lane = 0; lane < LANES; lane++)
			out[lane] = (float)(int8_t)weights[lane] * scale[lane];
		weights += LANES;
		out += LANES;
	}
}
#endif

void uc_unpack_int8(const uint8_t *panel, size_t rows, float *out)
{
	const float *head = (const float *)(const void *)panel;

	__builtin_memcpy(out, head, LANES * sizeof(float));
	unpack_rows(panel + 2 * LANES * sizeof(float), head + LANES, rows,
		    out + LANES);
}
