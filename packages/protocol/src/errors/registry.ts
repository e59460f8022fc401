// The closed list of error codes. Everything that fails with a meaning picks a code here; docs/errors.md lists the same
// codes (a test compares both ways). Never reuse a code for a second meaning; never remove one that was released.

/** Exit codes of the command line: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict or state, 5 denied or quota, 6 timed out. */
export type ExitCode = 1 | 2 | 3 | 4 | 5 | 6;

export interface ErrorEntry {
	/** One sentence for people; what happened, without values. */
	readonly meaning: string;
	/** Status of the HTTP answer when this error ends a request. */
	readonly httpStatus: number;
	readonly exitCode: ExitCode;
	/** `user`: the caller can mend it. `system`: the platform or its host has to. */
	readonly whose: 'user' | 'system';
	/** True when the same call may succeed later without any change by the caller. */
	readonly retryable: boolean;
}

type Traits = Omit<ErrorEntry, 'meaning'>;
const entry = (meaning: string, traits: Traits): ErrorEntry => ({ meaning, ...traits });

const user = (httpStatus: number, exitCode: ExitCode, retryable = false): Traits => ({
	httpStatus,
	exitCode,
	whose: 'user',
	retryable,
});
const system = (httpStatus: number, exitCode: ExitCode, retryable = false): Traits => ({
	httpStatus,
	exitCode,
	whose: 'system',
	retryable,
});
const usage = user(400, 2);
const notFound = user(404, 3);
const conflict = user(409, 4);
const denied = user(403, 5);
const timedOut = system(504, 6, true);
const broken = system(500, 1);
const unavailable = system(503, 1, true);

/** Every error code with what it means and how it is shown. */
export const ERRORS = {
	INTERNAL: entry('Something inside the platform broke a promise of its own.', broken),

	USAGE: entry('The command line was not understood.', usage),
	INVALID_ID: entry('A name or id does not have the required form.', usage),
	INVALID_DOCUMENT: entry('A document or request has problems; each is listed with its path.', usage),
	CONFIG_INVALID: entry("The operator's configuration has problems; each is listed with its path.", usage),
	TLS_REQUIRED: entry('Plain HTTP is refused on an address that is not loopback.', usage),
	SECRET_MISSING: entry('A secret that is referenced has no value.', usage),
	BODY_TOO_LARGE: entry('The request body is over the limit.', user(413, 2)),

	NOT_FOUND: entry('There is nothing at this address.', notFound),
	TENANT_NOT_FOUND: entry('There is no tenant of this name.', notFound),
	POOL_NOT_FOUND: entry('There is no pool of this name.', notFound),
	INSTANCE_NOT_FOUND: entry('There is no instance of this id.', notFound),
	IMAGE_NOT_FOUND: entry('There is no image of this name or hash.', notFound),
	MESSAGE_NOT_FOUND: entry('There is no retained message of this id.', notFound),
	CHANNEL_NOT_FOUND: entry('There is no ingress channel of this name.', notFound),
	CHECKPOINT_NOT_FOUND: entry('There is no checkpoint of this id.', notFound),
	BLOB_NOT_FOUND: entry('A blob that is referenced is not in the store.', system(404, 3)),
	OPERATION_NOT_FOUND: entry('There is no operation of this id.', notFound),
	KEY_NOT_FOUND: entry('There is no API key of this id.', notFound),

	ALREADY_EXISTS: entry('Something of this name exists already.', conflict),
	CONFLICT: entry('The change contradicts what is there now.', conflict),
	ILLEGAL_TRANSITION: entry('The instance cannot do this in its present state.', conflict),
	OPERATION_IN_PROGRESS: entry('Another operation holds the instance.', user(409, 4, true)),
	INCARNATION_STALE: entry('The request comes from a life of the instance that is over.', conflict),
	ALREADY_RUNNING: entry('The instance already has a live process tree.', conflict),
	NOT_RUNNING: entry('The instance has no live process tree.', conflict),
	NOT_QUIESCENT: entry("The instance's data can only be read or replaced while it is frozen or stopped.", conflict),
	NEEDS_ATTENTION: entry('The instance stays down until a person decides, because its state may not be rolled back.', conflict),
	SLEEP_INHIBITED: entry('The instance is busy and was not put to sleep.', user(409, 4, true)),
	SLEEP_ABORTED: entry('The sleep was given up before the point of no return; the instance keeps running.', user(409, 4, true)),
	IDEMPOTENCY_MISMATCH: entry('The idempotency key was used before with another request.', user(422, 4)),
	UNSUPPORTED: entry('This driver or build cannot do that.', user(501, 4)),

	UNAUTHENTICATED: entry('The request carries no valid credential.', user(401, 5)),
	FORBIDDEN: entry('The credential does not allow this.', denied),
	TENANT_SUSPENDED: entry('The tenant is suspended.', denied),
	QUOTA_EXCEEDED: entry("The tenant's quota does not allow it; details name the limit and the usage.", denied),
	HOLD_LIMIT: entry('Too many requests wait for this instance already.', user(503, 5, true)),
	RETAIN_LIMIT: entry('The tenant has as many retained bytes as it may have.', user(507, 5, true)),
	RATE_LIMITED: entry('Too many requests in a short time.', user(429, 5, true)),

	SNAPSHOT_UNAVAILABLE: entry('The memory of the instance could not be moved to disk; nothing changed.', unavailable),
	CHECKPOINT_FAILED: entry('A checkpoint could not be made; the instance keeps running.', system(500, 1, true)),
	CHECKPOINT_CORRUPT: entry('A checkpoint does not verify and is not used.', broken),
	BLOB_CORRUPT: entry('Stored bytes do not match their hash.', broken),
	AUDIT_BROKEN: entry('The audit chain does not verify.', broken),
	WAKE_FAILED: entry('The instance could not be woken.', unavailable),
	WAKE_TIMEOUT: entry('The instance did not wake in time.', timedOut),
	NOT_READY: entry('The workload did not become ready in time.', timedOut),
	CRASH_LOOP: entry('The workload keeps ending shortly after its start.', system(503, 1)),

	LINK_DOWN: entry('The guest agent of the instance is not connected.', unavailable),
	LINK_TIMEOUT: entry('The guest agent did not answer in time.', timedOut),
	GUEST_PROTOCOL: entry('The guest sent something that is not part of the protocol.', system(502, 1)),
	GUEST_ERROR: entry('The guest agent answered with an error.', system(502, 1)),
	FRAME_TOO_LARGE: entry('A frame announces more bytes than the limit.', system(502, 1)),
	FRAME_MALFORMED: entry('A frame is empty, cut off, not UTF-8 or not JSON.', system(502, 1)),

	STORE_UNAVAILABLE: entry('The database cannot be reached.', unavailable),
	HOSTD_UNAVAILABLE: entry('The host daemon cannot be reached.', unavailable),
	HOST_UNSUPPORTED: entry('This host lacks something that is required.', system(501, 1)),
	DISK_FULL: entry('There is no space left on the disk.', system(507, 1, true)),
	IMAGE_BUILD_FAILED: entry('The image could not be built; the last lines of its log are in the details.', system(500, 1)),
	SECRET_UNDECRYPTABLE: entry('A stored secret cannot be decrypted with the present key.', broken),

	TIMEOUT: entry('The operation did not finish in time.', timedOut),
	CANCELLED: entry('The operation was cancelled by its caller.', user(499, 1)),
	UPSTREAM_REFUSED: entry('The upstream is not on the allow-list.', denied),
	UPSTREAM_FAILED: entry('The upstream could not be reached or broke off.', system(502, 1, true)),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** True for a code of the registry. */
export function isErrorCode(code: unknown): code is ErrorCode {
	return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}
