import { rmSync } from 'node:fs';
import { isMvmError } from '@mvm/protocol';
import pino from 'pino';
import { expect, test } from 'vitest';
import { CHANNEL, plantInstance, plantTenant, SECRET } from '../../../../test/support/ingress-rows.ts';
import { makeServerFolder, testServerOptions } from '../../../../test/support/postgres-server.ts';
import { realClock } from '../../../../test/support/real-clock.ts';
import { PROOF, scriptedInstance } from '../../../../test/support/scripted-instance.ts';
import { startEmbeddedPostgres } from '../drivers/postgres/embedded.ts';
import { openDatabase, prepareEmbeddedStore } from '../state/index.ts';
import { Acceptor } from './accept.ts';
import { channelsOf } from './channel.ts';
import { Delivery } from './delivery.ts';

const EVENTS = 240;
const SENDERS = 12;
const CHATS = 6;
const KILLS = 4;

test('with the database killed over and over, every event that was accepted is delivered, in order, and none is made up', async () => {
	const folder = makeServerFolder();
	await using cleanup = new AsyncDisposableStack();
	cleanup.defer(() => rmSync(folder, { recursive: true, force: true }));
	const server = cleanup.use(await startEmbeddedPostgres(testServerOptions(folder)));
	const { connection } = await prepareEmbeddedStore({ socketDir: server.socketDir, superuser: server.superuser });
	const log = pino({ level: 'silent' });
	const database = cleanup.use(openDatabase({ connection, clock: realClock, log }));
	const tenantId = await plantTenant(database, 'acme');
	await plantInstance(database, tenantId);
	const loadChannel = channelsOf({ database, clock: realClock, readSecret: async () => SECRET });
	const instance = cleanup.use(scriptedInstance());
	instance.respond = (_request, response) => void response.writeHead(200, { [PROOF.header]: PROOF.equals }).end();
	const delivery = new Delivery({
		database,
		clock: realClock,
		log,
		orchestrator: instance,
		loadChannel,
		random: Math.random,
		holdDeadlineMs: 1_000,
		answerDeadlineMs: 1_000,
		claim: 'the-only-one',
		record: async () => {},
	});
	const acceptor = new Acceptor({
		database,
		loadChannel,
		clock: realClock,
		isParked: () => false,
		onStored: () => delivery.poke(),
	});
	await delivery.start({ recover: true });
	cleanup.defer(() => delivery.stop({ signal: AbortSignal.abort() }));

	let refused = 0;
	let next = 0;
	let accepted = 0;
	/** Repeats what was not accepted, as every webhook sender does. Events of one chat come from one sender. */
	const sender = async (at: number): Promise<void> => {
		for (let n = at; n < EVENTS; n += SENDERS) {
			next = Math.max(next, n);
			const body = Buffer.from(JSON.stringify({ id: `e-${n}`, chat: at % CHATS, sender: at, n }));
			const message = {
				tenantId,
				channel: CHANNEL,
				rest: '',
				headers: { 'x-hook-secret': SECRET },
				body,
				traceId: 'a'.repeat(32),
			};
			for (;;) {
				try {
					await acceptor.accept(message);
					accepted += 1;
					break;
				} catch (error) {
					if (!isMvmError(error, 'STORE_UNAVAILABLE')) throw error;
					refused += 1;
				}
			}
		}
	};
	const senders = Promise.all(Array.from({ length: SENDERS }, (_, at) => sender(at)));
	for (let kill = 1; kill <= KILLS; kill += 1) {
		await expect.poll(() => accepted, { timeout: 20_000, interval: 1 }).toBeGreaterThanOrEqual((EVENTS * kill) / (KILLS + 1));
		await expect.poll(() => server.pid, { timeout: 20_000, interval: 1 }).toBeGreaterThan(0);
		process.kill(server.pid, 'SIGKILL');
	}
	await senders;
	const states = (): Promise<unknown> =>
		database.asSystem((tx) =>
			tx
				.selectFrom('ingressMessage')
				.select(['state', (eb) => eb.fn.countAll<number>().as('n')])
				.groupBy('state')
				.execute(),
		);
	// A delivery whose row could not be written in time is claimed until its claim ends; nothing else may hold it up.
	await expect.poll(states, { timeout: 50_000, interval: 100 }).toEqual([{ state: 'taken', n: EVENTS }]);

	const arrived = instance.arrived.map((request) => JSON.parse(request.body) as { id: string; sender: number; n: number });
	const first = arrived.filter((event, at) => arrived.findIndex((one) => one.id === event.id) === at);
	expect(new Set(arrived.map((event) => event.id)).size).toBe(EVENTS);
	for (let at = 0; at < SENDERS; at += 1) {
		const own = first.filter((event) => event.sender === at).map((event) => event.n);
		expect(own, `sender ${at}`).toEqual([...own].sort((a, b) => a - b));
	}
	expect(server.restarts).toBeGreaterThanOrEqual(1);
	console.log(`${KILLS} kills, ${server.restarts} restarts, ${refused} refusals, ${arrived.length - EVENTS} second deliveries`);
}, 120_000);
