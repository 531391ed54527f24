/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declares XNNPACK micro-kernels by the types of uc_kernels.h: the library
 * ships no header for them. A declaration here is a claim about the binary
 * interface; tests/engine/ops checks each kernel against onnxruntime.
 */
#ifndef UC_XNNPACK_H
#define UC_XNNPACK_H

#include "uc_kernels.h"

#define UC_XNN(kernel) xnn_f32_##kernel
#define UC_XNN_GEMM(name) uc_gemm_fn UC_XNN(gemm_minmax_ukernel_##name)
#define UC_XNN_IGEMM(name) uc_igemm_fn UC_XNN(igemm_minmax_ukernel_##name)
#define UC_XNN_DWCONV(name) uc_dwconv_fn UC_XNN(dwconv_minmax_ukernel_##name)

#endif /* UC_XNNPACK_H */
