/* SPDX-License-Identifier: Apache-2.0 */
/* From stored panels to the f32 panels that kernels multiply (spec: Weights). */
#ifndef UC_UNPACK_H
#define UC_UNPACK_H

#include <stddef.h>
#include <stdint.h>

/* One int8 panel (8 biases, 8 scales, rows x 8 bytes) to 8 biases and
 * rows x 8 floats, each the byte times its channel's scale, rounded once. */
void uc_unpack_int8(const uint8_t *panel, size_t rows, float *out);

#endif /* UC_UNPACK_H */
