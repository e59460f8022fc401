// What a benchmark found, and how it is printed: one line per figure, with its aim where there is one. Pure but for the printing.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';

export interface Figure {
	readonly section: string;
	readonly what: string;
	readonly unit: 'ms' | 'MB' | '/s' | '%' | 'x' | 's';
	/** The value; of a series its median. */
	readonly value: number;
	/** Of a series: the 90th or 99th percentile and how many. */
	readonly p90?: number;
	readonly p99?: number;
	readonly n?: number;
	readonly note?: string;
	/** What was aimed at: the value is to be below. */
	readonly below?: number;
}

/** The value below which `share` of the samples lie; nearest rank. */
export function percentile(samples: readonly number[], share: number): number {
	const sorted = samples.toSorted((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}

/** A series of milliseconds as one figure. */
export function series(
	section: string,
	what: string,
	samples: readonly number[],
	more: Partial<Pick<Figure, 'below' | 'note' | 'p99'>> = {},
): Figure {
	const p90 = percentile(samples, 0.9);
	return { section, what, unit: 'ms', value: percentile(samples, 0.5), p90, n: samples.length, ...more };
}

const digits = (value: number): string => value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);

export function line(figure: Figure): string {
	const { what, unit, value, p90, p99, n, note, below } = figure;
	const isSeries = n !== undefined;
	const parts = [`  ${what.padEnd(52)} ${isSeries ? 'p50 ' : '    '}${digits(value).padStart(7)} ${unit.padEnd(3)}`];
	if (p90 !== undefined) parts.push(`p90 ${digits(p90)} ${unit}`);
	if (p99 !== undefined) parts.push(`p99 ${digits(p99)} ${unit}`);
	if (isSeries) parts.push(`n ${n}`);
	if (below !== undefined) parts.push(`aim below ${digits(below)} ${unit}: ${value < below ? 'met' : 'MISSED'}`);
	if (note !== undefined) parts.push(note);
	return parts.join('  ');
}

export interface Machine {
	readonly date: string;
	readonly cpu: string;
	readonly cores: number;
	readonly memoryMib: number;
	readonly kernel: string;
	readonly node: string;
	readonly commit: string;
	/** Of the last minute before the run: on a busy machine the numbers mean less. */
	readonly load: number;
}

export function machine(): Machine {
	return {
		date: new Date().toISOString().slice(0, 16).replace('T', ' '),
		cpu: cpus()[0]?.model.trim() ?? 'unknown',
		cores: availableParallelism(),
		memoryMib: Math.round(totalmem() / 2 ** 20),
		kernel: release(),
		node: process.version,
		commit: commit(),
		load: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
	};
}

function commit(): string {
	try {
		return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
	} catch {
		return 'unknown'; // not a checkout
	}
}
