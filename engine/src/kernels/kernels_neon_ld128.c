/* SPDX-License-Identifier: Apache-2.0 */
/* AArch64, GEMM with 128-bit loads, scheduled for no core in particular. */
#include "kernels_neon.h"

UC_XNN_GEMM(6x8__asm_aarch64_neonfma_ld128);
UC_XNN_GEMM(4x8__asm_aarch64_neonfma_ld128);
UC_XNN_IGEMM(6x8__asm_aarch64_neonfma_ld128);
UC_XNN_IGEMM(4x8__asm_aarch64_neonfma_ld128);

const struct uc_kernels uc_kernels = {
	.id = UC_KERNEL_SET_NEON_LD128,
	.name = "neon-ld128",
	.rows =
		{
			{
				6,
				UC_XNN(gemm_minmax_ukernel_6x8__asm_aarch64_neonfma_ld128),
				UC_XNN(igemm_minmax_ukernel_6x8__asm_aarch64_neonfma_ld128),
			},
			{
				4,
				UC_XNN(gemm_minmax_ukernel_4x8__asm_aarch64_neonfma_ld128),
				UC_XNN(igemm_minmax_ukernel_4x8__asm_aarch64_neonfma_ld128),
			},
			{
				1,
				uc_gemv_neon,
				uc_igemv_neon,
			},
		},
	UC_NEON_SHARED_KERNELS,
	.qs8 = &uc_qs8_mlal,
};
