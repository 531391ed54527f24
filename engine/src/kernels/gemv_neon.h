/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_GEMV_NEON_H
#define UC_GEMV_NEON_H

#include "uc_kernels.h"

/* gemm and igemm of 1 row, for the AArch64 kernel sets. The pointers of the
 * latter are not moved: a_offset_bytes and zero go unused. */
uc_gemm_fn uc_gemv_neon;
uc_igemm_fn uc_igemv_neon;

#endif /* UC_GEMV_NEON_H */
