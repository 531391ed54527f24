/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_BINARY_H
#define UC_BINARY_H

#include "uc_kernels.h"

uc_vbinary_fn uc_add_vector, uc_add_scalar;
uc_vbinary_fn uc_sub_vector, uc_sub_scalar, uc_sub_reversed;
uc_vbinary_fn uc_mul_vector, uc_mul_scalar;
uc_vbinary_fn uc_div_vector, uc_div_scalar, uc_div_reversed;

/* The same in all kernel sets. */
#define UC_BINARY_KERNELS                                                      \
	.add = {uc_add_vector, uc_add_scalar, uc_add_scalar},                  \
	.sub = {uc_sub_vector, uc_sub_scalar, uc_sub_reversed},                \
	.mul = {uc_mul_vector, uc_mul_scalar, uc_mul_scalar},                  \
	.div = {uc_div_vector, uc_div_scalar, uc_div_reversed}

#endif /* UC_BINARY_H */
