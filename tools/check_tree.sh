#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What must never be in the tree: binaries, weights, private keys outside
# tests/keys, and sources without a licence line.
set -u
bad=0

say() {
	echo "check_tree: $1" >&2
	bad=1
}

for file in $(git ls-files); do
	test -f "$file" || continue
	case "$file" in
	*.onnx | *.pth | *.safetensors | *.so | *.o | *.a | *.ta | *.img)
		say "$file: binaries and weights do not belong in the tree" ;;
	esac
	case "$file" in
	*.py | *.c | *.h | *.S | *.sh | *.toml | Makefile | */Makefile | *.mk)
		test -s "$file" || continue
		head -n 5 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
			say "$file: no SPDX-License-Identifier line" ;;
	esac
done

for file in $(git grep -lI -e 'BEGIN.*PRIVATE KEY-----' -- . ':!tests/keys' \
	':!tools/check_tree.sh'); do
	grep -q -- '^-----BEGIN.*PRIVATE KEY-----$' "$file" &&
		say "$file: a private key outside tests/keys"
done

exit $bad
