// Runs a changing request at most once per Idempotency-Key: a repetition gets the first answer, another request under the
// same key is refused. Called by api.ts; a request without a key just runs.
import { createHash } from 'node:crypto';
import { MvmError } from '@mvm/protocol';
import type { Idempotency } from './api-types.ts';

export interface ApiAnswer {
	readonly status: number;
	/** Wire form. */
	readonly body: unknown;
	readonly replayed: boolean;
}

export interface OnceInput {
	readonly owner: string;
	readonly key: string | undefined;
	/** Everything that makes the request what it is. */
	readonly request: readonly unknown[];
}

/** Throws IDEMPOTENCY_MISMATCH, OPERATION_IN_PROGRESS, or what `run` throws (then the key is free again). */
export async function runOnce(
	store: Idempotency,
	input: OnceInput,
	run: () => Promise<{ status: number; body: unknown }>,
): Promise<ApiAnswer> {
	const { owner, key } = input;
	if (key === undefined) return { ...(await run()), replayed: false };
	if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
		throw new MvmError('INVALID_DOCUMENT', 'Idempotency-Key must be 1 to 255 visible characters');
	}
	const requestHash = createHash('sha256').update(JSON.stringify(input.request)).digest();
	const claim = await store.begin({ owner, key, requestHash });
	if (claim.kind === 'replay') return { status: claim.status, body: claim.response, replayed: true };
	if (claim.kind === 'running') throw new MvmError('OPERATION_IN_PROGRESS', 'the request of this Idempotency-Key still runs');
	try {
		const answer = await run();
		await store.finish({ owner, key, status: answer.status, response: answer.body });
		return { ...answer, replayed: false };
	} catch (error) {
		await store.forget({ owner, key });
		throw error;
	}
}
