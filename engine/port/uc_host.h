/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as a shared library of the host, for the `host:` device, tests
 * and measurements. It runs the very checks and operators of the Trusted
 * Application and protects nothing.
 *
 * A host stands for a device: it has one arena and one device key, and any
 * number of sessions that share the arena. A host and its sessions may be used
 * by one thread at a time; different hosts are independent.
 *
 * For callers from other languages, `struct uc_param` (uc_service.h) on
 * 64-bit machines is 32 bytes: u32 type (enum uc_param_type, from 0), u32 a,
 * u32 b, 4 bytes of padding, u8 *ns_data, u64 ns_len.
 */
#ifndef UC_HOST_H
#define UC_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "uc_service.h"

#define UC_HOST_API __attribute__((visibility("default")))

struct uc_host;

/* NULL when there is not enough memory. The key (X25519) is copied. */
UC_HOST_API struct uc_host *
uc_host_create(size_t arena_bytes, const uint8_t device_private_key[32]);
/* Keep what the device keeps of licenses in this file from now on, unprotected;
 * without, it lives as long as the host. 0: not enough memory. */
UC_HOST_API int uc_host_keep_state(struct uc_host *host, const char *path);
/* Closes all sessions of the host and wipes its memory. NULL is allowed. */
UC_HOST_API void uc_host_destroy(struct uc_host *host);

/* The host's arena, in plain sight: for tests that look at what a model leaves
 * in memory. Valid until uc_host_destroy(). */
UC_HOST_API const uint8_t *uc_host_arena(const struct uc_host *host,
					 size_t *len);

/* NULL when there is not enough memory. */
UC_HOST_API struct uc_session *uc_host_session_open(struct uc_host *host);
UC_HOST_API void uc_host_session_close(struct uc_session *session);

/* 1: done, what happened is in parameter 0. 0: the parameter types are wrong
 * (a Trusted Application would answer TEE_ERROR_BAD_PARAMETERS). */
UC_HOST_API int uc_host_command(struct uc_session *session, uint32_t command,
				struct uc_param params[4]);

#endif /* UC_HOST_H */
