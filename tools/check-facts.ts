// Facts that documents repeat from the code, checked both ways: settings of mvm.toml, environment variables, metrics,
// commands of the CLI. Pure functions over texts; check-docs.ts calls them, check-facts.test.ts shows each one fail.

/** The cells of every table row of a document below the heading that matches, up to the next heading of any level. */
function rowsBelow(text: string, heading: RegExp): string[][] {
	const rows: string[][] = [];
	let isInside = false;
	for (const line of text.split('\n')) {
		if (line.startsWith('#')) isInside = heading.test(line);
		else if (isInside && line.startsWith('| `')) rows.push(line.split('|').map((cell) => cell.trim()));
	}
	return rows;
}

const namesIn = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].flatMap(([, name]) => name ?? []);

function compare(what: string, documented: ReadonlySet<string>, real: ReadonlySet<string>, path: string): string[] {
	if (real.size === 0) return [`${path}: the guard found no ${what} in the code`];
	return [
		...[...real].filter((name) => !documented.has(name)).map((name) => `${path}: ${what} ${name} is not documented`),
		...[...documented].filter((name) => !real.has(name)).map((name) => `${path}: there is no ${what} ${name}`),
	];
}

/** Keys of the schema `ConfigFile` in platform/config.ts, dotted where they nest, with their literal default where it has one. */
export function settingsOf(source: string): Map<string, string | undefined> {
	const found = new Map<string, string | undefined>();
	const open: string[] = [];
	const body = source.slice(source.indexOf('const ConfigFile'), source.indexOf('export interface Config'));
	for (const line of body.split('\n').slice(1)) {
		const [, name, rest = ''] = /^\t+([a-z_]+): (z\..*)/.exec(line) ?? [];
		const inline = /z\.strictObject\(\{ (.*) \}\)/.exec(rest)?.[1];
		if (name !== undefined && inline !== undefined)
			for (const [, key] of inline.matchAll(/([a-z_]+): /g)) found.set(`${name}.${key}`, undefined);
		else if (name !== undefined && /(\(|\{)$/.test(rest)) open.push(name);
		else if (name !== undefined) found.set([...open, name].join('.'), /, ([^,]+)\),?$/.exec(rest)?.[1]);
		else if (/^\t\),/.test(line)) open.pop();
	}
	return found;
}

/** Settings and their defaults as docs/operations.md has them, against the code. */
export function checkSettings(path: string, text: string, source: string): string[] {
	const real = settingsOf(source);
	const rows = rowsBelow(text, /Settings/);
	const documented = new Map(rows.flatMap((cells) => namesIn(cells[1]).map((name) => [name, namesIn(cells[2])[0]] as const)));
	const problems = compare('setting', new Set(documented.keys()), new Set(real.keys()), path);
	for (const [name, value] of documented) {
		const wanted = real.get(name)?.replaceAll('_', '').replaceAll("'", '"');
		if (wanted !== undefined && value !== undefined && value !== wanted)
			problems.push(`${path}: the default of ${name} is ${wanted}, not ${value}`);
	}
	return problems;
}

/** Variables MVM_… that the host's code reads, against the table. */
export function checkVariables(path: string, text: string, sources: readonly string[]): string[] {
	const read = /(?:\benv\['|\bpassOn\('|\btext\('[a-z]+', ')(MVM_[A-Z_]+)'/g;
	const real = sources.flatMap((source) => [...source.matchAll(read)].flatMap(([, name]) => name ?? []));
	const documented = rowsBelow(text, /Environment/).flatMap((cells) => namesIn(cells[1]));
	return compare('environment variable', new Set(documented), new Set(real), path);
}

/** Names, kinds and labels of platform/metrics.ts, against the table. */
export function checkMetrics(path: string, text: string, source: string): string[] {
	const real = [...source.matchAll(/new (Histogram|Gauge|Counter)\(\{([^}]*)\}/g)].map(([, kind = '', body = '']) => {
		const name = /name: '([^']+)'/.exec(body)?.[1] ?? '';
		const labels = [...(/labelNames: \[([^\]]*)\]/.exec(body)?.[1] ?? '').matchAll(/'([^']+)'/g)].map(([, label]) => label);
		return `${name} ${kind.toLowerCase()} (${labels.join(', ')})`;
	});
	const documented = rowsBelow(text, /Metrics/).map(
		(cells) => `${namesIn(cells[1])[0]} ${cells[2]} (${namesIn(cells[3]).join(', ')})`,
	);
	return compare('metric', new Set(documented), new Set(real), path);
}

/** Every `mvm noun verb` and `npm run mvm -- noun verb` of a document is a command, and its long options exist. */
export function checkCommands(path: string, text: string, commands: ReadonlyMap<string, ReadonlySet<string>>): string[] {
	const problems: string[] = [];
	const mentions = [
		...[...text.matchAll(/`(?:npm run mvm -- |mvm )([^`\n]+)`/g)].map(([, line]) => line ?? ''),
		...[...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = '']) =>
			block.split('\n').flatMap((line) => /^(?:npm run mvm -- |mvm )([^#]+)/.exec(line.trim())?.[1] ?? []),
		),
	];
	for (const mention of mentions) {
		const words = mention.trim().split(/\s+/);
		const name = [3, 2, 1].map((count) => words.slice(0, count).join(' ')).find((candidate) => commands.has(candidate));
		const isNoun = [...commands.keys()].some((known) => known.startsWith(`${mention.trim()} `));
		if (name === undefined && (isNoun || mention.startsWith('<') || mention.startsWith('help') || mention.startsWith('--help')))
			continue;
		if (name === undefined) problems.push(`${path}: no command: mvm ${mention.trim()}`);
		else
			for (const [, option] of mention.matchAll(/(?:^|\s)(--[a-z-]+)/g))
				if (option !== undefined && commands.get(name)?.has(option) !== true)
					problems.push(`${path}: mvm ${name} has no option ${option}`);
	}
	return problems;
}
