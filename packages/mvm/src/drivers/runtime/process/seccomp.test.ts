import { expect, it } from 'vitest';
import { type SeccompArch, seccompFilter } from './seccomp.ts';

const ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 };
const ALLOW = 0x7fff0000;
const errno = (code: number): number => 0x00050000 | code;

/** A tiny interpreter of classic BPF: what the kernel would answer for one call. */
function run(filter: Uint8Array, data: { nr: number; arch: number; args?: readonly number[] }): number {
	const memory = new DataView(new ArrayBuffer(64));
	memory.setUint32(0, data.nr, true);
	memory.setUint32(4, data.arch, true);
	for (const [at, arg] of (data.args ?? []).entries()) memory.setUint32(16 + at * 8, arg, true);
	const view = new DataView(filter.buffer);
	let a = 0;
	for (let pc = 0; pc * 8 < filter.length; pc += 1) {
		const code = view.getUint16(pc * 8, true);
		const jt = view.getUint8(pc * 8 + 2);
		const jf = view.getUint8(pc * 8 + 3);
		const k = view.getUint32(pc * 8 + 4, true);
		if (code === 0x20) a = memory.getUint32(k, true);
		else if (code === 0x15) pc += a === k ? jt : jf;
		else if (code === 0x35) pc += a >= k ? jt : jf;
		else if (code === 0x45) pc += (a & k) !== 0 ? jt : jf;
		else if (code === 0x06) return k;
		else throw new Error(`unknown instruction ${code}`);
	}
	throw new Error('fell off the end');
}

const numbers: Record<SeccompArch, Record<string, number>> = {
	x64: { read: 0, execve: 59, mount: 165, ptrace: 101, bpf: 321, clone: 56, clone3: 435, socket: 41, ioctl: 16, uring: 425 },
	arm64: { read: 63, execve: 221, mount: 40, ptrace: 117, bpf: 280, clone: 220, clone3: 435, socket: 198, ioctl: 29, uring: 425 },
};

for (const machine of ['x64', 'arm64'] as const) {
	const filter = seccompFilter(machine);
	const call = (name: string, ...args: number[]): number =>
		run(filter, { nr: numbers[machine][name] ?? -1, arch: ARCH[machine], args });

	it(`lets ordinary calls through and denies what no agent needs (${machine})`, () => {
		for (const name of ['read', 'execve']) expect(call(name), name).toBe(ALLOW);
		for (const name of ['mount', 'ptrace', 'bpf']) expect(call(name), name).toBe(errno(1));
		for (const name of ['clone3', 'uring']) expect(call(name), name).toBe(errno(38));
	});

	it(`looks at the arguments of clone, socket and ioctl (${machine})`, () => {
		expect(call('clone', 0x01200011)).toBe(ALLOW);
		for (const flag of [0x00020000, 0x10000000, 0x40000000]) expect(call('clone', flag)).toBe(errno(1));
		for (const family of [1, 2, 10, 16]) expect(call('socket', family)).toBe(ALLOW);
		for (const family of [17, 38, 40]) expect(call('socket', family)).toBe(errno(97));
		expect(call('ioctl', 0, 0x5401)).toBe(ALLOW);
		expect(call('ioctl', 0, 0x5412)).toBe(errno(1));
	});

	it(`refuses foreign call tables (${machine})`, () => {
		const other = machine === 'x64' ? ARCH.arm64 : ARCH.x64;
		expect(run(filter, { nr: 0, arch: other })).toBe(0x80000000);
		expect(run(filter, { nr: 0, arch: 0x40000003 })).toBe(0x80000000);
	});
}

it('refuses the x32 numbers of x86_64, and machines it has no table for', () => {
	expect(run(seccompFilter('x64'), { nr: 0x40000000 + 165, arch: ARCH.x64 })).toBe(errno(38));
	expect(() => seccompFilter('riscv64')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
});
