/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the parameters of the TEE Internal Core API and the service's.
 */
#ifndef UC_TA_PARAMS_H
#define UC_TA_PARAMS_H

#include <tee_internal_api.h>

#include "uc_service.h"

/* False when no command has a parameter of such a type. */
bool uc_params_load(struct uc_param out[4], uint32_t types,
		    const TEE_Param params[4]);
/* Writes back what the types say is output. */
void uc_params_store(TEE_Param params[4], const struct uc_param in[4]);

#endif /* UC_TA_PARAMS_H */
