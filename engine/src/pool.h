/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UC_POOL_H
#define UC_POOL_H

#include "uc_service.h"

/* Give the session the lowest region of len bytes that is free; false when
 * there is none. */
bool uc_pool_take(struct uc_session *session, size_t len);
/* Give the session's region back. Its owner has wiped it. */
void uc_pool_give_back(struct uc_session *session);

#endif /* UC_POOL_H */
