#!/bin/sh
# Before the agent runs on its state: what was checkpointed must still be there unchanged; what came later may follow it.
set -eu
cd "${COUNTER_STATE_DIR:-/data/integrations/counter/state}"
[ -e checkpoint.sum ] || exit 0
read -r bytes hash < checkpoint.sum
found=$(head -c "$bytes" -- events.log | sha256sum | cut -d ' ' -f 1)
if [ "$found" != "$hash" ]; then
	echo "the ledger is not the one that was checkpointed ($bytes bytes)" >&2
	exit 1
fi
