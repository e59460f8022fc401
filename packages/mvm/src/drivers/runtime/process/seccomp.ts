// The seccomp filter of every sandbox as BPF bytes, made here so that no compiled helper is needed. bubblewrap loads it
// (--seccomp). Denied calls answer EPERM so that programs go on; the tables stand below, one line per reason.
import { MvmError } from '@mvm/protocol';

const AUDIT_ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
export type SeccompArch = keyof typeof AUDIT_ARCH;

/** [name, x86_64, aarch64]; -1 where the machine has no such call. Numbers: the kernel's syscall tables. */
type Row = readonly [name: string, x64: number, arm64: number];

const DENIED: readonly Row[] = [
	// the mount family: the view of the file system is fixed at start
	['mount', 165, 40],
	['umount2', 166, 39],
	['pivot_root', 155, 41],
	['chroot', 161, 51],
	['open_tree', 428, 428],
	['move_mount', 429, 429],
	['fsopen', 430, 430],
	['fsconfig', 431, 431],
	['fsmount', 432, 432],
	['fspick', 433, 433],
	['mount_setattr', 442, 442],
	['statmount', 457, 457],
	['listmount', 458, 458],
	// other processes' memory and descriptors
	['ptrace', 101, 117],
	['process_vm_readv', 310, 270],
	['process_vm_writev', 311, 271],
	['process_madvise', 440, 440],
	['pidfd_getfd', 438, 438],
	['kcmp', 312, 272],
	// namespaces: no second world inside this one
	['unshare', 272, 97],
	['setns', 308, 268],
	// kernel surface that an agent has no use for
	['bpf', 321, 280],
	['perf_event_open', 298, 241],
	['userfaultfd', 323, 282],
	['keyctl', 250, 219],
	['add_key', 248, 217],
	['request_key', 249, 218],
	['init_module', 175, 105],
	['finit_module', 313, 273],
	['delete_module', 176, 106],
	['create_module', 174, -1],
	['kexec_load', 246, 104],
	['kexec_file_load', 320, 294],
	['reboot', 169, 142],
	['swapon', 167, 224],
	['swapoff', 168, 225],
	['acct', 163, 89],
	['quotactl', 179, 60],
	['quotactl_fd', 443, 443],
	['syslog', 103, 116],
	['lookup_dcookie', 212, 18],
	['nfsservctl', 180, 42],
	['vhangup', 153, 58],
	['iopl', 172, -1],
	['ioperm', 173, -1],
	['modify_ldt', 154, -1],
	['uselib', 134, -1],
	['ustat', 136, -1],
	['sysfs', 139, -1],
	['_sysctl', 156, -1],
	// files by handle walk around the path walls; fanotify watches a whole mount
	['name_to_handle_at', 303, 264],
	['open_by_handle_at', 304, 265],
	['fanotify_init', 300, 262],
	['fanotify_mark', 301, 263],
	// the clock and the name belong to the host
	['settimeofday', 164, 170],
	['clock_settime', 227, 112],
	['clock_adjtime', 305, 266],
	['adjtimex', 159, 171],
	['sethostname', 170, 161],
	['setdomainname', 171, 162],
	// page placement of other processes
	['move_pages', 279, 239],
	['migrate_pages', 256, 238],
	['mbind', 237, 235],
	['set_mempolicy', 238, 237],
];

/** Answered as if the kernel were older: io_uring escapes seccomp, and libc falls back from clone3 to the checked clone. */
const ABSENT: readonly Row[] = [
	['io_uring_setup', 425, 425],
	['io_uring_enter', 426, 426],
	['io_uring_register', 427, 427],
	['clone3', 435, 435],
];

const CLONE: Row = ['clone', 56, 220];
const SOCKET: Row = ['socket', 41, 198];
const SOCKETPAIR: Row = ['socketpair', 53, 199];
const IOCTL: Row = ['ioctl', 16, 29];
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const NAMESPACE_FLAGS = 0x7e020000;
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK; anything else (AF_VSOCK, AF_PACKET, AF_ALG …) does not exist inside. */
const FAMILIES = [1, 2, 10, 16];
/** TIOCSTI and TIOCLINUX type into a terminal on behalf of its reader. */
const TERMINAL_IOCTLS = [0x5412, 0x541c];

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;
const RET_ALLOW = 0x7fff0000;
const RET_KILL_PROCESS = 0x80000000;
const X32_BIT = 0x40000000;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JEQ = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JGE = 0x35;
const JSET = 0x45;
const RET = 0x06;
/** Offsets in struct seccomp_data; the low half of an argument comes first on both (little-endian) machines. */
const NR = 0;
const ARCH = 4;
const ARG0 = 16;
const ARG1 = 24;

interface Instruction {
	readonly code: number;
	readonly jt: number;
	readonly jf: number;
	readonly k: number;
}

const op = (code: number, k: number, jt = 0, jf = 0): Instruction => ({ code, k: k >>> 0, jt, jf });
const errno = (code: number): number => 0x00050000 | code;

/** Returns the filter for a machine as bytes for `--seccomp`; throws UNSUPPORTED on other machines. */
export function seccompFilter(machine: string = process.arch): Uint8Array {
	if (machine !== 'x64' && machine !== 'arm64')
		throw new MvmError('UNSUPPORTED', 'no seccomp table for this machine', { details: { machine } });
	const instructions = assemble(machine);
	const bytes = new Uint8Array(instructions.length * 8);
	const view = new DataView(bytes.buffer);
	instructions.forEach(({ code, jt, jf, k }, at) => {
		view.setUint16(at * 8, code, true);
		view.setUint8(at * 8 + 2, jt);
		view.setUint8(at * 8 + 3, jf);
		view.setUint32(at * 8 + 4, k, true);
	});
	return bytes;
}

function assemble(machine: SeccompArch): Instruction[] {
	const number = (row: Row): number => (machine === 'x64' ? row[1] : row[2]);
	const out: Instruction[] = [
		op(LOAD, ARCH),
		op(JEQ, AUDIT_ARCH[machine], 1, 0),
		op(RET, RET_KILL_PROCESS), // a foreign table of numbers: nothing below would mean what it says
		op(LOAD, NR),
	];
	if (machine === 'x64') out.push(op(JGE, X32_BIT, 0, 1), op(RET, errno(ENOSYS)));
	for (const [rows, code] of [
		[DENIED, EPERM],
		[ABSENT, ENOSYS],
	] as const)
		for (const row of rows) if (number(row) >= 0) out.push(op(JEQ, number(row), 0, 1), op(RET, errno(code)));
	// clone with a namespace flag
	out.push(op(JEQ, number(CLONE), 0, 4), op(LOAD, ARG0), op(JSET, NAMESPACE_FLAGS, 0, 1), op(RET, errno(EPERM)));
	out.push(op(RET, RET_ALLOW));
	for (const row of [SOCKET, SOCKETPAIR]) out.push(...familyCheck(number(row)));
	out.push(op(JEQ, number(IOCTL), 0, TERMINAL_IOCTLS.length * 2 + 2), op(LOAD, ARG1));
	for (const request of TERMINAL_IOCTLS) out.push(op(JEQ, request, 0, 1), op(RET, errno(EPERM)));
	out.push(op(RET, RET_ALLOW), op(RET, RET_ALLOW));
	return out;
}

/** `socket(family, …)`: allowed families pass, the rest answers EAFNOSUPPORT. The number is still loaded on entry. */
function familyCheck(number: number): Instruction[] {
	const body: Instruction[] = [op(LOAD, ARG0)];
	for (const family of FAMILIES) body.push(op(JEQ, family, 0, 1), op(RET, RET_ALLOW));
	body.push(op(RET, errno(EAFNOSUPPORT)));
	return [op(JEQ, number, 0, body.length), ...body];
}
