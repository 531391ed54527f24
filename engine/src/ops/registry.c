/* SPDX-License-Identifier: Apache-2.0 */
#include "uc_ops.h"

static const struct uc_op_type *const types[] = {
	[UC_OP_CONV_2D] = &uc_op_conv2d,
	[UC_OP_DEPTHWISE_CONV_2D] = &uc_op_dwconv2d,
	[UC_OP_FULLY_CONNECTED] = &uc_op_fully_connected,
	[UC_OP_ADD] = &uc_op_add,
	[UC_OP_SUB] = &uc_op_sub,
	[UC_OP_MUL] = &uc_op_mul,
	[UC_OP_DIV] = &uc_op_div,
	[UC_OP_CLAMP] = &uc_op_clamp,
	[UC_OP_HARD_SIGMOID] = &uc_op_hard_sigmoid,
	[UC_OP_MAX_POOL_2D] = &uc_op_max_pool,
	[UC_OP_AVERAGE_POOL_2D] = &uc_op_average_pool,
	[UC_OP_GLOBAL_AVERAGE_POOL] = &uc_op_global_average_pool,
	[UC_OP_SOFTMAX] = &uc_op_softmax,
	[UC_OP_TRANSPOSE] = &uc_op_transpose,
	[UC_OP_CONSTANT] = &uc_op_constant,
	[UC_OP_HARD_SWISH] = &uc_op_hard_swish,
	[UC_OP_UNARY] = &uc_op_function,
	[UC_OP_GATHER] = &uc_op_gather,
	[UC_OP_RESIZE_LINEAR] = &uc_op_resize_linear,
	[UC_OP_QUANTIZE] = &uc_op_quantize,
	[UC_OP_DEQUANTIZE] = &uc_op_dequantize,
	[UC_OP_LOOKUP_S8] = &uc_op_lookup_s8,
	[UC_OP_CONV_2D_S8] = &uc_op_conv2d_s8,
	[UC_OP_DEPTHWISE_CONV_2D_S8] = &uc_op_dwconv2d_s8,
	[UC_OP_ADD_S8] = &uc_op_add_s8,
	[UC_OP_MUL_S8] = &uc_op_mul_s8,
	[UC_OP_MAX_POOL_2D_S8] = &uc_op_max_pool_s8,
	[UC_OP_AVERAGE_POOL_2D_S8] = &uc_op_average_pool_s8,
	[UC_OP_REDUCE] = &uc_op_reduce,
	[UC_OP_ARG_MAX] = &uc_op_arg_max,
	[UC_OP_NORMALIZE] = &uc_op_normalize,
	[UC_OP_LOCAL_RESPONSE_NORM] = &uc_op_local_response_norm,
	[UC_OP_MATRIX_MULTIPLY] = &uc_op_matrix_multiply,
	[UC_OP_MINIMUM] = &uc_op_minimum,
	[UC_OP_MAXIMUM] = &uc_op_maximum,
	[UC_OP_PRELU] = &uc_op_prelu,
	[UC_OP_POWER] = &uc_op_power,
};

const struct uc_op_type *uc_op_find(uint16_t code)
{
	return code < sizeof(types) / sizeof(types[0]) ? types[code] : NULL;
}
