// Which sandboxes run on this host, by instance: seen from outside, in /proc, whatever the platform believes.
import { readdirSync, readFileSync } from 'node:fs';

export interface Sandbox {
	readonly instance: string;
	/** The outer process of bubblewrap. */
	readonly monitor: number;
	/** The guest agent's host pid; undefined while the sandbox is being made or ends. */
	readonly agent: number | undefined;
}

/** Every live sandbox of any platform; two of one instance would be two incarnations. */
export function listSandboxes(): Sandbox[] {
	const found = new Map<number, { instance: string; parent: number }>();
	const agents: { pid: number; parent: number }[] = [];
	for (const name of readdirSync('/proc')) {
		const pid = Number(name);
		if (!Number.isInteger(pid)) continue;
		const args = read(`/proc/${pid}/cmdline`).split('\0');
		const isBwrap = args[0] === 'bwrap';
		const isAgent = args.some((arg) => arg.endsWith('/agent.cjs'));
		if (!isBwrap && !isAgent) continue;
		const parent = parentOf(pid);
		if (parent === undefined) continue;
		if (isBwrap) found.set(pid, { instance: args[args.indexOf('--hostname') + 1] ?? '', parent });
		else agents.push({ pid, parent });
	}
	const monitors = [...found].filter(([, { parent }]) => !found.has(parent));
	return monitors.map(([monitor, { instance }]) => {
		// monitor → init of the sandbox (still bwrap by name, or the agent itself) → agent
		const inner = [...found].filter(([, { parent }]) => parent === monitor).map(([pid]) => pid);
		const agent = agents.find(({ parent }) => parent === monitor || inner.includes(parent))?.pid;
		return { instance, monitor, agent };
	});
}

/** Undefined for a process that is gone or a zombie. */
function parentOf(pid: number): number | undefined {
	const stat = read(`/proc/${pid}/stat`);
	const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
	return state === undefined || state === '' || state === 'Z' || state === 'X' ? undefined : Number(parent);
}

function read(path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return '';
	}
}
