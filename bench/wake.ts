// Wakes: from each kind of sleep, milliseconds to the first byte of an answer through the edge, and from a webhook to the agent's reply.
// Also what the instance holds in memory while it sleeps. The same for every agent; agents.ts says what differs.
import type { InstanceId, OperationView } from '@mvm/protocol';
import { type Bench, firstByte, rounds, settle } from './bench.ts';
import { type Figure, percentile, series } from './report.ts';

export type Sleep = 'frozen' | 'hibernated' | 'cold';

export interface Subject {
	readonly name: string;
	readonly instance: InstanceId;
	/** Of a request through `/t/`. */
	readonly path: string;
	/** Tells the pool to keep memory on disk, or not. */
	readonly resume: (how: 'warm' | 'cold') => Promise<void>;
	/** Sends one message to the edge; resolves when the reply reached the stand-in. */
	readonly converse: () => Promise<void>;
	readonly rounds: { readonly [S in Sleep]: number };
	readonly aims: { readonly firstByteMs: Partial<Record<Sleep, number>>; readonly chargedMb: number };
}

const MB = 1_000_000;
const LONG_MS = 180_000;

/** Runs all rounds of one agent. */
export async function measureWakes(bench: Bench, subject: Subject): Promise<void> {
	const section = `wake, ${subject.name}`;
	const reply: Partial<Record<Sleep, number>> = {};
	for (const sleep of ['frozen', 'hibernated', 'cold'] as const) {
		await subject.resume(sleep === 'cold' ? 'cold' : 'warm');
		const times = rounds(bench, subject.rounds[sleep]);
		bench.say(`${section}: ${sleep}, ${times} rounds`);
		const first: number[] = [];
		const replies: number[] = [];
		for (let round = 0; round < times; round += 1) {
			await putToRest(bench, subject, sleep);
			if (round === 0) await memory(bench, subject, section, sleep);
			first.push(await firstByte(bench, subject.path));
		}
		const { aims } = subject;
		const below = aims.firstByteMs[sleep];
		bench.found(series(section, `${sleep}: first byte`, first, below === undefined ? {} : { below }));
		await steps(bench, subject, section, sleep);
		for (let round = 0; round < times; round += 1) {
			await putToRest(bench, subject, sleep);
			const began = performance.now();
			await subject.converse();
			replies.push(performance.now() - began);
		}
		reply[sleep] = percentile(replies, 0.5);
		bench.found(series(section, `${sleep}: message to reply`, replies));
	}
	const awake: number[] = [];
	for (let round = 0; round < rounds(bench, 10); round += 1) {
		const began = performance.now();
		await subject.converse();
		awake.push(performance.now() - began);
	}
	bench.found(series(section, 'awake: message to reply', awake));
	bench.found({
		section,
		what: 'hibernated reply as a share of cold',
		unit: 'x',
		value: ratio(reply.hibernated, reply.cold),
		below: 0.2,
	});
	bench.found({ section, what: 'frozen reply as a share of cold', unit: 'x', value: ratio(reply.frozen, reply.cold) });
}

const ratio = (part = Number.NaN, whole = Number.NaN): number => part / whole;

/** By hand, so that no policy's clock is measured; the first round wakes what the last one left. */
async function putToRest(bench: Bench, { instance }: Subject, sleep: Sleep): Promise<void> {
	const { client } = bench.platform;
	const input = { params: { instance }, body: { timeoutSecs: LONG_MS / 1000 } };
	const { state } = await bench.platform.instance(instance);
	if (state !== 'running') await client.call('instance.wake', input);
	if (sleep === 'frozen') await client.call('instance.warm', input);
	else await client.call('instance.sleep', input);
	const asleep = await bench.platform.instance(instance);
	const is = asleep.state === 'warm' ? 'frozen' : asleep.hibernated ? 'hibernated' : 'cold';
	if (is !== sleep) throw new Error(`${instance} is ${is}, wanted ${sleep}: ${JSON.stringify(asleep.conditions)}`);
	await settle();
}

async function memory(bench: Bench, subject: Subject, section: string, sleep: Sleep): Promise<void> {
	const found = (what: string, bytes: number | undefined, more: Partial<Figure> = {}): void =>
		bench.found({ section, what: `${sleep}: ${what}`, unit: 'MB', value: (bytes ?? 0) / MB, ...more });
	const { memory: now } = await bench.platform.instance(subject.instance);
	found('memory charged', now?.chargedBytes, sleep === 'hibernated' ? { below: subject.aims.chargedMb } : {});
	found('memory resident', now?.residentBytes);
	found('in swap', now?.swapBytes);
}

/** Where the time of the last wake went, as the journal tells it. */
async function steps(bench: Bench, { instance }: Subject, section: string, sleep: Sleep): Promise<void> {
	const { items } = await bench.platform.client.call('operation.list', { query: { instanceId: instance } });
	const last = (items as readonly OperationView[]).find((one) => one.kind === 'wake' || one.kind === 'start');
	const taken = (last?.detail['steps'] ?? []) as readonly { readonly name: string; readonly ms: number }[];
	bench.say(`${section}: ${sleep}, steps of the last wake: ${taken.map(({ name, ms }) => `${name} ${ms}`).join(', ')} ms`);
}
