// Turns what a command shows into text: a table, YAML, or exactly one JSON value. Pure.
import { stringify } from 'yaml';
import type { Shown, Table } from './define-command.ts';

export const FORMATS = ['table', 'json', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

export function render(shown: Shown, format: Format): string {
	if (format === 'json') return `${JSON.stringify(shown.value)}\n`;
	if (format === 'yaml') return stringify(shown.value);
	if (shown.text !== undefined) return shown.text.endsWith('\n') || shown.text === '' ? shown.text : `${shown.text}\n`;
	return shown.table === undefined ? '' : renderTable(shown.table);
}

/** Columns as wide as their widest cell, two spaces between; control characters of others' text stay out. */
export function renderTable({ columns, rows }: Table): string {
	const clean = (cell: string): string => cell.replaceAll(/[\x00-\x1f\x7f]/g, ' ');
	const lines = [columns.map((name) => name.toUpperCase()), ...rows.map((row) => row.map(clean))];
	const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? '').length)));
	return lines
		.map((line) => `${line.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')}`.trimEnd())
		.join('\n')
		.concat('\n');
}

/** One thing as two columns. */
export function fields(pairs: readonly (readonly [string, string | number | boolean | null | undefined])[]): Table {
	return { columns: ['field', 'value'], rows: pairs.map(([name, value]) => [name, text(value)]) };
}

/** A cell; nothing is `-`. */
export function text(value: string | number | boolean | null | undefined): string {
	return value === null || value === undefined || value === '' ? '-' : String(value);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function bytes(value: number | null | undefined): string {
	if (value === null || value === undefined) return '-';
	const power = value < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10));
	const scaled = value / 1024 ** power;
	return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${UNITS[power]}`;
}

export function milliseconds(value: number): string {
	return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}
