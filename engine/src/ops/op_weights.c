/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are stored in less than 32 bits: unpacked a few panels at a
 * time into the end of the scratch region, where the operator finds them as if
 * they had always been f32.
 */
#include "unpack.h"
#include "uc_ops.h"

/* An int8 panel: 8 biases, 8 scales, then a byte where f32 has a float. */
static uint64_t int8_panel_bytes(uint64_t f32_panel_bytes)
{
	uint64_t rows = f32_panel_bytes / UC_PANEL_CHANNEL_BYTES - 1;
	uint64_t bytes = 2 * UC_PANEL_CHANNEL_BYTES + rows * UC_PANEL_CHANNELS;

	return (bytes + 31) & ~UINT64_C(31);
}

bool uc_op_panels(const struct uc_op_type *type, const struct uc_op_shapes *s,
		  uint64_t *panel_bytes, uint64_t *panel_count)
{
	type->panels(s, panel_bytes, panel_count);
	if (s->op->weights_format == UC_WEIGHTS_F32)
		return true;
	if (s->op->weights_format != UC_WEIGHTS_INT8 || !type->int8_weights)
		return false;
	*panel_bytes = int8_panel_bytes(*panel_bytes);
	return true;
}

/* How many f32 panels are there at a time; 0 when none is unpacked. */
static uint64_t unpacked_panels(const struct uc_op_type *type,
				const struct uc_op_shapes *s,
				uint64_t *panel_bytes)
{
	uint64_t panel_count = 0;
	uint64_t fit = 0;

	type->panels(s, panel_bytes, &panel_count);
	if (s->op->weights_format == UC_WEIGHTS_F32 || *panel_bytes == 0)
		return 0;
	fit = UC_UNPACK_BYTES / *panel_bytes;
	if (fit == 0)
		fit = 1;
	return fit < panel_count ? fit : panel_count;
}

uint64_t uc_op_scratch(const struct uc_op_type *type,
		       const struct uc_op_shapes *s)
{
	uint64_t panel_bytes = 0;
	uint64_t panels = unpacked_panels(type, s, &panel_bytes);

	return uc_op_align(type->scratch(s)) +
	       uc_op_align(panels * panel_bytes);
}

void uc_op_run(const struct uc_op_type *type, const struct uc_op_step *step)
{
	struct uc_op op = *step->s.op;
	struct uc_op_step part = *step;
	uint64_t panel_bytes = 0;
	uint64_t most = unpacked_panels(type, &step->s, &panel_bytes);
	size_t rows = (size_t)(panel_bytes / UC_PANEL_CHANNEL_BYTES);
	uint8_t *unpacked = NULL;
	const uint8_t *packed = step->panels;
	uint32_t left = step->panel_count;

	if (most == 0) {
		type->run(step);
		return;
	}
	unpacked = step->scratch + uc_op_align(type->scratch(&step->s));
	part.s.op = &op;
	part.panels = unpacked;
	op.weights_format = UC_WEIGHTS_F32;
	op.panel_bytes = (uint32_t)panel_bytes;
	while (left) {
		part.panel_count = left < most ? left : (uint32_t)most;
		for (uint32_t i = 0; i < part.panel_count; i++) {
			uc_unpack_int8(
				packed, rows - 1,
				(float *)(void *)(unpacked + i * panel_bytes));
			packed += step->s.op->panel_bytes;
		}
		type->run(&part);
		part.first_panel += part.panel_count;
		left -= part.panel_count;
	}
}
