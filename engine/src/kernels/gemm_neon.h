/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_GEMM_NEON_H
#define UC_GEMM_NEON_H

#include "uc_kernels.h"

/* The pointers of igemm are not moved: a_offset_bytes and zero go unused. A tile
 * is whole panels next to each other: cn_stride_bytes too. */
uc_gemm_fn uc_gemm_neon_6, uc_gemm_neon_4;
uc_igemm_fn uc_igemm_neon_6, uc_igemm_neon_4;

#endif /* UC_GEMM_NEON_H */
