/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake of what RPMB gives a device's storage: a place that the normal world
 * can neither write nor put back, in which the digest of what was stored last
 * lies. OP-TEE with CFG_REE_FS_INTEGRITY_RPMB keeps the like there for all of
 * its files. It shows what the engine makes of such a storage, and nothing
 * about OP-TEE's own: Debian's build has none to run.
 */
#ifndef HELP_RPMB_H
#define HELP_RPMB_H

#include <stdbool.h>
#include <stdint.h>

struct fake_rpmb {
	bool is_written; /* before the first store anything empty is right */
	uint8_t digest[32];
};

/* While set, what is loaded must be what was stored last. */
extern struct fake_rpmb *help_rpmb;

#endif /* HELP_RPMB_H */
