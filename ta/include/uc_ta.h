/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the normal world must know to reach the Trusted Application. The
 * commands, their parameters and answers: spec/ta-abi.md; their numbers:
 * engine/include/uc_spec.h.
 */
#ifndef UC_TA_H
#define UC_TA_H

/* 8ad4c6e2-9f6b-4c0e-b1a7-5d3b0f7c2a91 */
#define UC_TA_UUID                                                             \
	{0x8ad4c6e2,                                                           \
	 0x9f6b,                                                               \
	 0x4c0e,                                                               \
	 {0xb1, 0xa7, 0x5d, 0x3b, 0x0f, 0x7c, 0x2a, 0x91}}

#endif /* UC_TA_H */
