// Recovery over every (kind, step, host state, row), on a simulated host that refuses what a real one refuses.
import { describe, expect, test } from 'vitest';
import { advance, INSTANCE_STATES, type InstanceLife } from './instance-state.ts';
import { OPERATION_KINDS, OPERATION_STEPS, type Operation, type OperationStep } from './operation.ts';
import { HOST_STATES, type HostEffect, type HostView, hostView, nextIncarnation, recover } from './recovery.ts';

const lives: InstanceLife[] = INSTANCE_STATES.flatMap((state) => {
	const life = { state, incarnation: state === 'created' ? 0 : 5, hibernated: false };
	return state === 'sleeping' ? [life, { ...life, hibernated: true }] : [life];
});
const hosts = (life: InstanceLife): HostView[] =>
	HOST_STATES.flatMap((state) =>
		[life.incarnation - 2, life.incarnation - 1, life.incarnation, life.incarnation + 1]
			.filter((incarnation) => incarnation >= (state === 'absent' ? 0 : 1))
			.map((incarnation) => ({ state, incarnation })),
	);
const operations = (life: InstanceLife): (Operation | undefined)[] => [
	undefined,
	...OPERATION_KINDS.flatMap((kind) =>
		// Allotted in the row already (raised at claim, or once more while undoing), or only in the journal.
		OPERATION_STEPS[kind].flatMap((step: OperationStep) =>
			[0, 1].map((more) => ({ kind, step, incarnation: life.incarnation + more })),
		),
	),
];
const worlds = lives.flatMap((life) =>
	hosts(life).flatMap((host) => operations(life).map((operation) => ({ life, host, operation }))),
);
const show = (x: unknown): string => JSON.stringify(x);

/** What the runtime port's contract says about each effect. */
function onHost(host: HostView, effect: HostEffect): HostView {
	const alive = host.state === 'running' || host.state === 'frozen' || host.state === 'hibernated';
	switch (effect.kind) {
		case 'freeze':
			if (!alive) throw new Error('nothing to freeze');
			return host.state === 'running' ? { ...host, state: 'frozen' } : host;
		case 'snapshot':
			if (host.state !== 'frozen' && host.state !== 'hibernated') throw new Error('not frozen');
			return { ...host, state: 'hibernated' };
		case 'thaw':
			if (!alive || host.state === 'running') throw new Error(`cannot thaw a tree that is ${host.state}`);
			if (effect.incarnation <= host.incarnation) throw new Error('INCARNATION_STALE');
			return { state: 'running', incarnation: effect.incarnation };
		case 'stop_tree':
			return { ...host, state: alive ? 'absent' : host.state };
		case 'erase':
			return { state: 'absent', incarnation: 0 };
	}
	effect satisfies never;
}
function apply(life: InstanceLife, events: readonly Parameters<typeof advance>[1][]): InstanceLife {
	return events.reduce((now, event) => {
		const step = advance(now, event);
		if (!step.ok) throw new Error(step.reason);
		return step.next;
	}, life);
}
const MATCHES: Record<string, readonly string[]> = {
	created: ['exited', 'absent'],
	ready: ['exited', 'absent'],
	running: ['running'],
	warm: ['frozen'],
	sleeping: ['exited', 'absent'],
	hibernated: ['hibernated'],
	stopped: ['exited', 'absent'],
	destroyed: ['exited', 'absent'],
};

test('every world ends legal, matching the host, with the operation ended', () => {
	expect(worlds.length).toBeGreaterThan(10_000);
	for (const { life, host, operation } of worlds) {
		const plan = recover(operation, host, life);
		const hostAfter = plan.effects.reduce(onHost, host);
		const after = apply(life, plan.events);
		const where = show({ life, host, operation, plan });
		expect(MATCHES[after.hibernated ? 'hibernated' : after.state], where).toContain(hostAfter.state);
		const lives = after.state === 'running' || after.state === 'warm' || after.hibernated;
		expect(plan.incarnation, where).toBe(after.incarnation);
		expect(plan.live, where).toBe(lives ? hostAfter.incarnation : 0);
		if (lives) expect(after.incarnation, where).toBeGreaterThanOrEqual(hostAfter.incarnation);
		expect(after.incarnation, where).toBeGreaterThanOrEqual(life.incarnation);
		expect(plan.outcome !== undefined, where).toBe(operation !== undefined);
		if (plan.greet) expect(after.state, where).toBe('running');
		if (operation !== undefined && after.state === 'running') expect(plan.greet, where).toBe(true);
		if (operation === undefined && plan.action === 'nothing') expect(plan.effects.length + plan.events.length, where).toBe(0);
		if (operation !== undefined) expect(plan.action, where).not.toBe('nothing');
		// Idempotent: once applied, nothing is left to do.
		expect(recover(undefined, hostAfter, after), where).toMatchObject({
			action: 'nothing',
			effects: [],
			events: [],
			greet: false,
		});
	}
});

test('cut off after any of its host effects, it still ends well and never has a stale tree run', () => {
	for (const { life, host, operation } of worlds) {
		const plan = recover(operation, host, life);
		let cut = host;
		for (const effect of plan.effects) {
			cut = onHost(cut, effect);
			const again = recover(operation, cut, life);
			const hostAfter = again.effects.reduce(onHost, cut);
			const after = apply(life, again.events);
			const where = show({ life, host, operation, plan, cut, again });
			expect(MATCHES[after.hibernated ? 'hibernated' : after.state], where).toContain(hostAfter.state);
			expect(recover(undefined, hostAfter, after), where).toMatchObject({ action: 'nothing' });
		}
	}
});

test('a tree under a row that has none runs on only as the incarnation that the operation in progress was allotted', () => {
	for (const { life, host, operation } of worlds) {
		const rowHasTree = life.state === 'running' || life.state === 'warm' || life.hibernated;
		if (rowHasTree || !['running', 'frozen', 'hibernated'].includes(host.state)) continue;
		const allotted = operation?.incarnation === host.incarnation && ['start', 'wake'].includes(operation.kind);
		if (host.incarnation > life.incarnation || (allotted && host.incarnation === life.incarnation)) continue;
		const plan = recover(operation, host, life);
		expect(
			plan.effects.some((e) => e.kind === 'stop_tree' || e.kind === 'erase'),
			show({ life, host, operation, plan }),
		).toBe(true);
		expect(plan.live).toBe(0);
	}
});

describe('named cases', () => {
	const op = (kind: Operation['kind'], step: OperationStep, more: Partial<Operation> = {}): Operation => ({
		kind,
		step,
		incarnation: 5,
		...more,
	});
	const row = (state: InstanceLife['state'], hibernated = false): InstanceLife => ({ state, incarnation: 5, hibernated });
	const host = (state: HostView['state'], incarnation = 5): HostView => ({ state, incarnation });

	test('sleep cut before the freeze: it runs on and is greeted', () => {
		expect(recover(op('sleep', 'sleep_prep'), host('running'), row('running'))).toMatchObject({
			action: 'roll_back',
			effects: [],
			events: [],
			greet: true,
			outcome: 'rolled_back',
		});
	});
	test('sleep cut while the manifest is written: it stays warm', () => {
		const plan = recover(op('sleep', 'write_manifest'), host('frozen'), row('running'));
		expect(plan).toMatchObject({ action: 'roll_back', effects: [], events: [{ kind: 'frozen' }], greet: false });
	});
	test('sleep cut while paging out: it is paged out again and sleeps', () => {
		expect(recover(op('sleep', 'snapshot'), host('frozen'), row('warm'))).toMatchObject({
			action: 'finish',
			effects: [{ kind: 'snapshot' }],
			events: [{ kind: 'slept', hibernated: true }],
			outcome: 'done',
		});
	});
	test('a cold sleep cut after its tree was ended: it sleeps', () => {
		const plan = recover(op('sleep', 'stop_tree'), host('absent'), row('warm'));
		expect(plan).toMatchObject({
			action: 'finish',
			effects: [],
			events: [{ kind: 'slept', hibernated: false }],
			outcome: 'done',
		});
	});
	test('wake cut after the thaw: the tree is adopted under its new incarnation', () => {
		expect(recover(op('wake', 'thaw', { incarnation: 6 }), host('running', 6), row('sleeping', true))).toMatchObject({
			action: 'adopt',
			events: [{ kind: 'woken', incarnation: 6 }],
			greet: true,
			outcome: 'done',
		});
	});
	test('wake cut before the thaw: it sleeps on', () => {
		const plan = recover(op('wake', 'claim', { incarnation: 6 }), host('hibernated'), row('sleeping', true));
		expect(plan).toMatchObject({ action: 'roll_back', effects: [], events: [], outcome: 'rolled_back' });
	});
	test.each([5, 6])(
		'wake cut before the boot, row raised at its claim to %d: the old tree is still the instance',
		(incarnation) => {
			const plan = recover(op('wake', 'claim', { incarnation }), host('frozen', 4), { ...row('warm'), incarnation });
			expect(plan).toMatchObject({ action: 'roll_back', effects: [], events: [], live: 4 });
		},
	);
	test('start cut after the boot, row raised at its claim: the tree is adopted', () => {
		const plan = recover(op('start', 'boot'), host('running'), row('ready'));
		expect(plan).toMatchObject({
			action: 'adopt',
			events: [{ kind: 'booted', incarnation: 5 }],
			greet: true,
			live: 5,
			outcome: 'done',
		});
	});
	test('a start that failed before leaves nothing to do', () => {
		expect(recover(undefined, host('absent'), row('ready'))).toMatchObject({ action: 'nothing' });
	});
	test('after a restart of the host a hibernated instance sleeps cold', () => {
		expect(recover(undefined, host('absent', 0), row('sleeping', true))).toMatchObject({ events: [{ kind: 'died' }] });
	});
	test('after a restart of the host a running instance is stopped', () => {
		const plan = recover(undefined, host('absent', 0), row('running'));
		expect(plan).toMatchObject({ action: 'mark_stopped', events: [{ kind: 'died' }] });
	});
	test('checkpoint cut while frozen: thawed as a new incarnation', () => {
		expect(recover(op('checkpoint', 'write_manifest', { incarnation: 6 }), host('frozen'), row('running'))).toMatchObject({
			effects: [{ kind: 'thaw', incarnation: 7 }],
			events: [{ kind: 'thawed', incarnation: 7 }],
			greet: true,
		});
	});
	test('stop cut while ending the tree is finished, before that it is undone', () => {
		const finished = recover(op('stop', 'stop_tree'), host('running'), row('running'));
		expect(finished).toMatchObject({ action: 'finish', effects: [{ kind: 'stop_tree' }], events: [{ kind: 'stopped' }] });
		expect(recover(op('stop', 'drain'), host('running'), row('running'))).toMatchObject({ action: 'roll_back', greet: true });
	});
	test('a destroy is finished from any step', () => {
		const plan = recover(op('destroy', 'claim'), host('running'), row('running'));
		expect(plan).toMatchObject({ action: 'finish', effects: [{ kind: 'erase' }], events: [{ kind: 'destroyed' }] });
	});
});

test('hostView folds the hibernated flag in and knows nothing as absent', () => {
	expect(hostView(undefined)).toEqual({ state: 'absent', incarnation: 0 });
	expect(hostView({ state: 'frozen', hibernated: true, incarnation: 3 })).toEqual({ state: 'hibernated', incarnation: 3 });
	expect(hostView({ state: 'running', hibernated: false, incarnation: 3 })).toEqual({ state: 'running', incarnation: 3 });
	const life: InstanceLife = { state: 'running', incarnation: 2, hibernated: false };
	expect(nextIncarnation(life, { state: 'absent', incarnation: 4 }, { incarnation: 3 })).toBe(5);
});
