// The agent's side of an OpenClaw workload: mints the gateway's token per start, asks the gateway what it is doing, holds it quiet
// before a freeze and opens it after a thaw. Runs in the agent process, so it never opens the workload's files: what needs them
// runs as the workload user through `context.run`.
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { AdapterContext, CommandResult, WorkloadAdapter } from '../adapter.ts';
import { EXIT } from './exit-codes.ts';
import { connectGateway, type GatewayConnection, GatewayError } from './gateway-client.ts';
import { programFile } from './settings.ts';
import { resumeSuspension } from './suspension.ts';
import { readWork } from './work.ts';

/** OpenClaw's own drain ends after this long, so waiting longer gains nothing; a stop takes up to 330 s (the pool's default). */
const MAX_DRAIN_MS = 315_000;
const BUSY_ANSWER_MS = 800;
const INGRESS_LOOK_EVERY_MS = 5_000;
const RESUME_MS = 10_000;

/** `program` is the bundled mvm-openclaw; by default it lies beside the agent's own bundle. */
export function makeOpenclawAdapter(context: AdapterContext, options: { program?: string } = {}): WorkloadAdapter {
	const program = options.program ?? join(dirname(process.argv[1] ?? ''), 'mvm-openclaw.cjs');
	const ownDir = context.env['MVM_OPENCLAW_DIR'] ?? '/tmp/mvm-openclaw';
	const port = context.readyPort ?? 18_789;
	let token: string | null = null;
	let connection: GatewayConnection | null = null;
	let lastIngressLook = { at: Number.NEGATIVE_INFINITY, reasons: [] as string[] };

	const gateway = async (signal: AbortSignal): Promise<GatewayConnection> => {
		if (connection !== null && !connection.closed) return connection;
		if (token === null) throw new GatewayError('UNREACHABLE', 'the gateway was never started', { retryable: true });
		connection = await connectGateway({ url: `ws://127.0.0.1:${port}`, token }, { signal });
		return connection;
	};
	const own = { MVM_OPENCLAW_DIR: ownDir, OPENCLAW_GATEWAY_PORT: String(port) };
	const run = (args: readonly string[], limits: { timeoutMs: number; signal: AbortSignal }): Promise<CommandResult> =>
		context.run([programFile(ownDir), ...args], { ...limits, env: own });

	return {
		workloadToken: () => token,
		async beforeStart({ signal }) {
			connection?.close();
			token = randomBytes(32).toString('base64url');
			const result = await context.run([process.execPath, program, 'install'], {
				timeoutMs: 10_000,
				signal,
				env: { ...own, MVM_OPENCLAW_TOKEN: token },
			});
			if (result.code !== EXIT.ok) throw new Error(`mvm-openclaw could not be installed: ${lastLine(result.stderr)}`);
			return {
				...own,
				PATH: `${ownDir}:${context.env['PATH'] ?? '/usr/bin:/bin'}`,
				// Set even where an image forgets them: one process to supervise, nothing that looks around in the network.
				OPENCLAW_NO_RESPAWN: '1',
				OPENCLAW_DISABLE_BONJOUR: '1',
				OPENCLAW_NO_AUTO_UPDATE: '1',
				OPENCLAW_EXEC_SHELL_SNAPSHOT: '0',
			};
		},
		async prepareSleep({ budgetMs, signal }) {
			const seconds = Math.max(Math.min(budgetMs, MAX_DRAIN_MS) / 1000 - 1, 0);
			const result = await run(['suspend', '--budget-secs', seconds.toFixed(1)], {
				timeoutMs: budgetMs + 5_000,
				signal,
			});
			if (result.code === EXIT.ok) return { ready: true };
			if (result.code === EXIT.busy) return { ready: false, reason: lastLine(result.stderr) };
			// Unclear whether the lease is held: a gateway that answers is opened, one that does not has nothing held.
			await this.resume({ signal: AbortSignal.timeout(RESUME_MS) }).catch(() => undefined);
			return { ready: false, reason: lastLine(result.stderr) || `mvm-openclaw suspend ended with ${String(result.code)}` };
		},
		async resume({ signal }) {
			const limit = AbortSignal.any([signal, AbortSignal.timeout(RESUME_MS)]);
			try {
				const resumed = await resumeSuspension(await gateway(limit), { signal: limit });
				context.log('debug', 'gateway admission is open', { resumed });
			} catch (error) {
				// Nothing listens, or it is starting: then nothing is held either.
				if (!(error instanceof GatewayError) || !error.retryable) throw error;
			}
		},
		async busy({ signal }) {
			const limit = AbortSignal.any([signal, AbortSignal.timeout(BUSY_ANSWER_MS)]);
			try {
				const work = await readWork(await gateway(limit), { signal: limit });
				if (work.length > 0) return work.map(({ kind, count }) => `openclaw:${kind}:${count}`);
				return await ingressReasons(limit);
			} catch (error) {
				if (error instanceof GatewayError && error.retryable) return []; // not up: the supervisor knows that better
				return ['openclaw:unknown'];
			}
		},
	};

	/** A process per look, so not at every question; the checkpoint looks again anyway. */
	async function ingressReasons(signal: AbortSignal): Promise<readonly string[]> {
		if (context.now() - lastIngressLook.at < INGRESS_LOOK_EVERY_MS) return lastIngressLook.reasons;
		const result = await run(['pending'], { timeoutMs: BUSY_ANSWER_MS, signal });
		const reasons =
			result.code === EXIT.ok ? [] : [result.code === EXIT.busy ? 'openclaw:ingress-pending' : 'openclaw:ingress-unknown'];
		if (result.stdout.includes('ingress-unknown'))
			context.log('warn', 'the gateway database was not looked into', { answer: lastLine(result.stdout) });
		lastIngressLook = { at: context.now(), reasons };
		return reasons;
	}
}

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1)?.slice(0, 500) ?? '';
