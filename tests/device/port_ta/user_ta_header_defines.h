/* SPDX-License-Identifier: Apache-2.0 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

/* 0b5f7a6e-2f0c-4b7f-9d53-7c1f3a54e6d8 */
#define TA_UUID                                                                \
	{0x0b5f7a6e,                                                           \
	 0x2f0c,                                                               \
	 0x4b7f,                                                               \
	 {0x9d, 0x53, 0x7c, 0x1f, 0x3a, 0x54, 0xe6, 0xd8}}
#define TA_FLAGS (TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION)
#define TA_STACK_SIZE (16 * 1024)
#define TA_DATA_SIZE (32 * 1024)

#endif /* USER_TA_HEADER_DEFINES_H */
