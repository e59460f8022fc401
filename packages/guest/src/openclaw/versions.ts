// Which OpenClaw wrote the state on /data and which one would read it. Recorded with every checkpoint; a restore onto a runtime that
// is older than the state is refused, because OpenClaw only migrates forward.
import { existsSync, realpathSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** The schema versions (`pragma user_version`) this adapter was written for: those of OpenClaw 2026.9.6. */
export const SCHEMAS = { state: 18, agent: 23 } as const;

/** The content of version.json beside the state directory. */
export interface StateVersions {
	/** Release of OpenClaw, `2026.9.6`. */
	readonly openclaw: string;
	/** Version of Node that ran it, without the v. */
	readonly node: string;
	/** Schema of the shared database; null when there was none yet. */
	readonly stateSchema: number | null;
	/** Highest schema among the agents' databases; null when there was none yet. */
	readonly agentSchema: number | null;
	/** RFC 3339. */
	readonly recordedAt: string;
}
/** An installed OpenClaw: its release and the schemas it reads, undefined when its package does not say. */
export interface Runtime {
	readonly openclaw: string;
	readonly stateSchema: number | undefined;
	readonly agentSchema: number | undefined;
}

/** `pragma user_version` of one SQLite file, read-only. */
export function schemaVersion(path: string): number | 'absent' | 'unreadable' {
	if (!existsSync(path)) return 'absent';
	try {
		const database = new DatabaseSync(path, { readOnly: true, timeout: 1_000 });
		try {
			return Number(database.prepare('pragma user_version').get()?.['user_version'] ?? 0);
		} finally {
			database.close();
		}
	} catch {
		return 'unreadable';
	}
}

/** The runtime that `openclaw` on PATH leads to. Null when there is none. */
export async function findRuntime(path: string): Promise<Runtime | null> {
	for (const folder of path.split(delimiter).filter(Boolean)) {
		const candidate = join(folder, 'openclaw');
		if (!existsSync(candidate)) continue;
		let up = dirname(realpathSync(candidate));
		for (; up !== dirname(up); up = dirname(up)) {
			const text = await readFile(join(up, 'package.json'), 'utf8').catch(() => null);
			if (text === null) continue;
			const manifest = JSON.parse(text) as {
				name?: string;
				version?: string;
				openclaw?: { schemaVersions?: Record<string, number> };
			};
			if (manifest.name !== 'openclaw' || manifest.version === undefined) continue;
			const schemas = manifest.openclaw?.schemaVersions;
			return { openclaw: manifest.version, stateSchema: schemas?.['state'], agentSchema: schemas?.['agent'] };
		}
	}
	return null;
}

/** What the state directory holds now, for a runtime that is `openclaw`. */
export async function readStateVersions(stateDir: string, openclaw: string, nowMs: number): Promise<StateVersions> {
	const numeric = (found: ReturnType<typeof schemaVersion>): number | null => (typeof found === 'number' ? found : null);
	const agents = await readdir(join(stateDir, 'agents')).catch(() => []);
	const schemas = agents.map((agent) =>
		numeric(schemaVersion(join(stateDir, 'agents', agent, 'agent', 'openclaw-agent.sqlite'))),
	);
	const known = schemas.filter((schema) => schema !== null);
	return {
		openclaw,
		node: process.versions.node,
		stateSchema: numeric(schemaVersion(join(stateDir, 'state', 'openclaw.sqlite'))),
		agentSchema: known.length > 0 ? Math.max(...known) : null,
		recordedAt: new Date(nowMs).toISOString(),
	};
}

/** version.json stands beside the state directory, so that OpenClaw never sees or removes it. */
export const versionFile = (stateDir: string): string => join(dirname(stateDir), 'version.json');

/** Writes it durably: temporary file, fsync, rename, fsync of the folder. */
export async function writeVersions(stateDir: string, versions: StateVersions): Promise<void> {
	const path = versionFile(stateDir);
	await mkdir(dirname(path), { recursive: true });
	const wire = {
		openclaw: versions.openclaw,
		node: versions.node,
		state_schema: versions.stateSchema,
		agent_schema: versions.agentSchema,
		recorded_at: versions.recordedAt,
	};
	const file = await open(`${path}.tmp`, 'w', 0o600);
	try {
		await file.writeFile(`${JSON.stringify(wire, null, '\t')}\n`);
		await file.sync();
	} finally {
		await file.close();
	}
	await rename(`${path}.tmp`, path);
	const folder = await open(dirname(path), 'r');
	try {
		await folder.sync();
	} finally {
		await folder.close();
	}
}

/** Null when nothing was recorded yet. Throws when the file is there and is not what `writeVersions` writes. */
export async function readVersions(stateDir: string): Promise<StateVersions | null> {
	const text = await readFile(versionFile(stateDir), 'utf8').catch((error: NodeJS.ErrnoException) => {
		if (error.code === 'ENOENT') return null;
		throw error;
	});
	if (text === null) return null;
	const wire = JSON.parse(text) as Record<string, unknown>;
	const schema = (value: unknown): number | null => (typeof value === 'number' ? value : null);
	if (typeof wire['openclaw'] !== 'string') throw new Error('version.json names no openclaw release');
	return {
		openclaw: wire['openclaw'],
		node: String(wire['node'] ?? ''),
		stateSchema: schema(wire['state_schema']),
		agentSchema: schema(wire['agent_schema']),
		recordedAt: String(wire['recorded_at'] ?? ''),
	};
}

/** Why this runtime must not open that state, or null when it may. */
export function whyTooOld(recorded: StateVersions, runtime: Runtime): string | null {
	if (compareReleases(runtime.openclaw, recorded.openclaw) < 0)
		return `the state was written by openclaw ${recorded.openclaw}, this runtime is openclaw ${runtime.openclaw}`;
	for (const [name, wrote, reads] of [
		['shared', recorded.stateSchema, runtime.stateSchema],
		['agent', recorded.agentSchema, runtime.agentSchema],
	] as const) {
		if (wrote !== null && reads !== undefined && reads < wrote)
			return `the ${name} database has schema ${wrote}, openclaw ${runtime.openclaw} reads up to ${reads}`;
	}
	return null;
}

/** Orders `2026.9.6`, `2026.9.6-1` and `2026.10.0-beta.1`: numbers by size, and a release after its own pre-releases. */
export function compareReleases(a: string, b: string): number {
	const parts = (release: string): { numbers: number[]; rest: string } => {
		const [core = '', ...rest] = release.split('-');
		return { numbers: core.split('.').map(Number), rest: rest.join('-') };
	};
	const [left, right] = [parts(a), parts(b)];
	for (let at = 0; at < Math.max(left.numbers.length, right.numbers.length); at += 1) {
		const difference = (left.numbers[at] ?? 0) - (right.numbers[at] ?? 0);
		if (difference !== 0) return difference;
	}
	return rank(left.rest) - rank(right.rest) || left.rest.localeCompare(right.rest, 'en', { numeric: true });
}

/** `-beta.1` is before the release, `-1` (a repaired package) after it. */
function rank(rest: string): number {
	if (rest === '') return 1;
	return /^\d+$/.test(rest) ? 2 : 0;
}
