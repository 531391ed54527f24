/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_GEMV_NEON_H
#define UC_GEMV_NEON_H

#include "uc_kernels.h"

/* The gemm of 1 row, for the AArch64 kernel sets. */
uc_gemm_fn uc_gemv_neon;

#endif /* UC_GEMV_NEON_H */
