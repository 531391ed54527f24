/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators on 8-bit activations share. Scale and zero point of each
 * operand are in the op's record; act_min and act_max are stored integers.
 */
#ifndef UC_S8_H
#define UC_S8_H

#include "uc_ops.h"

/* A dense tensor of s8 with a scale, and of f32 without one. */
bool uc_s8_tensor_ok(const struct uc_tensor *t,
		     const struct uc_quantisation *q);
bool uc_s8_f32_ok(const struct uc_tensor *t, const struct uc_quantisation *q);
/* Bounds that an s8 output can have. */
bool uc_s8_act_ok(const struct uc_op *op);
/* One s8 input, one s8 output. */
bool uc_s8_unary_ok(const struct uc_op_shapes *s);
struct uc_qs8_out uc_s8_out(const struct uc_op *op);

static inline const int8_t *uc_s8_in(const float *x)
{
	return (const int8_t *)(const void *)x;
}

/* Where window tap (ky, kx) of output pixel (oy, ox) lies; false: padding. */
static inline bool uc_s8_tap(const struct uc_op_window *win, int64_t oy,
			     int64_t ox, int64_t ky, int64_t kx,
			     int64_t *element)
{
	int64_t y = oy * win->stride_h - win->pad_top + ky * win->dilation_h;
	int64_t x = ox * win->stride_w - win->pad_left + kx * win->dilation_w;

	*element = (y * win->in_w + x) * win->in_c;
	return y >= 0 && y < win->in_h && x >= 0 && x < win->in_w;
}

/* The output has the size that the window leaves of the input. */
bool uc_s8_conv_size_ok(const struct uc_op_shapes *s);

#endif /* UC_S8_H */
