// The counter's only state: an append-only file, one JSON object a line. `{"update_id":…}` was counted, `{"answered":…}` was replied to.
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Reads the file, cuts off a line that a crash left half written, and keeps it open. */
export async function openLedger(path) {
	await mkdir(dirname(path), { recursive: true, mode: 0o700 });
	const file = await open(path, 'a+', 0o600);
	const bytes = await file.readFile();
	const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
	if (whole.length < bytes.length) await file.truncate(whole.length);
	const events = new Map();
	for (const line of whole.toString('utf8').split('\n').filter(Boolean)) {
		const entry = JSON.parse(line);
		if (entry.answered !== undefined) {
			const event = events.get(entry.answered);
			if (event !== undefined) event.isAnswered = true;
		} else events.set(entry.update_id, { ...entry, number: events.size + 1, isAnswered: false });
	}
	const adding = new Map();
	let waiting = [];
	let isFlushing = false;

	/** All lines that came while the last flush ran go out in the next. */
	const append = (line) =>
		new Promise((resolve, reject) => {
			waiting.push({ line, resolve, reject });
			if (!isFlushing) void flush();
		});
	const flush = async () => {
		isFlushing = true;
		while (waiting.length > 0) {
			const batch = waiting;
			waiting = [];
			try {
				await file.appendFile(batch.map(({ line }) => `${line}\n`).join(''));
				await file.datasync();
				for (const { resolve } of batch) resolve();
			} catch (error) {
				for (const { reject } of batch) reject(error);
			}
		}
		isFlushing = false;
	};

	return {
		count: () => events.size,
		chats: () => {
			const chats = {};
			for (const { chat } of events.values()) chats[chat] = (chats[chat] ?? 0) + 1;
			return chats;
		},
		get: (id) => events.get(id),
		unanswered: () => [...events.values()].filter(({ isAnswered }) => !isAnswered),
		/** Resolves when the event is on disk: true when it is new, false when it was counted before. */
		async add(event) {
			if (events.has(event.update_id)) return false;
			const known = adding.get(event.update_id);
			if (known !== undefined) {
				await known;
				return false;
			}
			const written = append(JSON.stringify({ ...event, at: new Date().toISOString() }));
			adding.set(event.update_id, written);
			try {
				await written;
				events.set(event.update_id, { ...event, number: events.size + 1, isAnswered: false });
				return true;
			} finally {
				adding.delete(event.update_id);
			}
		},
		async answered(id) {
			events.get(id).isAnswered = true;
			await append(JSON.stringify({ answered: id }));
		},
	};
}
