// Recovery: what to do with one instance after the daemon or hostd died, from what the journal says was in progress and what
// the host shows now. Called by lifecycle at start and whenever an operation's owner is gone. The host's word wins over the
// row's: recovery never assumes that a begun step happened, nor that it did not.
import { advance, type InstanceEvent, type InstanceLife, type InstanceState } from './instance-state.ts';
import { hasReached, isPastNoReturn, type Operation, type OperationKind } from './operation.ts';

/** What a host can show of an instance. `absent` also stands for an instance that the host does not know. */
export const HOST_STATES = ['running', 'frozen', 'hibernated', 'exited', 'absent'] as const;
export type HostState = (typeof HOST_STATES)[number];
export interface HostView {
	readonly state: HostState;
	/** Of the last boot, thaw or restore that the host performed; 0 before the first. */
	readonly incarnation: number;
}

/** The recovery's view of what the runtime port's `inspect` and `adopt` return. */
export function hostView(
	observed:
		| { readonly state: Exclude<HostState, 'hibernated'>; readonly hibernated: boolean; readonly incarnation: number }
		| undefined,
): HostView {
	if (observed === undefined) return { state: 'absent', incarnation: 0 };
	const { state, hibernated, incarnation } = observed;
	return { state: state === 'frozen' && hibernated ? 'hibernated' : state, incarnation };
}

/** One call to the runtime; each is repeatable. Where `snapshot` is refused: `stop_tree`, and slept with hibernated false. */
export type HostEffect =
	| { readonly kind: 'freeze' | 'snapshot' | 'stop_tree' | 'erase' }
	| { readonly kind: 'thaw'; readonly incarnation: number };

export interface RecoveryPlan {
	readonly action: /** Row and host agree and nothing was in progress. */
		| 'nothing'
		/** The operation is brought to its end. */
		| 'finish'
		/** The instance goes back to, or stays in, a state before the operation. */
		| 'roll_back'
		/** A live tree that the row did not know yet becomes the instance's. */
		| 'adopt'
		/** The tree is dead: the row says so. */
		| 'mark_stopped'
		/** A live tree that must not be is ended. */
		| 'kill_stale';
	/** Done first, in order, each checked before the next. */
	readonly effects: readonly HostEffect[];
	/** Applied to the row afterwards, in order, with the operation's end in one transaction. */
	readonly events: readonly InstanceEvent[];
	/** The guest runs and must get PostRestore and Wake (lifts a fence, starts the drained); when that fails: stop the tree. */
	readonly greet: boolean;
	/** What the row's incarnation must be afterwards: raised where an event or a thaw of this plan went beyond it. */
	readonly incarnation: number;
	/** The incarnation under which the tree lives when all is applied; 0 when none does. What the link must expect. */
	readonly live: number;
	/** How the operation ends. Every operation ends; absent only when there was none. */
	readonly outcome?: 'done' | 'rolled_back' | 'failed';
	/** For the journal and the audit. */
	readonly reason: string;
}

/** Above every incarnation that anybody has seen: what the next boot, thaw or wake must use. */
export function nextIncarnation(life: InstanceLife, host: HostView, operation?: Pick<Operation, 'incarnation'>): number {
	return Math.max(life.incarnation, host.incarnation, operation?.incarnation ?? 0) + 1;
}

interface Case {
	readonly operation: Operation | undefined;
	readonly host: HostView;
	readonly life: InstanceLife;
	readonly next: number;
}
type Settled = Omit<RecoveryPlan, 'outcome' | 'greet' | 'live' | 'incarnation'> & { readonly greet?: boolean };
type Decide = (at: Case) => Settled;

const STOP: HostEffect = { kind: 'stop_tree' };
const settled = (action: RecoveryPlan['action'], reason: string, more: Partial<Settled> = {}): Settled => ({
	action,
	reason,
	effects: [],
	events: [],
	...more,
});
const agrees: Decide = () => settled('nothing', 'row and host agree');
/** True when the host's tree is of a life that the row's state does not tell of yet. */
const isNew = ({ host, life, operation }: Case): boolean =>
	host.incarnation > life.incarnation ||
	(host.incarnation > 0 &&
		host.incarnation === life.incarnation &&
		host.incarnation === operation?.incarnation &&
		(operation.kind === 'start' || operation.kind === 'wake'));
/** True when an operation was in progress that may have let a frozen tree run. */
const mayHaveThawed = (at: Case): boolean =>
	isNew(at) || (at.operation !== undefined && ['wake', 'sleep', 'warm', 'checkpoint'].includes(at.operation.kind));

/** A live tree that the row cannot have: end it; the row's own tree, if it had one, is not this one. */
const killStale: Decide = ({ life }) =>
	settled('kill_stale', `a tree is alive that a ${life.state} instance cannot have`, {
		effects: [STOP],
		events: life.state === 'running' || life.state === 'warm' ? [{ kind: 'stopped' }] : life.hibernated ? [{ kind: 'died' }] : [],
	});
const erase: Decide = ({ life }) =>
	settled('kill_stale', 'a tree of a destroyed instance is alive', {
		effects: [{ kind: 'erase' }],
		events: life.state === 'destroyed' ? [] : [{ kind: 'destroyed' }],
	});

/** The events by which a life comes to run as `shown`, or as what it was allotted where that is higher. */
function comesToRun({ life, operation }: Case, shown: number): InstanceEvent[] {
	const incarnation = Math.max(shown, life.incarnation);
	if (life.state === 'running' || life.state === 'warm') return [{ kind: 'thawed', incarnation }];
	if (!life.hibernated) return [{ kind: 'booted', incarnation }];
	const bootedAnew = operation?.kind === 'wake' && hasReached('wake', operation.step, 'boot');
	return bootedAnew ? [{ kind: 'died' }, { kind: 'booted', incarnation }] : [{ kind: 'woken', incarnation }];
}

const adopt: Decide = (at) =>
	settled('adopt', `incarnation ${at.host.incarnation} runs and the row is ${at.life.state}`, {
		events: comesToRun(at, at.host.incarnation),
		greet: true,
	});
/** A frozen tree whose freeze belongs to nothing: let it run as a new incarnation. */
const thaw: Decide = (at) =>
	settled('adopt', 'a frozen tree belongs to no warm or sleeping row: it runs on', {
		effects: [...(at.host.state === 'running' ? [{ kind: 'freeze' } as const] : []), { kind: 'thaw', incarnation: at.next }],
		events: comesToRun(at, at.next),
		greet: true,
	});
/** Nothing is alive. Where the host has seen a newer incarnation than the row, the row learns of it first. */
const dead: Decide = (at) => {
	const learned = isNew(at) ? comesToRun(at, at.host.incarnation) : [];
	return settled('mark_stopped', 'its tree is dead', { events: [...learned, { kind: 'died' }] });
};
const neverBooted: Decide = (at) => (isNew(at) ? dead(at) : agrees(at));
const freezeAgain: Decide = () => settled('roll_back', 'a warm instance was found running', { effects: [{ kind: 'freeze' }] });
const pageOutAgain: Decide = () =>
	settled('roll_back', 'a hibernated instance was found resident', { effects: [{ kind: 'snapshot' }] });

const newOr =
	(whenNew: Decide, whenSame: Decide): Decide =>
	(at) =>
		isNew(at) ? whenNew(at) : whenSame(at);
const thawedOr =
	(whenThawed: Decide, otherwise: Decide): Decide =>
	(at) =>
		mayHaveThawed(at) ? whenThawed(at) : otherwise(at);
/** A row that says running: learns of a newer incarnation, else agrees. */
const stillRunning: Decide = (at) => (at.host.incarnation > at.life.incarnation ? adopt(at) : agrees(at));
const byMemory =
	(hibernated: Decide, cold: Decide): Decide =>
	(at) =>
		at.life.hibernated ? hibernated(at) : cold(at);

/**
 * Total over (row state, host state): how a row and a host are brought together. A host holds at most one tree of an instance;
 * one under a row that has none is stale, unless it is of an incarnation that the operation in progress was allotted.
 */
const SETTLE: { readonly [S in InstanceState]: { readonly [H in HostState]: Decide } } = {
	created: { running: killStale, frozen: killStale, hibernated: killStale, exited: agrees, absent: agrees },
	ready: {
		running: newOr(adopt, killStale),
		frozen: newOr(thaw, killStale),
		hibernated: newOr(thaw, killStale),
		exited: neverBooted,
		absent: neverBooted,
	},
	running: { running: stillRunning, frozen: thaw, hibernated: thaw, exited: dead, absent: dead },
	warm: { running: thawedOr(adopt, freezeAgain), frozen: newOr(thaw, agrees), hibernated: thaw, exited: dead, absent: dead },
	sleeping: {
		running: byMemory(thawedOr(adopt, thaw), newOr(adopt, killStale)),
		frozen: byMemory(newOr(thaw, pageOutAgain), newOr(thaw, killStale)),
		hibernated: byMemory(newOr(thaw, agrees), newOr(thaw, killStale)),
		exited: byMemory(dead, neverBooted),
		absent: byMemory(dead, neverBooted),
	},
	stopped: {
		running: newOr(adopt, killStale),
		frozen: newOr(thaw, killStale),
		hibernated: newOr(thaw, killStale),
		exited: neverBooted,
		absent: neverBooted,
	},
	destroyed: { running: erase, frozen: erase, hibernated: erase, exited: agrees, absent: agrees },
};
const isAlive = (state: HostState): boolean => state === 'running' || state === 'frozen' || state === 'hibernated';
const settle: Decide = (at) => SETTLE[at.life.state][at.host.state](at);

/** Stop past its point of no return: nothing may be left, and the row says stopped on purpose. */
const finishStop: Decide = (at) => {
	if (!['running', 'warm', 'sleeping'].includes(at.life.state)) return settle(at);
	if (!(at.operation && isPastNoReturn('stop', at.operation.step))) return settle(at);
	const learned = isNew(at) ? comesToRun(at, at.host.incarnation) : [];
	return settled('finish', 'the stop had begun to end the tree', {
		effects: isAlive(at.host.state) ? [STOP] : [],
		events: [...learned, { kind: 'stopped' }],
	});
};
/** A frozen tree in an operation that froze it after fencing and draining is what warm means. */
const isOwnFreeze = (at: Case, kind: 'warm' | 'sleep'): boolean =>
	at.operation !== undefined &&
	at.host.incarnation <= at.life.incarnation &&
	(at.life.state === 'running' || at.life.state === 'warm') &&
	hasReached(kind, at.operation.step, 'freeze');
const toWarm = (at: Case): InstanceEvent[] => (at.life.state === 'running' ? [{ kind: 'frozen' }] : []);
const finishWarm: Decide = (at) =>
	isOwnFreeze(at, 'warm') ? settled('finish', 'it was frozen by this operation', { events: toWarm(at) }) : settle(at);

/** Sleep past its point of no return has a verified manifest: whatever became of the memory, it sleeps. */
const finishSleep: Decide = (at) => {
	if (!isOwnFreeze(at, 'sleep')) return settle(at);
	if (!(at.operation && isPastNoReturn('sleep', at.operation.step))) {
		if (at.host.state !== 'frozen') return settle(at);
		return settled('roll_back', 'fenced, drained and frozen, but not yet asleep: it stays warm', { events: toWarm(at) });
	}
	const { state } = at.host;
	const givenUp = at.operation.step === 'stop_tree';
	const hibernated = state === 'hibernated' || (state === 'frozen' && !givenUp);
	const last: readonly HostEffect[] = state !== 'frozen' ? [] : hibernated ? [{ kind: 'snapshot' }] : [STOP];
	return settled('finish', 'the manifest was verified before the memory was touched', {
		effects: last,
		events: [...toWarm(at), { kind: 'slept', hibernated }],
	});
};
const finishDestroy: Decide = (at) =>
	at.life.state === 'destroyed'
		? settle(at)
		: settled('finish', 'a destroy is never undone', { effects: [{ kind: 'erase' }], events: [{ kind: 'destroyed' }] });

const everywhere = (decide: Decide): { readonly [H in HostState]: Decide } => ({
	running: decide,
	frozen: decide,
	hibernated: decide,
	exited: decide,
	absent: decide,
});
/** Total over (kind, host state); the step is read inside. */
const RECOVER: { readonly [K in OperationKind]: { readonly [H in HostState]: Decide } } = {
	create: everywhere(settle),
	start: everywhere(settle),
	stop: everywhere(finishStop),
	warm: { running: settle, frozen: finishWarm, hibernated: settle, exited: settle, absent: settle },
	sleep: { running: settle, frozen: finishSleep, hibernated: finishSleep, exited: finishSleep, absent: finishSleep },
	wake: everywhere(settle),
	checkpoint: everywhere(settle),
	destroy: everywhere(finishDestroy),
};

/** The state in which each kind has done what it was for. */
const GOAL: { readonly [K in OperationKind]: InstanceState } = {
	create: 'ready',
	start: 'running',
	stop: 'stopped',
	warm: 'warm',
	sleep: 'sleeping',
	wake: 'running',
	checkpoint: 'running',
	destroy: 'destroyed',
};

/**
 * What recovery does: host effects, then events, then (when `greet`) the guest, and the operation ends. Applying it twice, or
 * again after it was cut off between any two parts, changes nothing more. At most one tree is alive afterwards.
 */
export function recover(operation: Operation | undefined, host: HostView, life: InstanceLife): RecoveryPlan {
	const at: Case = { operation, host, life, next: nextIncarnation(life, host, operation) };
	const plan = operation === undefined ? settle(at) : RECOVER[operation.kind][host.state](at);
	const after = lifeAfter(life, plan.events);
	const end = after.state;
	const { incarnation } = after;
	const live = liveAfter(host, plan.effects, after);
	if (operation === undefined) return { ...plan, greet: plan.greet ?? false, incarnation, live };
	const reached = end === GOAL[operation.kind];
	// A guest that runs may be fenced or half drained by what was in progress.
	const greet = end === 'running' && (plan.greet ?? true);
	const outcome =
		operation.kind === 'checkpoint'
			? 'rolled_back'
			: reached
				? 'done'
				: plan.action === 'mark_stopped'
					? 'failed'
					: 'rolled_back';
	const action = plan.action === 'nothing' ? (reached && outcome === 'done' ? 'finish' : 'roll_back') : plan.action;
	return { ...plan, action, greet, incarnation, live, outcome };
}

function lifeAfter(life: InstanceLife, events: readonly InstanceEvent[]): InstanceLife {
	let now = life;
	for (const event of events) {
		const step = advance(now, event);
		if (step.ok) now = step.next;
	}
	return now;
}

function liveAfter(host: HostView, effects: readonly HostEffect[], after: InstanceLife): number {
	if (after.state !== 'running' && after.state !== 'warm' && !after.hibernated) return 0;
	return effects.reduce((live, effect) => (effect.kind === 'thaw' ? effect.incarnation : live), host.incarnation);
}
