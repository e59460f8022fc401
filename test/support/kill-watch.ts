// Sees the platform reach its named steps: the journal's and the messages' rows through triggers that only this test's database has,
// and the link's states through the daemon's log. Reconnects for as long as it is open, since Postgres is among what gets killed.
import type pg from 'pg';
import type { Step } from './kill-plan.ts';
import type { TestPlatform } from './platform.ts';

const CHANNEL = 'test_steps';
const TRIGGERS = `
	create or replace function public.test_step() returns trigger language plpgsql security definer as $$
	begin
		if tg_table_name = 'operation' then
			if tg_op = 'INSERT' or new.step <> old.step then
				perform pg_notify('${CHANNEL}', 'op ' || new.kind || ' ' || new.step || ' ' || new.instance_id);
			end if;
		elsif tg_op = 'INSERT' then
			perform pg_notify('${CHANNEL}', 'message stored ' || new.event_id || ' -');
		elsif new.state <> old.state or (new.claimed_by is not null and old.claimed_by is null) then
			perform pg_notify('${CHANNEL}', 'message ' || case when new.state <> old.state then new.state else 'claimed' end
				|| ' ' || new.event_id || ' ' || coalesce(new.instance_id, '-'));
		end if;
		return null;
	end $$;
	create or replace trigger test_step after insert or update on mvm.operation for each row execute function public.test_step();
	create or replace trigger test_step after insert or update on mvm.ingress_message for each row execute function public.test_step();
	grant execute on function public.test_step() to public;
`;
const RETRY_MS = 40;

/** Steps that stand in the journal under the same name whatever the operation is. */
const PLAIN: readonly string[] = [
	'prepare',
	'boot',
	'link',
	'checkpoint_integrations',
	'sleep_prep',
	'freeze',
	'write_manifest',
	'snapshot',
	'stop_tree',
] satisfies Step[];

export interface SeenStep {
	readonly step: Step;
	/** Undefined where the step is not about one. */
	readonly instance: string | undefined;
}

export class StepWatch {
	readonly #platform: TestPlatform;
	readonly #onStep: (seen: SeenStep) => void;
	#client: pg.Client | undefined;
	#isClosed = false;
	#loop: Promise<void> | undefined;
	#offLog: (() => void) | undefined;

	constructor(platform: TestPlatform, onStep: (seen: SeenStep) => void) {
		this.#platform = platform;
		this.#onStep = onStep;
	}

	/** Resolves when the triggers are there and the first connection listens. */
	async start(): Promise<void> {
		const first = await this.#platform.database();
		await first.query(TRIGGERS);
		await first.end();
		const listening = Promise.withResolvers<void>();
		this.#loop = this.#run(listening.resolve);
		this.#offLog = this.#platform.daemonLog.on((line) => {
			const kind = line['kind'];
			if (line['msg'] === 'operation finished' && (kind === 'wake' || kind === 'start'))
				this.#onStep({ step: 'ready', instance: String(line['instance_id']) });
			if (line['msg'] !== 'link state changed') return;
			const instance = String(line['instance_id']);
			if (line['to'] === 'stale') this.#onStep({ step: 'thaw', instance });
			else if (line['to'] === 'up') this.#onStep({ step: line['from'] === 'stale' ? 'wake_guest' : 'post_restore', instance });
		});
		await listening.promise;
	}

	/** Something that only the test itself can see. */
	saw(seen: SeenStep): void {
		if (!this.#isClosed) this.#onStep(seen);
	}

	async close(): Promise<void> {
		this.#isClosed = true;
		this.#offLog?.();
		await this.#client?.end().catch(() => {});
		await this.#loop;
	}

	async #run(onListening: () => void): Promise<void> {
		while (!this.#isClosed) {
			try {
				const client = await this.#platform.database();
				this.#client = client;
				const ended = new Promise<void>((resolve) => client.once('end', resolve));
				client.on('notification', ({ payload = '' }) => this.#notified(payload));
				await client.query(`listen ${CHANNEL}`);
				onListening();
				await ended;
			} catch {
				// The server is not back yet.
			}
			await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
		}
	}

	#notified(payload: string): void {
		const [about, kind = '', what = '', instance] = payload.split(' ');
		if (about === 'message') {
			const step = `message.${kind}` as Step;
			this.#onStep({ step, instance: instance === '-' ? undefined : instance });
			return;
		}
		if (PLAIN.includes(what)) this.#onStep({ step: what as Step, instance });
		else if (what === 'claim' && (kind === 'wake' || kind === 'start')) this.#onStep({ step: 'wake.claim', instance });
		else if (what === 'claim' && (kind === 'sleep' || kind === 'warm')) this.#onStep({ step: 'sleep.claim', instance });
	}
}
