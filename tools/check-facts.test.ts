// Each guard of repeated facts passes what is right and names what is not, both ways.
import { expect, test } from 'vitest';
import { checkCommands, checkMetrics, checkSettings, checkVariables } from './check-facts.ts';

const config = `const ConfigFile = z.strictObject({
	listen: z._default(z.string(), '127.0.0.1:7070'),
	tls: z.optional(z.strictObject({ cert: z.string(), key: z.string() })),
	limits: z._default(
		z.strictObject({
			max_bytes: z._default(positive(), 1_048_576),
		}),
		{ max_bytes: 1_048_576 },
	),
	level: z._default(z.string(), 'info'),
});
export interface Config {}`;
const table = (heading: string, ...rows: string[]): string =>
	`## ${heading}\n\n| a | b | c |\n|---|---|---|\n${rows.join('\n')}\n`;
const settings = ['| `listen` | `"127.0.0.1:7070"` | x |', '| `tls.cert`, `tls.key` | none | x |', '| `level` | `"info"` | x |'];

test('settings: all there with their defaults, nested and plain', () => {
	expect(checkSettings('d', table('Settings', ...settings, '| `limits.max_bytes` | `1048576` | x |'), config)).toEqual([]);
	expect(checkSettings('d', table('Settings', ...settings, '| `limits.min_bytes` | `1` | x |'), config)).toEqual([
		'd: setting limits.max_bytes is not documented',
		'd: there is no setting limits.min_bytes',
	]);
	expect(checkSettings('d', table('Settings', ...settings, '| `limits.max_bytes` | `7` | x |'), config)).toEqual([
		'd: the default of limits.max_bytes is 1048576, not 7',
	]);
	expect(checkSettings('d', '', '')).toEqual(['d: the guard found no setting in the code']);
});

test('variables that the code reads', () => {
	const code = ["env['MVM_DATA_DIR'] ?? process.env['MVM_LISTEN']", "passOn('MVM_URL'), text('key', 'MVM_KEY')"];
	const row = '| `MVM_DATA_DIR` | x | x |\n| `MVM_URL`, `MVM_KEY` | x | x |';
	expect(checkVariables('d', table('Environment', row, '| `MVM_LISTEN` | x | x |'), code)).toEqual([]);
	expect(checkVariables('d', table('Environment', row), code)).toEqual(['d: environment variable MVM_LISTEN is not documented']);
});

test('metrics with kind and labels', () => {
	const code = `new Histogram({ name: 'mvm_a_seconds', labelNames: ['outcome'] }), new Gauge({ name: 'mvm_b' })`;
	const good = ['| `mvm_a_seconds` | histogram | `outcome` |', '| `mvm_b` | gauge | |'];
	expect(checkMetrics('d', table('Metrics', ...good), code)).toEqual([]);
	expect(checkMetrics('d', table('Metrics', '| `mvm_a_seconds` | counter | `outcome` |', good[1] ?? ''), code)).toHaveLength(2);
});

test('commands and their options, in words and in blocks', () => {
	const commands = new Map([
		['up', new Set(['--listen'])],
		['tenant secrets set', new Set(['--from-file'])],
		['image build', new Set<string>()],
	]);
	const of = (text: string): string[] => checkCommands('d', text, commands);
	expect(of('`mvm up`, `npm run mvm -- tenant secrets set acme KEY --from-file f`, `mvm image`, `mvm <noun> <verb>`')).toEqual(
		[],
	);
	expect(of('```sh\nmvm up --listen x   # words\nnpm ci\n```')).toEqual([]);
	expect(of('`mvm fly`')).toEqual(['d: no command: mvm fly']);
	expect(of('```sh\nmvm up --fast\n```')).toEqual(['d: mvm up has no option --fast']);
});
