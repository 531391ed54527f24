# SPDX-License-Identifier: Apache-2.0
"""The migrations, one a file; a file that was released is not changed."""
