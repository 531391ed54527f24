/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depthwise convolution of up to 49 taps through a table of pointers. XNNPACK
 * has one pass for up to 25; more take several passes and a buffer there, and
 * weights in another order.
 */
#include "uc_kernels.h"
#include "vec.h"

#define SLOTS 49

UC_VEC_INLINE void add_taps(const float **input, size_t offset_bytes,
			    const float *zero, size_t channel, const float *w,
			    uc_vec sum[2])
{
	for (size_t i = 0; i < SLOTS; i++) {
		const float *x = input[i];

		if (x != zero)
			x += offset_bytes / sizeof(float);
		x += channel;
		w += UC_PANEL_CHANNELS;
		uc_vec_add_product(&sum[0], uc_vec_load(x), uc_vec_load(w));
		uc_vec_add_product(&sum[1], uc_vec_load(x + UC_VEC_FLOATS),
				   uc_vec_load(w + UC_VEC_FLOATS));
	}
}

UC_VEC_INLINE void store(float *out, uc_vec x, size_t left)
{
	if (left >= UC_VEC_FLOATS)
		uc_vec_store(out, x);
	else
		uc_vec_store_some(out, x, left);
}

void uc_dwconv_table_49(size_t channels, size_t pixels, const float **input,
			const float *w, float *out, intptr_t input_stride_bytes,
			size_t out_increment_bytes, size_t input_offset_bytes,
			const float *zero, const struct uc_minmax *act)
{
	const uc_vec min = uc_vec_all(act->min);
	const uc_vec max = uc_vec_all(act->max);

	for (; pixels; pixels--) {
		const float *panel = w;

		for (size_t c = 0; c < channels; c += UC_PANEL_CHANNELS) {
			size_t left = channels - c;
			uc_vec sum[2] = {
				uc_vec_load(panel),
				uc_vec_load(panel + UC_VEC_FLOATS),
			};

			add_taps(input, input_offset_bytes, zero, c, panel,
				 sum);
			store(out + c, uc_vec_clamp(sum[0], min, max), left);
			if (left > UC_VEC_FLOATS)
				store(out + c + UC_VEC_FLOATS,
				      uc_vec_clamp(sum[1], min, max),
				      left - UC_VEC_FLOATS);
			panel += UC_PANEL_CHANNELS * (1 + SLOTS);
		}
		input += input_stride_bytes / (intptr_t)sizeof(*input);
		out += channels + out_increment_bytes / sizeof(float);
	}
}
