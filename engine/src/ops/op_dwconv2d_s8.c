/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of 8-bit activations: a row of output pixels at a time. */
#include "s8.h"

#define MOST_TAPS 25

static uint64_t taps_of(const struct uc_op *op)
{
	return (uint64_t)op->kernel_h * op->kernel_w;
}

static bool dwconv_check(const struct uc_op_shapes *s)
{
	const struct uc_op *op = s->op;

	return uc_s8_unary_ok(s) && uc_op_window_ok(op) &&
	       taps_of(op) <= MOST_TAPS && op->groups == s->a->c &&
	       s->out->c == s->a->c && uc_s8_conv_size_ok(s);
}

static void dwconv_panels(const struct uc_op_shapes *s, uint64_t *panel_bytes,
			  uint64_t *panel_count)
{
	uint64_t bytes =
		2 * UC_PANEL_CHANNEL_BYTES + taps_of(s->op) * UC_PANEL_CHANNELS;

	*panel_bytes = (bytes + 31) & ~UINT64_C(31);
	*panel_count = uc_op_ceil_div(s->out->c, UC_PANEL_CHANNELS);
}

static uint64_t table_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align(8 * taps_of(s->op) * s->out->w);
}

static uint64_t padding_bytes(const struct uc_op_shapes *s)
{
	return uc_op_align((uint64_t)s->a->c + 64);
}

static uint64_t dwconv_scratch(const struct uc_op_shapes *s)
{
	return table_bytes(s) + padding_bytes(s);
}

static void build_table(const struct uc_op_window *win, const int8_t *image,
			int64_t oy, const int8_t *padding, const int8_t **slot)
{
	const struct uc_op_window w = *win;
	int64_t element = 0;

	for (int64_t ox = 0; ox < w.out_w; ox++) {
		for (int64_t ky = 0; ky < w.kernel_h; ky++) {
			for (int64_t kx = 0; kx < w.kernel_w; kx++) {
				bool in =
					uc_s8_tap(&w, oy, ox, ky, kx, &element);

				*slot++ = in ? image + element : padding;
			}
		}
	}
}

static void dwconv_run(const struct uc_op_step *step)
{
	const struct uc_op *op = step->s.op;
	struct uc_op_window win = uc_op_window_of(&step->s);
	const int8_t **table = (const int8_t **)(void *)step->scratch;
	int8_t *padding = (int8_t *)step->scratch + table_bytes(&step->s);
	size_t out_c = step->s.out->c;
	struct uc_qs8_dwconv dw = {
		.pixels = (size_t)win.out_w,
		.taps = taps_of(op),
		.first = (size_t)step->first_panel * UC_PANEL_CHANNELS,
		.channels = (size_t)step->panel_count * UC_PANEL_CHANNELS,
		.a = table,
		.panels = step->panels,
		.panel_bytes = op->panel_bytes,
		.c_stride = out_c,
		.out = uc_s8_out(op),
	};

	if (dw.channels > out_c - dw.first)
		dw.channels = out_c - dw.first;
	dw.c = (int8_t *)(void *)step->out + dw.first;
	__builtin_memset(padding, op->a_quant.zero, padding_bytes(&step->s));
	for (int64_t n = 0; n < win.in_n; n++) {
		const int8_t *image =
			uc_s8_in(step->a) + n * win.in_h * win.in_w * win.in_c;

		for (int64_t oy = 0; oy < win.out_h; oy++) {
			build_table(&win, image, oy, padding, table);
			uc_kernels.qs8->dwconv(&dw);
			dw.c += dw.pixels * out_c;
		}
	}
}

const struct uc_op_type uc_op_dwconv2d_s8 = {
	.code = UC_OP_DEPTHWISE_CONV_2D_S8,
	.check = dwconv_check,
	.panels = dwconv_panels,
	.scratch = dwconv_scratch,
	.run = dwconv_run,
};
