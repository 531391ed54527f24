/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Poisoning of memory in AddressSanitizer builds; nothing in others.
 */
#ifndef UC_GUARD_H
#define UC_GUARD_H

#if defined(__SANITIZE_ADDRESS__)
#define UC_GUARDED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UC_GUARDED 1
#endif
#endif

#ifdef UC_GUARDED
#include <sanitizer/asan_interface.h>
#define uc_guard_close(memory, len) __asan_poison_memory_region(memory, len)
#define uc_guard_open(memory, len) __asan_unpoison_memory_region(memory, len)
#else
#define uc_guard_close(memory, len) ((void)(memory), (void)(len))
#define uc_guard_open(memory, len) ((void)(memory), (void)(len))
#endif

#endif /* UC_GUARD_H */
