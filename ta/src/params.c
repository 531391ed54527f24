/* SPDX-License-Identifier: Apache-2.0 */
#include "params.h"

static void load_value(struct uc_param *out, enum uc_param_type type,
		       const TEE_Param *param)
{
	out->type = type;
	if (type == UC_PARAM_VALUE_INOUT) {
		out->a = param->value.a;
		out->b = param->value.b;
	}
}

static bool load_memory(struct uc_param *out, enum uc_param_type type,
			const TEE_Param *param)
{
	out->type = type;
	out->ns_data = param->memref.buffer;
	out->ns_len = param->memref.size;
	/* The client may say "no memory, but so many bytes of it". */
	return out->ns_data || out->ns_len == 0;
}

bool uc_params_load(struct uc_param out[4], uint32_t types,
		    const TEE_Param params[4])
{
	for (uint32_t i = 0; i < 4; i++) {
		const TEE_Param *param = &params[i];

		out[i] = (struct uc_param){0};
		switch (TEE_PARAM_TYPE_GET(types, i)) {
		case TEE_PARAM_TYPE_NONE:
			out[i].type = UC_PARAM_NONE;
			break;
		case TEE_PARAM_TYPE_VALUE_INOUT:
			load_value(&out[i], UC_PARAM_VALUE_INOUT, param);
			break;
		case TEE_PARAM_TYPE_VALUE_OUTPUT:
			load_value(&out[i], UC_PARAM_VALUE_OUTPUT, param);
			break;
		case TEE_PARAM_TYPE_MEMREF_INPUT:
			if (!load_memory(&out[i], UC_PARAM_MEMREF_INPUT, param))
				return false;
			break;
		case TEE_PARAM_TYPE_MEMREF_OUTPUT:
			if (!load_memory(&out[i], UC_PARAM_MEMREF_OUTPUT,
					 param))
				return false;
			break;
		default:
			return false;
		}
	}
	return true;
}

void uc_params_store(TEE_Param params[4], const struct uc_param in[4])
{
	for (uint32_t i = 0; i < 4; i++) {
		switch (in[i].type) {
		case UC_PARAM_VALUE_INOUT:
		case UC_PARAM_VALUE_OUTPUT:
			params[i].value.a = in[i].a;
			params[i].value.b = in[i].b;
			break;
		case UC_PARAM_MEMREF_OUTPUT:
			params[i].memref.size = in[i].ns_len;
			break;
		case UC_PARAM_NONE:
		case UC_PARAM_MEMREF_INPUT:
			break;
		}
	}
}
