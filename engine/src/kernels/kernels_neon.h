/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all AArch64 kernel sets share: everything but GEMM. They differ in how
 * the GEMM assembly is scheduled for a core.
 */
#ifndef UC_KERNELS_NEON_H
#define UC_KERNELS_NEON_H

#include "binary.h"
#include "gemv_neon.h"
#include "xnnpack.h"

UC_XNN_DWCONV(3p8c__neonfma);
UC_XNN_DWCONV(4p8c__neonfma);
UC_XNN_DWCONV(9p8c__neonfma);
UC_XNN_DWCONV(25p8c__neonfma_acc2);
uc_maxpool_fn UC_XNN(maxpool_minmax_ukernel_9p8x__neon_c4);
uc_avgpool_fn UC_XNN(pavgpool_minmax_ukernel_9x__neon_c4);
uc_avgpool_multipass_fn UC_XNN(pavgpool_minmax_ukernel_9p8x__neon_c4);
uc_column_sum_fn UC_XNN(rdsum_ukernel_7p7x__neon_c16);
uc_vclamp_fn UC_XNN(vclamp_ukernel__neon_u16);
uc_scale_bias_fn UC_XNN(vmulcaddc_minmax_ukernel_c4__neonfma_2x);
uc_vunary_fn UC_XNN(vhswish_ukernel__neon_u16);
uc_vunary_fn UC_XNN(vabs_ukernel__neon_u8);
uc_vunary_fn UC_XNN(vneg_ukernel__neon_u8);
uc_vunary_fn UC_XNN(vsqr_ukernel__neon_u8);
uc_vunary_fn UC_XNN(vrndd_ukernel__neonv8_u8);
uc_vunary_fn UC_XNN(vrndu_ukernel__neonv8_u8);
uc_vunary_fn UC_XNN(vrndne_ukernel__neonv8_u8);
uc_vleaky_relu_fn UC_XNN(vlrelu_ukernel__neon_u8);
uc_vunary_fn UC_XNN(vtanh_ukernel__neon_rational_9_8_div_u16);
uc_vunary_fn UC_XNN(vgelu_ukernel__neon_rational_12_10_div_u16);
uc_velu_fn UC_XNN(velu_ukernel__neonfma_rr1_p6_u8);
uc_vmax_fn UC_XNN(rmax_ukernel__neon_u16_acc4);
uc_vexp_fn UC_XNN(raddstoreexpminusmax_ukernel__neonfma_rr1_lut64_p2_u16_acc2);
uc_transpose_fn xnn_x32_transposec_ukernel__4x4_aarch64_neon_tbl128;
uc_bilinear_fn UC_XNN(ibilinear_ukernel__neonfma_c8);

#define UC_NEON_SHARED_KERNELS                                                 \
	.dwconv =                                                              \
		{                                                              \
			{3, UC_XNN(dwconv_minmax_ukernel_3p8c__neonfma)},      \
			{4, UC_XNN(dwconv_minmax_ukernel_4p8c__neonfma)},      \
			{9, UC_XNN(dwconv_minmax_ukernel_9p8c__neonfma)},      \
			{25,                                                   \
			 UC_XNN(dwconv_minmax_ukernel_25p8c__neonfma_acc2)},   \
			{49, uc_dwconv_table_49},                              \
	},                                                                     \
	.maxpool = UC_XNN(maxpool_minmax_ukernel_9p8x__neon_c4),               \
	.avgpool = UC_XNN(pavgpool_minmax_ukernel_9x__neon_c4),                \
	.avgpool_multipass = UC_XNN(pavgpool_minmax_ukernel_9p8x__neon_c4),    \
	.column_sum = UC_XNN(rdsum_ukernel_7p7x__neon_c16), UC_BINARY_KERNELS, \
	.clamp = UC_XNN(vclamp_ukernel__neon_u16),                             \
	.scale_bias = UC_XNN(vmulcaddc_minmax_ukernel_c4__neonfma_2x),         \
	.hard_swish = UC_XNN(vhswish_ukernel__neon_u16),                       \
	.abs = UC_XNN(vabs_ukernel__neon_u8),                                  \
	.negate = UC_XNN(vneg_ukernel__neon_u8),                               \
	.square = UC_XNN(vsqr_ukernel__neon_u8),                               \
	.floor = UC_XNN(vrndd_ukernel__neonv8_u8),                             \
	.ceil = UC_XNN(vrndu_ukernel__neonv8_u8),                              \
	.round = UC_XNN(vrndne_ukernel__neonv8_u8),                            \
	.leaky_relu = UC_XNN(vlrelu_ukernel__neon_u8),                         \
	.tanh = UC_XNN(vtanh_ukernel__neon_rational_9_8_div_u16),              \
	.gelu = UC_XNN(vgelu_ukernel__neon_rational_12_10_div_u16),            \
	.elu = UC_XNN(velu_ukernel__neonfma_rr1_p6_u8),                        \
	.max = UC_XNN(rmax_ukernel__neon_u16_acc4),                            \
	.exp = UC_XNN(                                                         \
		raddstoreexpminusmax_ukernel__neonfma_rr1_lut64_p2_u16_acc2),  \
	.transpose = xnn_x32_transposec_ukernel__4x4_aarch64_neon_tbl128,      \
	.bilinear = UC_XNN(ibilinear_ukernel__neonfma_c8)

#endif /* UC_KERNELS_NEON_H */
