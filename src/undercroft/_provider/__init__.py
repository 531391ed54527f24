# SPDX-License-Identifier: Apache-2.0
"""The provider's license service: enrol, issue, renew, revoke, list, over HTTP.

A thin layer over `undercroft.attestation`, `license` and `update`; it has no
cryptography of its own. From the outside in:

- `app` and `schemas`: HTTP, and what its bodies look like; `problems`: every
  refusal (RFC 9457); `guards`: body sizes and headers; `page/`: the web page.
- `security`, `rates`: who asks, and how often.
- `enrolment`, `licensing`, `revocation`, `listing`: what is done, a transaction each.
- `store` and `tables`: the database; `migrations/`: how its tables came to be.
- `config`, `keyring`: the settings and the keys, which stay in files and tokens.

Needs `pip install 'undercroft[provider]'`.
"""
