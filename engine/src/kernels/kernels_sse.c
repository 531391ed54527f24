/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: for the engine on the host. SSE is the only set of the library with
 * NR = 8 panels, so that the host reads the very bytes that a device reads.
 */
#include "binary.h"
#include "xnnpack.h"

UC_XNN_GEMM(4x8__sse_load1);
UC_XNN_GEMM(1x8__sse_load1);
UC_XNN_IGEMM(4x8__sse_load1);
UC_XNN_IGEMM(1x8__sse_load1);
UC_XNN_DWCONV(3p8c__sse);
UC_XNN_DWCONV(4p8c__sse);
UC_XNN_DWCONV(9p8c__sse);
UC_XNN_DWCONV(25p8c__sse);
uc_maxpool_fn UC_XNN(maxpool_minmax_ukernel_9p8x__sse_c4);
uc_avgpool_fn UC_XNN(pavgpool_minmax_ukernel_9x__sse_c4);
uc_avgpool_multipass_fn UC_XNN(pavgpool_minmax_ukernel_9p8x__sse_c4);
uc_column_sum_fn UC_XNN(rdsum_ukernel_7p7x__sse_c16);
uc_vclamp_fn UC_XNN(vclamp_ukernel__sse_u8);
uc_scale_bias_fn UC_XNN(vmulcaddc_minmax_ukernel_c4__sse_2x);
uc_vunary_fn UC_XNN(vhswish_ukernel__sse_u8);
uc_vunary_fn UC_XNN(vabs_ukernel__sse2_u8);
uc_vunary_fn UC_XNN(vneg_ukernel__sse2_u8);
uc_vunary_fn UC_XNN(vsqr_ukernel__sse2_u8);
uc_vunary_fn UC_XNN(vrndd_ukernel__sse2_u8);
uc_vunary_fn UC_XNN(vrndu_ukernel__sse2_u8);
uc_vunary_fn UC_XNN(vrndne_ukernel__sse2_u8);
uc_vleaky_relu_fn UC_XNN(vlrelu_ukernel__sse_u8);
uc_vunary_fn UC_XNN(vtanh_ukernel__sse2_rational_9_8_div_u16);
uc_vunary_fn UC_XNN(vgelu_ukernel__sse2_rational_12_10_div_u16);
uc_velu_fn UC_XNN(velu_ukernel__sse2_rr2_lut16_p3_u12);
uc_vmax_fn UC_XNN(rmax_ukernel__sse_u16_acc4);
uc_vexp_fn UC_XNN(raddstoreexpminusmax_ukernel__sse2_rr2_p5_u16_acc2);
uc_transpose_fn xnn_x32_transposec_ukernel__4x4_sse;
uc_bilinear_fn UC_XNN(ibilinear_ukernel__sse_c8);

const struct uc_kernels uc_kernels = {
	.id = UC_KERNEL_SET_SSE,
	.name = "sse",
	.rows =
		{
			{
				4,
				UC_XNN(gemm_minmax_ukernel_4x8__sse_load1),
				UC_XNN(igemm_minmax_ukernel_4x8__sse_load1),
			},
			{
				1,
				UC_XNN(gemm_minmax_ukernel_1x8__sse_load1),
				UC_XNN(igemm_minmax_ukernel_1x8__sse_load1),
			},
		},
	.dwconv =
		{
			{3, UC_XNN(dwconv_minmax_ukernel_3p8c__sse)},
			{4, UC_XNN(dwconv_minmax_ukernel_4p8c__sse)},
			{9, UC_XNN(dwconv_minmax_ukernel_9p8c__sse)},
			{25, UC_XNN(dwconv_minmax_ukernel_25p8c__sse)},
			{49, uc_dwconv_table_49},
		},
	.maxpool = UC_XNN(maxpool_minmax_ukernel_9p8x__sse_c4),
	.avgpool = UC_XNN(pavgpool_minmax_ukernel_9x__sse_c4),
	.avgpool_multipass = UC_XNN(pavgpool_minmax_ukernel_9p8x__sse_c4),
	.column_sum = UC_XNN(rdsum_ukernel_7p7x__sse_c16),
	UC_BINARY_KERNELS,
	.clamp = UC_XNN(vclamp_ukernel__sse_u8),
	.scale_bias = UC_XNN(vmulcaddc_minmax_ukernel_c4__sse_2x),
	.hard_swish = UC_XNN(vhswish_ukernel__sse_u8),
	.abs = UC_XNN(vabs_ukernel__sse2_u8),
	.negate = UC_XNN(vneg_ukernel__sse2_u8),
	.square = UC_XNN(vsqr_ukernel__sse2_u8),
	.floor = UC_XNN(vrndd_ukernel__sse2_u8),
	.ceil = UC_XNN(vrndu_ukernel__sse2_u8),
	.round = UC_XNN(vrndne_ukernel__sse2_u8),
	.leaky_relu = UC_XNN(vlrelu_ukernel__sse_u8),
	.tanh = UC_XNN(vtanh_ukernel__sse2_rational_9_8_div_u16),
	.gelu = UC_XNN(vgelu_ukernel__sse2_rational_12_10_div_u16),
	.elu = UC_XNN(velu_ukernel__sse2_rr2_lut16_p3_u12),
	.max = UC_XNN(rmax_ukernel__sse_u16_acc4),
	.exp = UC_XNN(raddstoreexpminusmax_ukernel__sse2_rr2_p5_u16_acc2),
	.transpose = xnn_x32_transposec_ukernel__4x4_sse,
	.bilinear = UC_XNN(ibilinear_ukernel__sse_c8),
	.qs8 = &uc_qs8_scalar,
};
