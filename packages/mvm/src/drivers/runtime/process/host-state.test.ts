// What the driver keeps on disk and in memory: slot records, secrets, console logs, locks, uid claims.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseInstanceId } from '@mvm/protocol';
import { afterAll, expect, it } from 'vitest';
import { systemClock } from '../../clock/system.ts';
import { tailConsole, trimConsole } from './console-log.ts';
import { InstanceLocks } from './instance-locks.ts';
import { makeSecretsFolder } from './secrets.ts';
import { type SlotRecord, SlotStore } from './slots.ts';
import { UidClaims } from './uids.ts';

const root = mkdtempSync(join(tmpdir(), 'mvm-state-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let next = 0;
const folder = (): string => {
	next += 1;
	const path = join(root, String(next));
	mkdirSync(path);
	return path;
};
const id = parseInstanceId('i-00000001');
const record = (change: Partial<SlotRecord> = {}): SlotRecord => ({
	version: 1,
	instanceId: id,
	slot: 0,
	phase: 'prepared',
	dataDiskMib: 64,
	dataFresh: true,
	incarnation: 0,
	hibernated: false,
	secretsEpoch: -1,
	...change,
});

it('keeps slot records over a restart, privately, and gives a slot back only when it is removed', () => {
	const directory = folder();
	const store = new SlotStore(directory);
	const monitor = { pid: 4, startTicks: 5, bootId: 'b' };
	store.put(record({ incarnation: 3, monitor }));
	expect(statSync(join(directory, '0.json')).mode & 0o777).toBe(0o600);
	writeFileSync(join(directory, '9.json.tmp'), 'half a rec');
	const again = new SlotStore(directory);
	expect(again.get(id)).toEqual(record({ incarnation: 3, monitor }));
	expect(again.nextFree(() => true)).toBe(1);
	expect(again.nextFree((slot) => slot > 4)).toBe(5);
	again.remove(0);
	expect(again.find(id)).toBeUndefined();
	expect(() => again.get(id)).toThrow(expect.objectContaining({ code: 'INSTANCE_NOT_FOUND' }));
	expect(new SlotStore(directory).nextFree(() => true)).toBe(0);
});

it('refuses to open over a record it cannot read, instead of losing an instance', () => {
	const directory = folder();
	writeFileSync(join(directory, '0.json'), '{"version":1}');
	expect(() => new SlotStore(directory)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
});

it('writes exactly the secrets it is given, and refuses names that are paths', () => {
	const path = folder();
	const secrets = makeSecretsFolder(systemClock, { tmpfs: 'none' });
	const file = (integration: string, key: string, value = 'v') => ({ integration, key, value });
	secrets.write(path, [file('a', 'ONE', '1'), file('a', 'TWO'), file('b', 'X')], undefined);
	secrets.write(path, [file('a', 'ONE', '2')], undefined);
	expect(readdirSync(path)).toEqual(['a']);
	expect(readdirSync(join(path, 'a'))).toEqual(['ONE']);
	expect(readFileSync(join(path, 'a/ONE'), 'utf8')).toBe('2');
	expect(statSync(join(path, 'a/ONE')).mode & 0o777).toBe(0o400);
	for (const [integration, key] of [
		['..', 'X'],
		['a/b', 'X'],
		['a', '../X'],
		['a', '.ONE'],
		['', 'X'],
	] as const)
		expect(() => secrets.write(path, [file(integration, key)], undefined)).toThrow(
			expect.objectContaining({ code: 'INVALID_ID' }),
		);
	expect(readFileSync(join(path, 'a/ONE'), 'utf8')).toBe('2');
});

it('bounds a console log and still shows what was last said', () => {
	const path = join(folder(), 'console.log');
	expect(tailConsole(path, 100)).toBe('');
	expect(trimConsole(path, 1000)).toBe(false);
	writeFileSync(path, `${'old '.repeat(500)}last`);
	expect(trimConsole(path, 1000)).toBe(true);
	expect(statSync(path).size).toBe(0);
	expect(statSync(`${path}.old`).size).toBe(500);
	writeFileSync(path, ' and new', { flag: 'a' });
	expect(tailConsole(path, 12)).toBe('last and new');
	expect(tailConsole(path, 3)).toBe('new');
});

it('gives an instance to one caller after the other, and to none that went away', async () => {
	const locks = new InstanceLocks();
	const options = { signal: new AbortController().signal };
	const order: string[] = [];
	const first = await locks.hold(id, options);
	const second = locks.hold(id, options).then((turn) => {
		order.push('second');
		return turn;
	});
	const left = new AbortController();
	const gone = locks.hold(id, { signal: left.signal });
	const third = locks.hold(id, options).then((turn) => {
		order.push('third');
		return turn;
	});
	left.abort(new Error('gone'));
	await expect(gone).rejects.toThrow('gone');
	expect(order).toEqual([]);
	first[Symbol.dispose]();
	(await second)[Symbol.dispose]();
	(await third)[Symbol.dispose]();
	expect(order).toEqual(['second', 'third']);
	(await locks.hold(id, options))[Symbol.dispose]();
});

it('shares uid ranges between hostds and takes over what a dead one left', () => {
	const directory = join(folder(), 'claims');
	const alive = folder();
	mkdirSync(join(alive, 'hostd/slots'), { recursive: true });
	writeFileSync(join(alive, 'hostd/slots/0.json'), '{}');
	const one = new UidClaims({ directory, owner: alive });
	const two = new UidClaims({ directory, owner: join(root, 'elsewhere') });
	expect(one.claim(0)).toBe(true);
	expect(one.claim(0)).toBe(true);
	expect(two.claim(0)).toBe(false);
	two.release(0);
	expect(existsSync(join(directory, '0'))).toBe(true);
	rmSync(join(alive, 'hostd/slots/0.json'));
	expect(two.claim(0)).toBe(true);
	two.release(0);
	expect(existsSync(join(directory, '0'))).toBe(false);
});
