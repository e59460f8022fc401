// The slot store: which instance sits in which slot, and what hostd promised about it, as one fsynced file per slot.
// Written before every effect it describes. Called by the process driver under the instance's lock.
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { codec, type InstanceId, MvmError, parseInstanceId } from '@mvm/protocol';
import * as z from 'zod/mini';

const ProcessNameSchema = z.object({ pid: z.int(), start_ticks: z.int(), boot_id: z.string() });

const SlotRecordSchema = z.object({
	version: z.literal(1),
	instance_id: z.string(),
	slot: z.int(),
	/**
	 * `starting`: a boot is under way or was cut off; `started`: it got as far as a running guest.
	 * `erasing`: destroy has begun; nothing may start here and the erase is finished at the next chance.
	 */
	phase: z.enum(['prepared', 'starting', 'started', 'stopped', 'erasing']),
	data_disk_mib: z.int(),
	/** True from the making of an empty `/data` until something booted on it or was restored into it. */
	data_fresh: z.boolean(),
	/** Highest incarnation ever let run here; on disk before it runs. */
	incarnation: z.int(),
	hibernated: z.boolean(),
	/** Epoch of the secrets last written; -1 before the first. */
	secrets_epoch: z.int(),
	image: z.optional(z.string()),
	/** bubblewrap's monitor outside of the sandbox; its start time is known before the sandbox may run. */
	monitor: z.optional(ProcessNameSchema),
});
const record = codec(SlotRecordSchema);

export type SlotRecord = ReturnType<typeof record.parse>;

/** Opens the store in `directory`; unreadable records are an error, never skipped: a skipped one would be a lost instance. */
export class SlotStore {
	readonly #directory: string;
	readonly #bySlot = new Map<number, SlotRecord>();

	constructor(directory: string) {
		this.#directory = directory;
		mkdirSync(directory, { recursive: true, mode: 0o700 });
		for (const name of readdirSync(directory)) {
			if (name.endsWith('.tmp')) unlinkSync(join(directory, name));
			else if (name.endsWith('.json')) this.#load(name);
		}
	}

	all(): readonly SlotRecord[] {
		return [...this.#bySlot.values()];
	}

	find(id: InstanceId): SlotRecord | undefined {
		return this.all().find((entry) => entry.instanceId === id);
	}

	/** Like `find`; throws INSTANCE_NOT_FOUND. */
	get(id: InstanceId): SlotRecord {
		const found = this.find(id);
		if (found === undefined)
			throw new MvmError('INSTANCE_NOT_FOUND', `this host does not know instance ${id}`, { details: { instance_id: id } });
		return found;
	}

	/** The smallest slot that nobody has and that `usable` accepts. */
	nextFree(usable: (slot: number) => boolean): number {
		for (let slot = 0; slot < 65_000; slot += 1) if (!this.#bySlot.has(slot) && usable(slot)) return slot;
		throw new MvmError('HOST_UNSUPPORTED', 'no free slot is left on this host');
	}

	/** Writes durably (file, rename, folder) and only then counts. */
	put(entry: SlotRecord): SlotRecord {
		const path = join(this.#directory, `${entry.slot}.json`);
		const temporary = `${path}.tmp`;
		const fd = openSync(temporary, 'w', 0o600);
		try {
			writeSync(fd, `${JSON.stringify(record.encode(entry))}\n`);
			fsyncSync(fd);
		} finally {
			closeSync(fd);
		}
		renameSync(temporary, path);
		this.#syncDirectory();
		this.#bySlot.set(entry.slot, entry);
		return entry;
	}

	/** Frees the slot; only after everything of the instance was erased. */
	remove(slot: number): void {
		unlinkSync(join(this.#directory, `${slot}.json`));
		this.#syncDirectory();
		this.#bySlot.delete(slot);
	}

	#load(name: string): void {
		const path = join(this.#directory, name);
		let entry: SlotRecord;
		try {
			entry = record.parse(JSON.parse(readFileSync(path, 'utf8')));
			parseInstanceId(entry.instanceId);
		} catch (cause) {
			throw new MvmError('INTERNAL', `the slot record ${path} cannot be read`, {
				details: { path },
				hint: 'its instance may still run; restore the file or destroy what it names by hand before starting again',
				cause,
			});
		}
		this.#bySlot.set(entry.slot, entry);
	}

	#syncDirectory(): void {
		const fd = openSync(this.#directory, 'r');
		try {
			fsyncSync(fd);
		} finally {
			closeSync(fd);
		}
	}
}
