/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OP-TEE must know of the Trusted Application before it runs. The TA
 * development kit compiles this into the TA's header.
 */
#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include "uc_ta.h"

#define TA_UUID UC_TA_UUID

/*
 * One instance: the arena exists once, and secure memory is too dear for a
 * second one. Several sessions share it, each with a region of its own. The
 * instance ends with its last session, so that idle costs no secure memory.
 */
#define TA_FLAGS (TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION)

/*
 * The deepest path is OPEN, in zcbor's decoders: 17.3 KiB measured on the
 * emulated board, everything below this TA's entry included. Operators keep
 * their buffers in the arena. The rest is room for another compiler.
 */
#define TA_STACK_SIZE (32 * 1024)

/*
 * The heap holds sessions (less than 400 bytes each) and what libutee keeps
 * for operation and object handles. Nothing of a model is ever in it.
 */
#define TA_DATA_SIZE (32 * 1024)

#define TA_VERSION "0.1.0"
#define TA_DESCRIPTION "Undercroft: sealed neural networks"

#endif /* USER_TA_HEADER_DEFINES_H */
