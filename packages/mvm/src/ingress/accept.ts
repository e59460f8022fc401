// The accept path: verify the sender, name the event, store it, and only then say so. Called by the edge for
// `/in/<tenant>/<channel>/…`. Must never answer before the commit, and never lose the difference between "stored",
// "known already" and "not stored".

import type { IncomingHttpHeaders } from 'node:http';
import { isMvmError, MvmError, type TenantId } from '@mvm/protocol';
import type { Clock } from '../ports/clock.ts';
import { type Database, insertMessages, type NewIngressMessage, retainedBytes } from '../state/index.ts';
import { Batcher, type ItemOutcome } from './batcher.ts';
import type { Channel, LoadChannel } from './channel.ts';
import { storableHeaders } from './headers.ts';
import { atPointer, bodyKey, keyText, parseLossless } from './json-pointer.ts';
import { Retention } from './retention.ts';
import { isFromSender } from './verify.ts';

export interface AcceptDeps {
	readonly database: Pick<Database, 'asSystem'>;
	readonly loadChannel: LoadChannel;
	readonly clock: Clock;
	/** True while the tenant's messages wait because it is over a quota: they are kept and answered 202. */
	readonly isParked: (tenantId: TenantId) => boolean;
	/** Called after a flush stored something; wakes the delivery loop of this process. */
	readonly onStored: () => void;
	/** Bodies a tenant may keep on disk; default 256 MiB. */
	readonly retainLimitBytes?: number | undefined;
}

export interface InboundMessage {
	readonly tenantId: TenantId;
	readonly channel: string;
	/** The rest of the URL after the channel, query included. */
	readonly rest: string;
	readonly headers: IncomingHttpHeaders;
	readonly body: Uint8Array;
	readonly traceId: string;
}

export interface Accepted {
	/** `held`: stored, but delivery waits for a suspension or a quota to end. */
	readonly outcome: 'stored' | 'duplicate' | 'held';
	/** Absent for a duplicate. */
	readonly id?: number;
	readonly eventId: string;
}

const RETAIN_LIMIT_BYTES = 256 * 1024 * 1024;

export class Acceptor {
	readonly #deps: AcceptDeps;
	readonly #batcher: Batcher<NewIngressMessage, number | undefined>;
	readonly #retention: Retention;

	constructor(deps: AcceptDeps) {
		this.#deps = deps;
		this.#retention = new Retention({
			readBytes: (tenantId) => deps.database.asSystem((tx) => retainedBytes(tx, tenantId)),
			clock: deps.clock,
			limitBytes: deps.retainLimitBytes ?? RETAIN_LIMIT_BYTES,
		});
		this.#batcher = new Batcher({
			flush: (items) => this.#flush(items),
			maxItems: 256,
			maxWeight: 8 * 1024 * 1024,
			weigh: (message) => message.body.byteLength,
		});
	}

	/**
	 * Refuses a stranger by headers alone, where the channel's proof is in them: nothing of his body is read then.
	 * Throws UNAUTHENTICATED or STORE_UNAVAILABLE.
	 */
	async checkSender(inbound: Omit<InboundMessage, 'body'>): Promise<void> {
		const channel = await this.#channelOf(inbound);
		if (channel === undefined) throw refused();
		if (channel.check.kind === 'header' && !isFromSender(channel.check, inbound.headers, new Uint8Array())) throw refused();
	}

	/**
	 * Resolves once the message is on disk. Throws UNAUTHENTICATED (also for a channel that does not exist: a stranger
	 * learns nothing), RETAIN_LIMIT, or STORE_UNAVAILABLE; then nothing was promised and the sender has to repeat.
	 */
	async accept(inbound: InboundMessage): Promise<Accepted> {
		const channel = await this.#channelOf(inbound);
		if (channel === undefined || !isFromSender(channel.check, inbound.headers, inbound.body)) throw refused();
		if (!isPlainRest(inbound.rest)) throw new MvmError('NOT_FOUND', 'the address has dot segments after the channel');
		const message = toMessage(channel, inbound);
		const id = await this.#store(message);
		if (id === undefined) return { outcome: 'duplicate', eventId: message.eventId };
		const isHeld = channel.isSuspended || this.#deps.isParked(channel.tenantId);
		return { outcome: isHeld ? 'held' : 'stored', id, eventId: message.eventId };
	}

	/** Resolves when every message that was begun is answered. */
	drain(): Promise<void> {
		return this.#batcher.drain();
	}

	async #store(message: NewIngressMessage): Promise<number | undefined> {
		const reserved = await this.#retention.reserve(message.tenantId, message.body.byteLength).catch((error) => {
			throw unavailable(error);
		});
		let id: number | undefined;
		try {
			id = await this.#batcher.add(message);
			return id;
		} finally {
			reserved.end(id !== undefined);
		}
	}

	async #channelOf(inbound: Omit<InboundMessage, 'body'>): Promise<Channel | undefined> {
		try {
			return await this.#deps.loadChannel(inbound.tenantId, inbound.channel);
		} catch (error) {
			throw unavailable(error);
		}
	}

	async #flush(items: readonly NewIngressMessage[]): Promise<readonly ItemOutcome<number | undefined>[]> {
		try {
			const ids = await this.#deps.database.asSystem((tx) => insertMessages(tx, items), { idempotent: true });
			if (ids.some((id) => id !== undefined)) this.#deps.onStored();
			return ids.map((value) => ({ ok: true, value }));
		} catch (error) {
			if (!isDataError(error)) throw unavailable(error);
			if (items.length === 1) return [{ ok: false, error: dataError(error) }];
			const outcomes: ItemOutcome<number | undefined>[] = [];
			for (const item of items) outcomes.push(...(await this.#flush([item])));
			return outcomes;
		}
	}
}

function toMessage(channel: Channel, inbound: InboundMessage): NewIngressMessage {
	const needsDocument = channel.eventIdPointer !== undefined || channel.orderByPointer !== undefined;
	const document = needsDocument ? parseLossless(inbound.body) : undefined;
	const at = (pointer: string | undefined): string | undefined =>
		pointer === undefined ? undefined : keyText(atPointer(document, pointer));
	return {
		tenantId: channel.tenantId,
		poolId: channel.poolId,
		channel: channel.channel,
		eventId: at(channel.eventIdPointer) ?? bodyKey(inbound.body),
		orderKey: at(channel.orderByPointer) ?? '',
		path: inbound.rest,
		headers: storableHeaders(inbound.headers, channel.check.kind === 'header' ? channel.check.header : undefined),
		body: inbound.body,
		traceId: inbound.traceId,
	};
}

/** No dot segments, plain or encoded, and no backslash: the rest must stay below the channel's path. */
function isPlainRest(rest: string): boolean {
	if (rest !== '' && !rest.startsWith('/') && !rest.startsWith('?')) return false;
	const path = rest.split('?', 1)[0] ?? '';
	return !path.includes('\\') && !path.split('/').some((part) => /^(\.|%2e){1,2}$/i.test(part) || /%(2f|5c|00)/i.test(part));
}

const refused = (): MvmError =>
	new MvmError('UNAUTHENTICATED', 'no channel of this address takes this request', {
		hint: "check the address /in/<tenant>/<channel> and the sender's secret or signature",
	});

const unavailable = (cause: unknown): MvmError =>
	isMvmError(cause) ? cause : new MvmError('STORE_UNAVAILABLE', 'the message was not stored; send it again', { cause });

/** Errors of the data itself (classes 22 and 23 of SQLSTATE) belong to one message; all others to the store. */
function isDataError(error: unknown): boolean {
	const code = (error as { code?: unknown } | null)?.code;
	return typeof code === 'string' && /^(22|23)[0-9A-Z]{3}$/.test(code);
}

const dataError = (cause: unknown): MvmError => {
	const isGone = (cause as { code?: unknown }).code === '23503';
	return isGone ? refused() : new MvmError('INTERNAL', 'the store cannot hold this message', { cause });
};
