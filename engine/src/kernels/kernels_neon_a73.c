/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AArch64, the default: GEMM that needs the fewest instructions, scheduled for
 * Cortex-A73 in whole tiles and Cortex-A75 in the rest (docs/kernels.md).
 */
#include "kernels_neon.h"

UC_XNN_GEMM(6x8__asm_aarch64_neonfma_cortex_a73);
UC_XNN_GEMM(4x8__asm_aarch64_neonfma_cortex_a75);
UC_XNN_IGEMM(6x8__asm_aarch64_neonfma_cortex_a73);
UC_XNN_IGEMM(4x8__asm_aarch64_neonfma_cortex_a75);
UC_XNN_IGEMM(1x8__asm_aarch64_neonfma_cortex_a75);

const struct uc_kernels uc_kernels = {
	.id = UC_KERNEL_SET_NEON_A73,
	.name = "neon-a73",
	.rows =
		{
			{
				6,
				UC_XNN(gemm_minmax_ukernel_6x8__asm_aarch64_neonfma_cortex_a73),
				UC_XNN(igemm_minmax_ukernel_6x8__asm_aarch64_neonfma_cortex_a73),
			},
			{
				4,
				UC_XNN(gemm_minmax_ukernel_4x8__asm_aarch64_neonfma_cortex_a75),
				UC_XNN(igemm_minmax_ukernel_4x8__asm_aarch64_neonfma_cortex_a75),
			},
			{
				1,
				uc_gemv_neon,
				UC_XNN(igemm_minmax_ukernel_1x8__asm_aarch64_neonfma_cortex_a75),
			},
		},
	UC_NEON_SHARED_KERNELS,
};
