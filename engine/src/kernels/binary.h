/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_BINARY_H
#define UC_BINARY_H

#include "uc_kernels.h"

uc_vbinary_fn uc_add_vector, uc_add_scalar;
uc_vbinary_fn uc_sub_vector, uc_sub_scalar, uc_sub_reversed;
uc_vbinary_fn uc_mul_vector, uc_mul_scalar;
uc_vbinary_fn uc_div_vector, uc_div_scalar, uc_div_reversed;
uc_vbinary_fn uc_minimum_vector, uc_minimum_scalar;
uc_vbinary_fn uc_maximum_vector, uc_maximum_scalar;
uc_vbinary_fn uc_prelu_vector, uc_prelu_scalar, uc_prelu_reversed;
uc_vbinary_fn uc_power_vector, uc_power_scalar, uc_power_reversed;

/* The same in all kernel sets. */
#define UC_BINARY_KERNELS                                                      \
	.add = {uc_add_vector, uc_add_scalar, uc_add_scalar},                  \
	.sub = {uc_sub_vector, uc_sub_scalar, uc_sub_reversed},                \
	.mul = {uc_mul_vector, uc_mul_scalar, uc_mul_scalar},                  \
	.div = {uc_div_vector, uc_div_scalar, uc_div_reversed},                \
	.minimum = {uc_minimum_vector, uc_minimum_scalar, uc_minimum_scalar},  \
	.maximum = {uc_maximum_vector, uc_maximum_scalar, uc_maximum_scalar},  \
	.prelu = {uc_prelu_vector, uc_prelu_scalar, uc_prelu_reversed},        \
	.power = {uc_power_vector, uc_power_scalar, uc_power_reversed}

#endif /* UC_BINARY_H */
