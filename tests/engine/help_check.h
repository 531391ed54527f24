/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine's C tests need to say that something must hold.
 */
#ifndef HELP_CHECK_H
#define HELP_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* What the test is doing at the moment, printed when it fails. */
extern char help_context[256];

#define CONTEXT(...)                                                           \
	((void)snprintf(help_context, sizeof(help_context), __VA_ARGS__))

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: %s\n  while: %s\n", __FILE__,  \
				__LINE__, #condition, help_context);           \
			exit(1);                                               \
		}                                                              \
	} while (0)

#define CHECK_EQUAL(got, wanted)                                               \
	do {                                                                   \
		unsigned long long got_ = (unsigned long long)(got);           \
		unsigned long long wanted_ = (unsigned long long)(wanted);     \
		if (got_ != wanted_) {                                         \
			fprintf(stderr,                                        \
				"%s:%d: %s is 0x%llx, not 0x%llx\n"            \
				"  while: %s\n",                               \
				__FILE__, __LINE__, #got, got_, wanted_,       \
				help_context);                                 \
			exit(1);                                               \
		}                                                              \
	} while (0)

#endif /* HELP_CHECK_H */
