/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AArch64 with dot products of 8 bits (Armv8.2), else as neon_a73. On a CPU
 * without them the first 8-bit convolution is an illegal instruction.
 */
#define UC_WITH_DOT_PRODUCTS
#define UC_SET_ID UC_KERNEL_SET_NEON_A76
#define UC_SET_NAME "neon-a76"
#define UC_SET_QS8 uc_qs8_dot
#include "kernels_neon_a73.c"
