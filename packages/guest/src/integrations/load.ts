// Which integrations this instance has: drop-in files in the order of their names, then the configuration, which wins.
// A bad file is reported and skipped; it must not take the instance down.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IntegrationEntry } from '@mvm/protocol';
import type { Log } from '../adapter.ts';

const MAX_FILE_BYTES = 65_536;

export function loadIntegrations(dropinDir: string, configured: readonly IntegrationEntry[], log: Log): IntegrationEntry[] {
	const entries = new Map<string, IntegrationEntry>();
	for (const file of listDropins(dropinDir)) {
		const entry = readDropin(join(dropinDir, file), file, log);
		if (entry === undefined) continue;
		if (entries.has(entry.name)) log('error', 'integration drop-in skipped', { file, why: `${entry.name} was declared before` });
		else entries.set(entry.name, entry);
	}
	const names = new Set<string>();
	for (const entry of configured) {
		if (names.has(entry.name)) {
			log('error', 'integration skipped', { integration: entry.name, why: 'the configuration declares it twice' });
			continue;
		}
		names.add(entry.name);
		entries.set(entry.name, entry);
	}
	return [...entries.values()];
}

function listDropins(dir: string): string[] {
	try {
		return readdirSync(dir)
			.filter((name) => name.endsWith('.json'))
			.sort();
	} catch {
		return []; // no such directory: no drop-ins
	}
}

function readDropin(path: string, file: string, log: Log): IntegrationEntry | undefined {
	try {
		const text = readFileSync(path, 'utf8');
		if (text.length > MAX_FILE_BYTES) throw new Error(`over ${MAX_FILE_BYTES} characters`);
		const parsed = IntegrationEntry.safeParse(JSON.parse(text));
		if (parsed.ok) return parsed.value;
		throw new Error(parsed.problems.map(({ path: at, message }) => `${at}: ${message}`).join('; '));
	} catch (error) {
		log('error', 'integration drop-in skipped', { file, why: (error as Error).message });
		return undefined;
	}
}
