/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where something that was computed from a secret stops being one. A build with
 * UC_WATCH_SECRETS tells valgrind, which follows what is secret and complains of
 * branches and addresses that depend on it (tests/constant_time); in all others
 * this is nothing.
 */
#ifndef UC_SECRET_H
#define UC_SECRET_H

#ifdef UC_WATCH_SECRETS
#include <valgrind/memcheck.h>
#define uc_secret_is_public(memory, len)                                       \
	((void)VALGRIND_MAKE_MEM_DEFINED(memory, len))
#else
#define uc_secret_is_public(memory, len) ((void)(memory), (void)(len))
#endif

#endif /* UC_SECRET_H */
