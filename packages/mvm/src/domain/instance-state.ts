// The instance state machine: what an instance is, and what may happen to it next. Called by lifecycle/ (its only writer of
// state), recovery and the planner's simulated world. Pure; SPEC.md beside this file lists invariants and who holds them.
//
//   created ──image_resolved──▶ ready ──booted──▶ running ◀──booted── stopped
//                              ↺ rebuilt           │  ▲ ▲                ▲
//                                           frozen │  │ │ booted (cold)  │ stopped, died
//                                                  ▼  │ │ woken (memory) │ (from running, warm; stopped also from sleeping)
//                                          thawed  warm │                │
//                                                  │    │                │
//                                            slept └──▶ sleeping ────────┘
//
//   anything ──destroyed──▶ destroyed (absorbing)

/** Every state, in the order of a life. */
export const INSTANCE_STATES = ['created', 'ready', 'running', 'warm', 'sleeping', 'stopped', 'destroyed'] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];

/** Every event: a fact that the host has shown and checked, never a wish. */
export const INSTANCE_EVENTS = [
	/** The pool has an image revision to boot. */
	'image_resolved',
	/** A never-booted instance got another image revision. */
	'rebuilt',
	/** A new process tree (or VM) was started from `/data` and its guest answered. */
	'booted',
	/** The tree is frozen, memory resident. */
	'frozen',
	/** The tree runs on after a freeze that kept its memory resident. */
	'thawed',
	/** Frozen, manifest verified, memory paged out (hibernated) or given up (cold). */
	'slept',
	/** The tree runs on from its paged-out or saved memory. */
	'woken',
	/** The tree was ended on purpose; none is left. */
	'stopped',
	/** The tree was found dead. */
	'died',
	/** Tree, `/data`, secrets and link are gone. */
	'destroyed',
] as const;
export type InstanceEventKind = (typeof INSTANCE_EVENTS)[number];

export type Transition =
	/** `changed` is false where the event leaves the state as it is. */
	| { readonly ok: true; readonly next: InstanceState; readonly changed: boolean }
	| { readonly ok: false; readonly reason: string };

type Cell = InstanceState | { readonly refused: string };
const no = (refused: string): Cell => ({ refused });

const NO_IMAGE = 'it has no image yet';
const NEVER_RAN = 'it has never run';
const RUNS = 'a tree of it is alive already';
const NOT_ALIVE = 'nothing of it is alive';
const GONE = 'it is destroyed';
const ASLEEP = 'it is asleep';
const NOT_FROZEN = 'it must be warm first: fenced, checkpointed, drained and frozen';
const REVISION = 'it keeps its image revision until the next boot from stopped or sleeping';

/** Total over (state, event): a new state or event does not compile until every cell is decided. */
const TABLE: { readonly [S in InstanceState]: { readonly [E in InstanceEventKind]: Cell } } = {
	created: {
		image_resolved: 'ready',
		rebuilt: no(NO_IMAGE),
		booted: no(NO_IMAGE),
		frozen: no(NEVER_RAN),
		thawed: no(NEVER_RAN),
		slept: no(NEVER_RAN),
		woken: no(NEVER_RAN),
		stopped: no(NEVER_RAN),
		died: no(NEVER_RAN),
		destroyed: 'destroyed',
	},
	ready: {
		image_resolved: 'ready',
		rebuilt: 'ready',
		booted: 'running',
		frozen: no(NEVER_RAN),
		thawed: no(NEVER_RAN),
		slept: no(NEVER_RAN),
		woken: no(NEVER_RAN),
		stopped: no(NEVER_RAN),
		died: no(NEVER_RAN),
		destroyed: 'destroyed',
	},
	running: {
		image_resolved: no(REVISION),
		rebuilt: no(REVISION),
		booted: no(RUNS),
		frozen: 'warm',
		// The freeze was a step of an operation (periodic checkpoint, aborted sleep): only the incarnation rises.
		thawed: 'running',
		slept: no(NOT_FROZEN),
		woken: no(RUNS),
		stopped: 'stopped',
		died: 'stopped',
		destroyed: 'destroyed',
	},
	warm: {
		image_resolved: no(REVISION),
		rebuilt: no(REVISION),
		booted: no(RUNS),
		frozen: 'warm',
		thawed: 'running',
		slept: 'sleeping',
		woken: no('its memory is resident: thaw it'),
		stopped: 'stopped',
		died: 'stopped',
		destroyed: 'destroyed',
	},
	sleeping: {
		image_resolved: no(REVISION),
		rebuilt: no(REVISION),
		booted: 'running',
		frozen: no(ASLEEP),
		thawed: no('its memory is not resident: wake it'),
		slept: 'sleeping',
		woken: 'running',
		stopped: 'stopped',
		// Its `/data` and manifest are whole; only the memory is lost. The next wake is cold.
		died: 'sleeping',
		destroyed: 'destroyed',
	},
	stopped: {
		image_resolved: no(REVISION),
		rebuilt: no(REVISION),
		booted: 'running',
		frozen: no(NOT_ALIVE),
		thawed: no(NOT_ALIVE),
		slept: no(NOT_ALIVE),
		woken: no(NOT_ALIVE),
		stopped: 'stopped',
		died: 'stopped',
		destroyed: 'destroyed',
	},
	destroyed: {
		image_resolved: no(GONE),
		rebuilt: no(GONE),
		booted: no(GONE),
		frozen: no(GONE),
		thawed: no(GONE),
		slept: no(GONE),
		woken: no(GONE),
		stopped: no(GONE),
		died: no(GONE),
		destroyed: 'destroyed',
	},
};

/** Where an event leads from a state, or why it cannot happen there. */
export function transition(state: InstanceState, event: InstanceEventKind): Transition {
	const cell = TABLE[state][event];
	if (typeof cell === 'object') return { ok: false, reason: `${event} is illegal in ${state}: ${cell.refused}` };
	return { ok: true, next: cell, changed: cell !== state };
}

/** The part of an instance row that the state machine owns. */
export interface InstanceLife {
	readonly state: InstanceState;
	/**
	 * The highest one allotted: raised when an operation that will boot, thaw or wake is claimed, so that everything before it is
	 * refused from then on; never falls. The tree that is alive may be of an earlier one while, or because, that operation failed.
	 */
	readonly incarnation: number;
	/** Asleep with its memory kept on disk. True only in `sleeping`. */
	readonly hibernated: boolean;
}

/** An event with what it carries. */
export type InstanceEvent =
	| { readonly kind: 'booted' | 'thawed' | 'woken'; readonly incarnation: number }
	| { readonly kind: 'slept'; readonly hibernated: boolean }
	| { readonly kind: Exclude<InstanceEventKind, 'booted' | 'thawed' | 'woken' | 'slept'> };

export type Advance =
	| { readonly ok: true; readonly next: InstanceLife; readonly changed: boolean }
	| { readonly ok: false; readonly reason: string };

/** A life as it starts. */
export const NEW_LIFE: InstanceLife = { state: 'created', incarnation: 0, hibernated: false };

/** The life with one more incarnation allotted; every boot, thaw, wake and restore needs one of its own. */
export function allot(life: InstanceLife): InstanceLife {
	return { ...life, incarnation: life.incarnation + 1 };
}

/**
 * Applies an event to a life: the table, and the rules that need more than the state (incarnations never fall; a hibernated tree
 * is alive, so it is woken or lost before another boots). An event that changes nothing returns the same reference.
 */
export function advance(life: InstanceLife, event: InstanceEvent): Advance {
	const step = transition(life.state, event.kind);
	if (!step.ok) return step;
	const raises = event.kind === 'booted' || event.kind === 'thawed' || event.kind === 'woken';
	if (raises && !(Number.isSafeInteger(event.incarnation) && event.incarnation > 0 && event.incarnation >= life.incarnation))
		return { ok: false, reason: `incarnation ${event.incarnation} is below the allotted ${life.incarnation}` };
	if (event.kind === 'booted' && life.hibernated)
		return { ok: false, reason: 'booted is illegal while a hibernated tree is alive: wake it, or end it first' };
	if (event.kind === 'woken' && !life.hibernated) return { ok: false, reason: 'woken is illegal: no memory was kept, boot it' };
	if (event.kind === 'slept' && life.state === 'sleeping' && event.hibernated && !life.hibernated)
		return { ok: false, reason: 'slept is illegal: memory that was given up cannot be kept' };
	const next: InstanceLife = {
		state: step.next,
		incarnation: raises ? event.incarnation : life.incarnation,
		hibernated:
			step.next === 'sleeping' && (event.kind === 'slept' ? event.hibernated : event.kind !== 'died' && life.hibernated),
	};
	const changed = next.state !== life.state || next.incarnation !== life.incarnation || next.hibernated !== life.hibernated;
	return { ok: true, next: changed ? next : life, changed };
}
