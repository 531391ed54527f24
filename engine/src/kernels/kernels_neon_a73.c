/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AArch64, the default: GEMM of the fewest instructions, for cores that order
 * them on their own, Cortex-A73 and later (docs/kernels.md).
 */
#include "gemm_neon.h"
#include "kernels_neon.h"

#ifndef UC_WITH_DOT_PRODUCTS
#define UC_SET_ID UC_KERNEL_SET_NEON_A73
#define UC_SET_NAME "neon-a73"
#define UC_SET_QS8 uc_qs8_mlal
#endif

const struct uc_kernels uc_kernels = {
	.id = UC_SET_ID,
	.name = UC_SET_NAME,
	.rows =
		{
			{
				6,
				uc_gemm_neon_6,
				uc_igemm_neon_6,
			},
			{
				4,
				uc_gemm_neon_4,
				uc_igemm_neon_4,
			},
			{
				1,
				uc_gemv_neon,
				uc_igemv_neon,
			},
		},
	UC_NEON_SHARED_KERNELS,
	.qs8 = &UC_SET_QS8,
};
