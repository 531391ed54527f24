/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the depthwise convolution share. */
#ifndef UC_DWCONV_H
#define UC_DWCONV_H

#include "uc_ops.h"

struct uc_dwconv {
	struct uc_op_window win;
	struct uc_minmax act;
	const float *zero; /* one pixel of zeros, all channels */
	const float *in;
	float *out;
	const float *weights;
	size_t channels; /* of the step, from those that in and out point at */
};

/* A kernel that takes several rows at a time, or NULL where there is none. */
const struct uc_dwconv_rows_kernel *
uc_dwconv_find_rows(const struct uc_op_window *win);
void uc_dwconv_run_rows(const struct uc_dwconv *dw,
			const struct uc_dwconv_rows_kernel *kernel);

#endif /* UC_DWCONV_H */
