/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_ops.h"

static bool fully_connected_check(const struct uc_op_shapes *s)
{
	return uc_op_unary_ok(s) && s->out->n == s->a->n &&
	       s->out->h == s->a->h && s->out->w == s->a->w &&
	       uc_op_pixels_even(s->a) && uc_op_pixels_even(s->out);
}

static void fully_connected_panels(const struct uc_op_shapes *s,
				   uint64_t *panel_bytes, uint64_t *panel_count)
{
	*panel_bytes = UC_PANEL_CHANNEL_BYTES * (1 + (uint64_t)s->a->c);
	*panel_count = uc_op_ceil_div(s->out->c, UC_PANEL_CHANNELS);
}

static void fully_connected_run(const struct uc_op_step *step)
{
	size_t channel = (size_t)step->first_panel * UC_PANEL_CHANNELS;
	struct uc_op_gemm gemm = {
		.rows = uc_op_rows(step->s.a),
		.nc = (size_t)step->panel_count * UC_PANEL_CHANNELS,
		.k = step->s.a->c,
		.in = step->a,
		.in_stride = step->s.a->stride_w,
		.weights = (const float *)(const void *)step->panels,
		.out = step->out + channel,
		.out_stride = step->s.out->stride_w,
		.act = uc_op_act(step->s.op),
	};

	if (gemm.nc > step->s.out->c - channel)
		gemm.nc = step->s.out->c - channel;
	uc_op_gemm(&gemm);
}

const struct uc_op_type uc_op_fully_connected = {
	.code = UC_OP_FULLY_CONNECTED,
	.int8_weights = true,
	.check = fully_connected_check,
	.panels = fully_connected_panels,
	.scratch = uc_op_no_scratch,
	.run = fully_connected_run,
};
