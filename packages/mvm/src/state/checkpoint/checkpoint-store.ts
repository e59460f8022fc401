// Checkpoints of instances: written from a frozen tree, restored from the newest one that verifies, cleared away when
// nobody needs them. Constructed in main/; called by lifecycle and by the platform's gc loop.
import { type CheckpointId, type InstanceId, isMvmError, MvmError, newCheckpointId, type TenantId } from '@mvm/protocol';
import type { Logger } from 'pino';
import { type CheckpointCandidate, chooseCheckpoint, type SkippedCheckpoint } from '../../domain/checkpoint-choice.ts';
import type { BlobRef, Blobs } from '../../ports/blobs.ts';
import type { Clock } from '../../ports/clock.ts';
import type { RefusedEntry, Runtime } from '../../ports/runtime.ts';
import type { Database, Tx } from '../database.ts';
import { type BlobScope, blobsOf, findFault, readManifest, restoreEntries, writeManifest } from '../manifest.ts';
import {
	type CheckpointRow,
	getCheckpoint,
	insertCheckpoint,
	listCheckpoints,
	listTenantCheckpoints,
	markCheckpointBad,
	pruneCheckpoints,
} from './checkpoint-rows.ts';

/** Good checkpoints kept of each instance. */
const KEEP = 3;
/**
 * Blobs stored, or found again, more recently than this are left alone: a checkpoint may have them and not have said so
 * yet. What it has said is in `#underWay`, however long it takes.
 */
const MIN_AGE_MS = 10 * 60 * 1000;

export interface CheckpointStoreDeps {
	readonly db: Database;
	readonly blobs: Blobs;
	readonly runtime: Pick<Runtime, 'checkpointData' | 'restoreData'>;
	readonly clock: Clock;
	readonly random: (bytes: number) => Uint8Array;
	readonly log: Logger;
}

/** What a checkpoint needs to know of its instance. */
export interface CheckpointSubject {
	readonly id: InstanceId;
	readonly tenantId: TenantId;
	readonly incarnation: number;
	readonly image: string | null;
}

interface Options {
	readonly signal: AbortSignal;
}

export class CheckpointStore {
	readonly #deps: CheckpointStoreDeps;
	/** Blobs of checkpoints that are being written, one set for each. */
	readonly #underWay = new Map<Set<string>, TenantId>();

	constructor(deps: CheckpointStoreDeps) {
		this.#deps = deps;
	}

	/**
	 * Stores `/data` of a frozen or stopped instance; the row appears only after every byte was fsynced and read back.
	 * `refused` names what could not be part of it. Throws CHECKPOINT_FAILED, DISK_FULL, NOT_QUIESCENT, STORE_UNAVAILABLE.
	 */
	async write(
		input: {
			readonly instance: CheckpointSubject;
			readonly frozenAt: Date;
			readonly schemaVersions: Readonly<Record<string, string>>;
		},
		options: Options,
	): Promise<{
		readonly checkpointId: CheckpointId;
		readonly entries: number;
		readonly bytes: number;
		readonly refused: readonly RefusedEntry[];
	}> {
		const { db, blobs, runtime, clock, random } = this.#deps;
		const { instance, frozenAt, schemaVersions } = input;
		const { id: instanceId, tenantId, incarnation } = instance;
		const image = instance.image ?? 'none';
		const rows = await db.asTenant(tenantId, (tx) => listCheckpoints(tx, instanceId), options);
		const parent = rows.find((row) => row.state === 'good');
		const walk = await runtime.checkpointData(instanceId, options);
		const head = { parent: parent?.manifestSha256 ?? null, image, incarnation, schemaVersions, createdAtMs: clock.now() };
		const stores = new Set<string>();
		this.#underWay.set(stores, tenantId);
		try {
			const stored = await writeManifest({ blobs, tenantId }, head, walk.entries, {
				...options,
				onBlob: (sha256) => stores.add(sha256),
			});
			const checkpointId = newCheckpointId(random(8));
			const row = {
				id: checkpointId,
				tenantId,
				instanceId,
				parentId: parent?.id ?? null,
				manifestSha256: stored.sha256,
				incarnation,
				image,
				schemaVersions,
				entries: stored.manifest.entries.length,
				bytes: stored.bytes,
				frozenAt,
			};
			const insert = async (tx: Tx): Promise<void> => {
				await insertCheckpoint(tx, row);
				await pruneCheckpoints(tx, { tenantId, instanceId, keep: KEEP });
			};
			await db.asTenant(tenantId, insert, { ...options, idempotent: true });
			return { checkpointId, entries: row.entries, bytes: row.bytes, refused: walk.refused() };
		} finally {
			this.#underWay.delete(stores);
		}
	}

	/**
	 * Puts the newest checkpoint that verifies, and that the image can read, into `/data`. What does not verify is marked bad,
	 * told in the log, and named in `skipped`. Throws CHECKPOINT_NOT_FOUND when there never was one, NEEDS_ATTENTION when the
	 * newest cannot be used and falling back is not allowed, CHECKPOINT_CORRUPT when none can be used. `onChosen` ends before
	 * `/data` is touched, so that nobody who was told can be missed by a crash; it may be called again for an older one.
	 */
	async restore(
		instance: CheckpointSubject,
		options: Options & {
			readonly allowFallback: boolean;
			readonly runtimeVersions?: Readonly<Record<string, string>>;
			readonly onChosen?: (chosen: { readonly checkpointId: CheckpointId; readonly frozenAt: Date }) => Promise<void>;
		},
	): Promise<{ readonly checkpointId: CheckpointId; readonly frozenAt: Date; readonly skipped: readonly string[] }> {
		const { db, log } = this.#deps;
		const { id: instanceId, tenantId } = instance;
		const { allowFallback, runtimeVersions = {}, onChosen = async () => {} } = options;
		const rows = new Map(
			(await db.asTenant(tenantId, (tx) => listCheckpoints(tx, instanceId), options)).map((row) => [row.id, row]),
		);
		// Each round uses a checkpoint, gives up, or marks one more bad: bounded by the number of rows.
		for (;;) {
			const choice = chooseCheckpoint([...rows.values()].map(candidate), runtimeVersions, { mayFallBack: allowFallback });
			const skipped = choice.skipped.map((row) => row.id);
			if (choice.action === 'none' && skipped.length === 0)
				throw new MvmError('CHECKPOINT_NOT_FOUND', `instance ${instanceId} has no checkpoint`, {
					details: { instance_id: instanceId },
				});
			if (choice.action === 'none') throw noneUsable(instanceId, choice.skipped);
			if (choice.action === 'needs_attention') throw needsAttention(instanceId, choice.skipped);
			const row = rows.get(choice.id);
			if (row === undefined) throw new MvmError('INTERNAL', 'a checkpoint was chosen that is not there');
			const fault = await this.#put(row, { ...options, onChosen });
			if (fault === undefined) return { checkpointId: row.id, frozenAt: row.frozenAt, skipped };
			log.error(
				{ tenant_id: tenantId, instance_id: instanceId, checkpoint_id: row.id, reason: fault },
				'checkpoint does not verify',
			);
			await db.asTenant(tenantId, (tx) => markCheckpointBad(tx, row.id, fault), { ...options, idempotent: true });
			rows.set(row.id, { ...row, state: 'bad', badReason: fault });
		}
	}

	/** Reads all of one checkpoint; what is wrong with it, in words, or undefined. A fault is recorded. */
	async verify(tenantId: TenantId, id: CheckpointId, options: Options): Promise<string | undefined> {
		const { db, blobs } = this.#deps;
		const row = await db.asTenant(tenantId, (tx) => getCheckpoint(tx, id), options);
		if (row.state === 'bad') return row.badReason ?? 'marked bad';
		const fault = await findFault({ blobs, tenantId }, row.manifestSha256, options);
		if (fault !== undefined)
			await db.asTenant(tenantId, (tx) => markCheckpointBad(tx, id, fault), { ...options, idempotent: true });
		return fault;
	}

	/**
	 * Removes a tenant's checkpoints that nobody will restore from, then the blobs that none of the others needs. Rows go
	 * first, so a crash in between leaves blobs too many, never too few. A checkpoint whose manifest turns out to be
	 * damaged is marked bad: nothing can be restored from it, so what it needed is not kept.
	 */
	async gc(tenantId: TenantId, options: Options): Promise<readonly BlobRef[]> {
		const { db, blobs, clock } = this.#deps;
		// Taken before the rows are read: a checkpoint that ends in between is in one of the two.
		const keep = new Set(this.#blobsUnderWay(tenantId));
		const prune = async (tx: Tx): Promise<readonly CheckpointRow[]> => {
			await pruneCheckpoints(tx, { tenantId, keep: KEEP });
			return listTenantCheckpoints(tx, tenantId);
		};
		const rows = await db.asTenant(tenantId, prune, { ...options, idempotent: true });
		for (const row of rows) {
			try {
				for (const sha256 of await blobsOf({ blobs, tenantId }, row.manifestSha256, options)) keep.add(sha256);
			} catch (error) {
				if (!isMvmError(error, 'CHECKPOINT_CORRUPT')) throw error;
				await db.asTenant(tenantId, (tx) => markCheckpointBad(tx, row.id, error.message), { ...options, idempotent: true });
			}
		}
		for (const sha256 of this.#blobsUnderWay(tenantId)) keep.add(sha256);
		return blobs.gc(tenantId, keep, { minAgeMs: MIN_AGE_MS, nowMs: clock.now(), signal: options.signal });
	}

	#blobsUnderWay(tenantId: TenantId): readonly string[] {
		return [...this.#underWay].flatMap(([stores, owner]) => (owner === tenantId ? [...stores] : []));
	}

	/** Verifies and then restores one checkpoint; its fault, or undefined when `/data` now is what it says. */
	async #put(
		row: CheckpointRow,
		options: Options & { readonly onChosen: (chosen: { checkpointId: CheckpointId; frozenAt: Date }) => Promise<void> },
	): Promise<string | undefined> {
		const { blobs, runtime } = this.#deps;
		const scope: BlobScope = { blobs, tenantId: row.tenantId };
		const fault = await findFault(scope, row.manifestSha256, options);
		if (fault !== undefined) return fault;
		const manifest = await readManifest(scope, row.manifestSha256, options);
		await options.onChosen({ checkpointId: row.id, frozenAt: row.frozenAt });
		let damage: unknown;
		const entries = watched(restoreEntries(scope, manifest, options), (error) => {
			damage = error;
		});
		try {
			await runtime.restoreData(row.instanceId, entries, options);
			return undefined;
		} catch (error) {
			// It was damaged between the check and the copy; the runtime may wrap the error, so the source's own one decides.
			if (isMvmError(damage, 'BLOB_CORRUPT') || isMvmError(damage, 'BLOB_NOT_FOUND')) return damage.message;
			throw error;
		}
	}
}

function candidate(row: CheckpointRow): CheckpointCandidate<CheckpointId> {
	return {
		id: row.id,
		state: row.state,
		badReason: row.badReason ?? undefined,
		schemaVersions: row.schemaVersions,
		frozenAtMs: row.frozenAt.getTime(),
	};
}

/** Passes entries on and tells when the content of one breaks. */
async function* watched(
	entries: ReturnType<typeof restoreEntries>,
	onError: (error: unknown) => void,
): ReturnType<typeof restoreEntries> {
	for await (const entry of entries)
		yield entry.content === undefined ? entry : { ...entry, content: watchedContent(entry.content, onError) };
}

async function* watchedContent(
	content: AsyncIterable<Uint8Array>,
	onError: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
	try {
		yield* content;
	} catch (error) {
		onError(error);
		throw error;
	}
}

type Skipped = readonly SkippedCheckpoint<CheckpointId>[];

function needsAttention(instanceId: InstanceId, skipped: Skipped): MvmError {
	return new MvmError(
		'NEEDS_ATTENTION',
		`the newest checkpoint of ${instanceId} cannot be used, and its state may not be rolled back`,
		{
			details: { instance_id: instanceId, skipped },
			hint: 'restore the blobs from a backup, or allow the fallback: mvm instance start --force',
		},
	);
}

function noneUsable(instanceId: InstanceId, skipped: Skipped): MvmError {
	return new MvmError('CHECKPOINT_CORRUPT', `none of the ${skipped.length} checkpoints of ${instanceId} can be used`, {
		details: { instance_id: instanceId, skipped },
		hint: 'restore the blobs from a backup, or destroy the instance',
	});
}
